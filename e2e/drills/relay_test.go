package drills

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
)

// relay passes connections on to the API server, and can stop passing bytes, in both directions, without closing anything:
// what a broken middlebox or a lost route looks like.
type relay struct {
	listener net.Listener
	target   string
	ctx      context.Context //nolint:containedctx // ends what was accepted
	tasks    sync.WaitGroup

	mu   sync.Mutex
	gate *gate // of connections that are made now
}

// gate lets bytes pass while it is open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while bytes pass
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// pass waits until bytes pass; false means never again.
func (g *gate) pass(ctx context.Context) bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, target: target.Host, ctx: t.Context(), gate: newGate()}
	r.tasks.Go(r.accept)
	t.Cleanup(func() { // after which t.Context() is over
		listener.Close()
		r.tasks.Wait()
	})
	return r
}

func (r *relay) url() string { return "https://" + r.listener.Addr().String() }

// stall stops all bytes, of connections to come as well.
func (r *relay) stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate.shut()
}

// stallOpen stops the bytes of the connections there are, for good; new ones work.
func (r *relay) stallOpen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate.shut()
	r.gate = newGate()
}

// resume ends stall.
func (r *relay) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gate.open)
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			r.tasks.Go(func() { r.serve(client) })
		}
	}
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	g := r.gate
	r.mu.Unlock()
	if !g.pass(r.ctx) {
		return
	}
	var d net.Dialer
	server, err := d.DialContext(r.ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(r.ctx, func() { client.Close(); server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { r.copy(g, server, client) })
	both.Go(func() { r.copy(g, client, server) })
	both.Wait()
}

// copy ends both connections when one does: a client that half closes is none of the API server's.
func (r *relay) copy(g *gate, to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && g.pass(r.ctx) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
