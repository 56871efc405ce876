package run

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/saguard/saguard/internal/clientaddr"
)

// connections bounds how many connections a server holds, by closing others when one too many comes: whoever opens
// connections and says nothing must not keep out those who do. Connections that never got an answer and those that did are
// counted apart, so that neither kind can push out the other. When there are too many of a kind, the client that has most of
// them loses the one that got nothing for longest: a flood pushes out its own, and none of an API server that has fewer.
//
// What remains: clients with so many addresses that none of them needs more connections than the API server has (some 512/n
// addresses, where it has n), and clients that come from its own address, such as processes on its node. Only a NetworkPolicy,
// or a firewall there, keeps those away. It is safe for concurrent use.
type connections struct {
	// most is how many there may be of each kind.
	most int
	now  func() time.Time

	mu sync.Mutex
	// strangers never got an answer, in the order of their coming; known ones did, in the order in which their last requests
	// began or ended.
	strangers, known kind
	all              map[net.Conn]*connection
	evicted          int
}

type connection struct {
	conn    net.Conn
	client  netip.Prefix
	in      *kind
	element *list.Element
	// active says that a request is being read or answered; since is when that began or ended.
	active bool
	since  time.Time
}

func newConnections(most int, now func() time.Time) *connections {
	none := func() kind { return kind{each: map[netip.Prefix]int{}} }
	return &connections{most: most, now: now, strangers: none(), known: none(), all: map[net.Conn]*connection{}}
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
		entry = &connection{conn: conn, client: clientaddr.Of(conn), since: c.now()}
		c.all[conn] = entry
		return c.place(entry, &c.strangers)
	case entry == nil:
		return nil // evicted, and still on its way out
	case state == http.StateActive:
		entry.active, entry.since = true, c.now()
		if entry.in == &c.known {
			c.known.order.MoveToBack(entry.element)
		}
	case state == http.StateIdle:
		entry.active, entry.since = false, c.now()
		entry.in.remove(entry)
		return c.place(entry, &c.known)
	default:
		c.forget(entry)
	}
	return nil
}

// place puts a connection behind all others of a kind and returns the one that has to go for it, if any.
func (c *connections) place(entry *connection, in *kind) net.Conn {
	in.add(entry)
	if in.order.Len() <= c.most {
		return nil
	}
	victim := in.victim()
	if victim == nil {
		return nil
	}
	c.forget(victim)
	c.evicted++
	return below(victim.conn)
}

func (c *connections) forget(entry *connection) {
	entry.in.remove(entry)
	delete(c.all, entry.conn)
}

// kind is the connections of a kind, the one that got nothing for longest in front.
type kind struct {
	order list.List
	// each is how many of them each client has; none has 0.
	each map[netip.Prefix]int
}

func (k *kind) add(entry *connection) {
	entry.in, entry.element = k, k.order.PushBack(entry)
	k.each[entry.client]++
}

func (k *kind) remove(entry *connection) {
	k.order.Remove(entry.element)
	if k.each[entry.client]--; k.each[entry.client] == 0 {
		delete(k.each, entry.client)
	}
}

// victim is the first connection of the client that has most; of clients that have equally many, the first of them all.
func (k *kind) victim() *connection {
	most := 0
	for _, n := range k.each {
		most = max(most, n)
	}
	for e := k.order.Front(); e != nil; e = e.Next() {
		if entry, ok := e.Value.(*connection); ok && k.each[entry.client] == most {
			return entry
		}
	}
	return nil
}

// below is the TCP connection: closing TLS properly waits for a peer that may not listen.
func below(conn net.Conn) net.Conn {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn()
	}
	return conn
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
