package watch

import (
	"sync"
	"time"
)

// contact remembers when the API server was last heard of for one source. It is safe for concurrent use.
type contact struct {
	now func() time.Time

	mu     sync.Mutex
	last   time.Time
	err    error
	absent bool
	synced bool
}

func (c *contact) touch(absent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.err, c.absent = c.now(), nil, absent
}

func (c *contact) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// isAbsent reports whether the resource was last found not to be served.
func (c *contact) isAbsent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.absent
}

func (c *contact) replaced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = true
}

// Status says how well one source is known.
type Status struct {
	// Name is the source's.
	Name string
	// Synced says that the whole resource has been read once.
	Synced bool
	// Unawaited is the source's: no decision waits for it.
	Unawaited bool
	// Absent says that the API server does not serve the resource.
	Absent bool
	// Age is the time since the API server was last heard of for this resource; while all is well it grows to at most
	// [Source].Renew and 5 s, since every watch is renewed within that time.
	Age time.Duration
	// Err is the last failure, nil after a success.
	Err error
}

func (c *contact) status(name string) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Name: name, Synced: c.synced, Absent: c.absent, Err: c.err}
	if !c.last.IsZero() {
		s.Age = c.now().Sub(c.last)
	}
	return s
}
