package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/saguard/saguard/e2e/thread"
)

// relayedPort is the API server's in a network namespace of its own, where no
// other program can hold it.
const relayedPort = 6443

// relay passes TCP connections to a port of loopback on to an API server in
// another network namespace, so that clients in this one, kubectl among them,
// need no route into it.
type relay struct {
	listener *net.TCPListener
	addr     net.TCPAddr
	netns    string
	target   string

	ctx    context.Context //nolint:containedctx // ends what was accepted
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newRelay relays to the address target in the namespace.
func newRelay(netns, target string) (*relay, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("relay to the API server: %w", err)
	}
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("relay to the API server: address %v", listener.Addr()), listener.Close())
	}
	r := &relay{listener: listener, addr: *addr, netns: netns, target: target}
	r.ctx, r.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // ends with release, not with a caller
	r.done.Go(r.accept)
	return r, nil
}

func (r *relay) listen() int            { return relayedPort }
func (r *relay) reachable() net.TCPAddr { return r.addr }

// release closes all connections.
func (r *relay) release() error {
	r.cancel()
	err := r.listener.Close()
	r.done.Wait()
	return err
}

func (r *relay) accept() {
	for {
		client, err := r.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client's trouble: it sees a closed connection
		}
		r.done.Go(func() { r.serve(client) })
	}
}

func (r *relay) serve(client *net.TCPConn) {
	defer func() { _ = client.Close() }()
	server, err := dialIn(r.ctx, r.netns, r.target)
	if err != nil {
		return // a client sees a closed connection, as it would of an API server that is down
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(r.ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
}

// pipe copies until the source ends, and passes that on.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	_ = to.CloseWrite()
}

// dialIn connects from within a network namespace. A socket stays in the
// namespace it was made in.
func dialIn(ctx context.Context, netns, target string) (*net.TCPConn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	thread.Go(func() {
		if err := enterNetNS(netns); err != nil {
			done <- result{err: err}
			return
		}
		// One IP address: the dialer makes its socket on this very thread.
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", target)
		done <- result{conn: conn, err: err}
	})
	got := <-done
	if got.err != nil {
		return nil, got.err
	}
	conn, ok := got.conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connect to %s: %T", target, got.conn), got.conn.Close())
	}
	return conn, nil
}
