package appliertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// echo serves TCP at an address of the namespace until the end of the test: every byte comes back.
func (n *namespace) echo(t testing.TB, at netip.AddrPort) {
	t.Helper()
	n.serve(t, at, func(c net.Conn) {
		_, _ = io.Copy(c, c) //nolint:errcheck // ends with the connection
	})
}

// pace is how often a live connection has something to say: often enough to see when it is cut, and seldom enough to leave the
// machine to others.
const pace = time.Millisecond

// source serves TCP: each connection is sent bytes without end.
func (n *namespace) source(t testing.TB, at netip.AddrPort) {
	t.Helper()
	n.serve(t, at, func(c net.Conn) {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for chunk := make([]byte, 4096); ; <-ticker.C {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
}

func (n *namespace) serve(t testing.TB, at netip.AddrPort, serve func(net.Conn)) {
	t.Helper()
	var listener *net.TCPListener
	n.must(t, func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() }) //nolint:errcheck // it may be closed already
			go func() {
				defer stop()
				defer func() { _ = c.Close() }() //nolint:errcheck // it may be closed already
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := listener.Close(); err != nil {
			t.Errorf("close listener: %v", err)
		}
		<-done
	})
}

// dial connects from an address of the namespace within d.
func (n *namespace) dial(t testing.TB, from netip.Addr, to netip.AddrPort, d time.Duration) (net.Conn, error) {
	t.Helper()
	var c net.Conn
	err := n.do(func() (err error) {
		dialer := net.Dialer{Timeout: d, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		c, err = dialer.DialContext(t.Context(), "tcp", to.String())
		return err
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() }) //nolint:errcheck // it may be cut off
	}
	return c, err
}

// live is a TCP connection in use; last is when bytes last came back.
type live struct {
	bytes atomic.Int64
	last  atomic.Int64 // UnixNano
	err   atomic.Pointer[error]
}

// converse sends a byte at a time and waits for it; without talk it only reads.
func converse(c net.Conn, talk bool) *live {
	l := &live{}
	go func() {
		buffer := make([]byte, 4096)
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for ; ; <-ticker.C {
			if talk {
				if _, err := c.Write([]byte{1}); err != nil {
					l.err.Store(&err)
					return
				}
			}
			n, err := c.Read(buffer)
			if err != nil {
				l.err.Store(&err)
				return
			}
			l.bytes.Add(int64(n))
			l.last.Store(time.Now().UnixNano())
		}
	}()
	return l
}

// moves waits until the connection makes progress.
func (l *live) moves(ctx context.Context) error {
	before := l.bytes.Load()
	deadline := time.Now().Add(patience)
	for l.bytes.Load() == before {
		if err := l.err.Load(); err != nil {
			return fmt.Errorf("use connection: %w", *err)
		}
		if time.Now().After(deadline) {
			return errors.New("use connection: it does not move")
		}
		pause(ctx, time.Millisecond)
	}
	return nil
}

// stops waits until nothing has moved for quiet, and returns when something last did.
func (l *live) stops(ctx context.Context, quiet time.Duration) (time.Time, error) {
	deadline := time.Now().Add(patience)
	for {
		last := time.Unix(0, l.last.Load())
		if time.Since(last) > quiet {
			return last, nil
		}
		if time.Now().After(deadline) {
			return last, fmt.Errorf("wait for the connection to stall: it still moves after %v", patience)
		}
		pause(ctx, time.Millisecond)
	}
}
