package extauthz

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/saguard/saguard/internal/clientaddr"
)

// connectionsPerClient is how many of a listener's connections one client may have. Proxies keep one for each worker; one pod
// must not keep all others out.
const connectionsPerClient = maxConnections / 8

// sharedListener closes what a client has too much of, at once. refused is told of each.
type sharedListener struct {
	net.Listener
	refused func(error)

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func newSharedListener(l net.Listener, refused func(error)) *sharedListener {
	return &sharedListener{Listener: l, refused: refused, open: map[netip.Prefix]int{}}
}

// Accept implements net.Listener.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientaddr.Of(conn)
		if l.enter(client) {
			return &sharedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(client) })}, nil
		}
		l.refused(fmt.Errorf("%s has %d connections already", client, connectionsPerClient))
		_ = conn.Close() //nolint:errcheck // it is given up
	}
}

func (l *sharedListener) enter(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= connectionsPerClient {
		return false
	}
	l.open[client]++
	return true
}

func (l *sharedListener) leave(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
}

// sharedConn gives its place back when it is closed.
type sharedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *sharedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
