package watch

import (
	"sync"
	"time"

	apiwatch "k8s.io/apimachinery/pkg/watch"
)

// tracked is a watch that notes every event and ends by itself when its time is over: a connection that has silently
// stalled is given up and made anew, and the age of its source tells meanwhile.
type tracked struct {
	inner   apiwatch.Interface
	out     chan apiwatch.Event
	stop    chan struct{}
	stopped sync.Once
}

func track(inner apiwatch.Interface, c *contact, limit time.Duration) apiwatch.Interface {
	t := &tracked{inner: inner, out: make(chan apiwatch.Event), stop: make(chan struct{})}
	go t.run(c, limit)
	return t
}

func (t *tracked) run(c *contact, limit time.Duration) {
	defer close(t.out)
	defer t.inner.Stop()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-timer.C:
			return
		case e, ok := <-t.inner.ResultChan():
			if !ok {
				return
			}
			if e.Type != apiwatch.Error {
				c.touch(false)
			}
			select {
			case t.out <- e:
			case <-t.stop:
				return
			}
		}
	}
}

// ResultChan implements watch.Interface.
func (t *tracked) ResultChan() <-chan apiwatch.Event { return t.out }

// Stop implements watch.Interface.
func (t *tracked) Stop() { t.stopped.Do(func() { close(t.stop) }) }

// idle is a watch without events that ends after d.
func idle(d time.Duration) apiwatch.Interface {
	t := &tracked{inner: apiwatch.NewEmptyWatch(), out: make(chan apiwatch.Event), stop: make(chan struct{})}
	go func() {
		defer close(t.out)
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-t.stop:
		case <-timer.C:
		}
	}()
	return t
}
