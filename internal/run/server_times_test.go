package run

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// pipes is a listener whose connections are given to it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// served runs a test against a server, on a clock of its own; dial makes connections to it, without TLS and with.
func served(t *testing.T, test func(t *testing.T, dial, dialTLS func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := NewServer("", nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), logr.Discard())
		server := s.server(t.Context())
		plain, overTLS, ended := make(pipes), make(pipes), make(chan error, 2)
		go func() { ended <- server.Serve(plain) }()
		go func() { ended <- server.Serve(tls.NewListener(overTLS, &tls.Config{MinVersion: tls.VersionTLS13})) }()
		to := func(p pipes) func() net.Conn {
			return func() net.Conn {
				ours, theirs := net.Pipe()
				p <- ours
				return theirs
			}
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			for range 2 {
				if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			}
		})
		test(t, to(plain), to(overTLS))
	})
}

// A client that dials, and meanwhile gets another connection back, keeps the new one for later, as it keeps those it has used:
// if the server closed it first, that could be just when it is taken up.
func TestClientsMayHoldConnectionsInReserve(t *testing.T) {
	const patience = 90 * time.Second // of the API server's client
	served(t, func(t *testing.T, dial, _ func() net.Conn) {
		conn := dial()
		answers := bufio.NewReader(conn)
		for _, when := range []string{"that was never used", "that was used"} {
			<-time.After(patience)
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"); err != nil {
				t.Fatalf("a connection %s: %v", when, err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Body.Close() != nil {
				t.Fatalf("a connection %s: %v, %v", when, resp, err)
			}
		}
	})
}

func TestConnectionsThatSayNothingEnd(t *testing.T) {
	served(t, func(t *testing.T, dial, dialTLS func() net.Conn) {
		for _, tc := range []struct {
			name  string
			dial  func() net.Conn
			says  string
			after time.Duration
		}{
			{"one that does not begin TLS", dialTLS, "", writeTimeout},
			{"one that asks nothing", dial, "", idleTimeout},
			{"one whose header does not end", dial, "POST / HTTP/1.1\r\nHost:", idleTimeout},
			{"one whose body does not come, and that nobody reads", dial, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", bodyTimeout},
		} {
			began, conn := time.Now(), tc.dial()
			if _, err := io.WriteString(conn, tc.says); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != tc.after {
				t.Errorf("%s ended after %s, want %s", tc.name, took, tc.after)
			}
		}
	})
}
