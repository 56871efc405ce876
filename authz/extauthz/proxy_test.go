package extauthz_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// proxy stands in for Envoy as the sidecar of one pod: it ends TLS, asks the agent exactly as Envoy's ext_authz filters do
// (source/extensions/filters/common/ext_authz/check_request_utils.cc), and forwards or refuses.
type proxy struct {
	tls    *tls.Config // nil for plaintext
	client authv3.AuthorizationClient
	// failureModeAllow lets through what could not be asked about.
	failureModeAllow bool
	// upstream dials the application.
	upstream func(ctx context.Context) (net.Conn, error)

	mu   sync.Mutex
	last *authv3.CheckResponse // of the latest check
}

// asked remembers an answer for the test.
func (p *proxy) asked(out *authv3.CheckResponse, err error) (allowed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = out
	if err != nil {
		p.last = nil
		return p.failureModeAllow
	}
	return codes.Code(out.GetStatus().GetCode()) == codes.OK
}

// reason is that of the latest check, "" if it had no answer.
func (p *proxy) reason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.GetDynamicMetadata().GetFields()["reason"].GetStringValue()
}

// attributes are what both filters send of the connection.
func (p *proxy) attributes(local, remote net.Addr, state *tls.ConnectionState) *authv3.AttributeContext {
	out := &authv3.AttributeContext{
		Source:      &authv3.AttributeContext_Peer{Address: addressOf(remote)},
		Destination: &authv3.AttributeContext_Peer{Address: addressOf(local)},
	}
	if state == nil {
		return out
	}
	out.TlsSession = &authv3.AttributeContext_TLSSession{Sni: state.ServerName}
	if len(state.PeerCertificates) > 0 {
		out.Source.Principal = principalOf(state.PeerCertificates[0])
	}
	if leaf, err := x509.ParseCertificate(p.tls.Certificates[0].Certificate[0]); err == nil {
		out.Destination.Principal = principalOf(leaf)
	}
	return out
}

// principalOf is the first URI, else the first DNS name, else the subject.
func principalOf(c *x509.Certificate) string {
	switch {
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	default:
		return c.Subject.String()
	}
}

// serveHTTP is the HTTP filter on one listener.
func (p *proxy) serveHTTP(t testing.TB, l net.Listener) {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "app"}) },
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.upstream(ctx)
		}},
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: p.tls, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !ok {
			t.Error("no local address")
			return
		}
		remote, err := net.ResolveTCPAddr("tcp", r.RemoteAddr) // a literal
		if err != nil {
			t.Error(err)
			return
		}
		a := p.attributes(local, remote, r.TLS)
		headers := map[string]string{":method": r.Method, ":path": r.RequestURI, ":authority": r.Host, ":scheme": "https"}
		for name, values := range r.Header {
			headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
		a.Request = &authv3.AttributeContext_Request{Time: timestamppb.Now(), Http: &authv3.AttributeContext_HttpRequest{
			Id: strconv.FormatInt(time.Now().UnixNano(), 10), Method: r.Method, Path: r.RequestURI, Host: r.Host, Scheme: "https",
			Headers: headers, Size: r.ContentLength, Protocol: r.Proto,
		}}
		out, err := p.client.Check(r.Context(), &authv3.CheckRequest{Attributes: a})
		switch {
		case p.asked(out, err):
			forward.ServeHTTP(w, r)
		case err != nil:
			w.WriteHeader(http.StatusForbidden) // Envoy's status_on_error
		default:
			w.WriteHeader(int(out.GetDeniedResponse().GetStatus().GetCode()))
			if _, err := io.WriteString(w, out.GetDeniedResponse().GetBody()); err != nil {
				t.Error(err)
			}
		}
	})}
	done := make(chan error, 1)
	go func() {
		if p.tls != nil {
			done <- s.ServeTLS(l, "", "")
			return
		}
		done <- s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the proxy ended with %v", err)
		}
	})
}

// serveTCP is the network filter on one listener: one check a connection, which is closed if refused.
func (p *proxy) serveTCP(t testing.TB, l net.Listener) {
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer c.Close()
				if err := p.connection(t.Context(), c); err != nil {
					t.Log(err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		connections.Wait()
	})
}

func (p *proxy) connection(ctx context.Context, raw net.Conn) error {
	c := tls.Server(raw, p.tls)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	state := c.ConnectionState()
	out, err := p.client.Check(ctx, &authv3.CheckRequest{Attributes: p.attributes(c.LocalAddr(), c.RemoteAddr(), &state)})
	if !p.asked(out, err) {
		return err
	}
	app, err := p.upstream(ctx)
	if err != nil {
		return err
	}
	defer app.Close()
	line := make([]byte, len("hello\n"))
	if _, err := io.ReadFull(c, line); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if _, err := c.Write(bytes.ToUpper(line)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
