package controlplane

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/testenv"
)

// relayTo is a relay into this process's own network namespace, which takes the same right as into another.
func relayTo(t *testing.T, target string) *relay {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Lacking(t, testenv.NetNS, "entering a network namespace takes root")
	}
	r, err := newRelay("/proc/self/ns/net", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.release(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

func dialRelay(t *testing.T, r *relay) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp4", nil, &r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// echo answers with all that it was sent, once the client has said that it was all.
func echo(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if text, err := io.ReadAll(conn); err == nil {
					fmt.Fprint(conn, string(text))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestRelayPassesOnBothDirectionsAndEnds(t *testing.T) {
	r := relayTo(t, echo(t))
	for range 3 {
		conn := dialRelay(t, r)
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("answer %q, %v", got, err)
		}
	}
}

func TestRelayClosesWhatItCannotConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	_ = l.Close() // nobody listens any more
	if got, err := io.ReadAll(dialRelay(t, relayTo(t, target))); len(got) > 0 {
		t.Errorf("answer %q, %v; want a closed connection", got, err)
	}
}

func TestReleaseEndsConnections(t *testing.T) {
	r := relayTo(t, echo(t))
	conn := dialRelay(t, r)
	if _, err := io.WriteString(conn, "held"); err != nil {
		t.Fatal(err)
	}
	if err := r.release(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("answer %q, %v; want a closed connection", got, err)
	}
	if again, err := net.DialTCP("tcp4", nil, &r.addr); err == nil {
		_ = again.Close()
		t.Error("the port still listens")
	}
}
