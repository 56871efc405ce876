package controlplane

import "sync"

// ending is the first reason a control plane stopped working, told once.
type ending struct {
	done chan struct{} // closed when there is a reason

	mu  sync.Mutex
	err error
}

func newEnding() *ending { return &ending{done: make(chan struct{})} }

// because notes the reason; only the first one counts.
func (e *ending) because(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
		close(e.done)
	}
}

// reason is nil while the control plane works.
func (e *ending) reason() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}
