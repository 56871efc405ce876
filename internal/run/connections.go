package run

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds how many connections a server holds, by closing others when one too many comes: whoever opens
// connections and says nothing must not keep out those who do. Connections that never got an answer and those that did are
// counted apart, so that neither kind can push out the other; of each, the one that got nothing for longest goes first,
// which an API server in use never is. It is safe for concurrent use.
type connections struct {
	// most is how many there may be of each kind.
	most int
	now  func() time.Time

	mu sync.Mutex
	// strangers never got an answer, in the order of their coming; known ones did, in the order of their last answers.
	strangers, known list.List
	all              map[net.Conn]*connection
	evicted          int
}

type connection struct {
	conn    net.Conn
	in      *list.List
	element *list.Element
	// active says that a request is being read or answered; since is when that began or ended.
	active bool
	since  time.Time
}

func newConnections(most int, now func() time.Time) *connections {
	return &connections{most: most, now: now, all: map[net.Conn]*connection{}}
}

// changed is a http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if victim := c.note(conn, state); victim != nil {
		_ = victim.Close() //nolint:errcheck // it is given up
	}
}

// note returns the connection that has to go, if any.
func (c *connections) note(conn net.Conn, state http.ConnState) (victim net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.all[conn]
	switch {
	case state == http.StateNew:
		entry = &connection{conn: conn, in: &c.strangers, since: c.now()}
		entry.element = c.strangers.PushBack(entry)
		c.all[conn] = entry
		return c.overflow(&c.strangers)
	case entry == nil:
		return nil // evicted, and still on its way out
	case state == http.StateActive:
		entry.active, entry.since = true, c.now()
	case state == http.StateIdle:
		entry.in.Remove(entry.element)
		entry.active, entry.since, entry.in = false, c.now(), &c.known
		entry.element = c.known.PushBack(entry)
		return c.overflow(&c.known)
	default:
		c.forget(entry)
	}
	return nil
}

func (c *connections) overflow(of *list.List) net.Conn {
	if of.Len() <= c.most {
		return nil
	}
	first, ok := of.Front().Value.(*connection)
	if !ok {
		return nil
	}
	c.forget(first)
	c.evicted++
	return below(first.conn)
}

// below is the TCP connection: closing TLS properly waits for a peer that may not listen.
func below(conn net.Conn) net.Conn {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn()
	}
	return conn
}

func (c *connections) forget(entry *connection) {
	entry.in.Remove(entry.element)
	delete(c.all, entry.conn)
}

// quiet reports that no connection had anything to do for d.
func (c *connections) quiet(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, entry := range c.all {
		if entry.active || now.Sub(entry.since) < d {
			return false
		}
	}
	return true
}

// counts returns how many connections are open and how many were closed for want of room.
func (c *connections) counts() (open, evicted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all), c.evicted
}
