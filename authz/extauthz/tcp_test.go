package extauthz_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/saguard/saguard/authz/extauthz"
)

// onTCPEndpoints serves both protocols on TCP, and returns their addresses: gRPC, then JSON.
func onTCPEndpoints(t *testing.T, with *extauthz.MutualTLS) (r *rig, calls, requests string) {
	t.Helper()
	addresses := make(chan []net.Addr, 1)
	r = start(t, func(o *extauthz.Options) {
		o.GRPC.Address, o.GRPC.TLS = "127.0.0.1:0", with
		o.JSON.Address, o.JSON.TLS = "127.0.0.1:0", with
		listening := o.Listening
		o.Listening = func(a []net.Addr) {
			addresses <- a
			listening(a)
		}
	})
	var tcp []string
	for _, a := range <-addresses {
		if a.Network() == "tcp" {
			tcp = append(tcp, a.String())
		}
	}
	if len(tcp) != 2 {
		t.Fatalf("got %v, want two TCP addresses", tcp)
	}
	return r, tcp[0], tcp[1]
}

// overTCP asks for something that is allowed on a new connection of each protocol.
func overTCP(t *testing.T, calls, requests string, config *tls.Config) (grpcErr, jsonErr error) {
	t.Helper()
	conn, err := grpc.NewClient(calls, grpc.WithTransportCredentials(credentials.NewTLS(config.Clone())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out, grpcErr := authv3.NewAuthorizationClient(conn).Check(t.Context(), allowed())
	if grpcErr == nil && out.GetStatus().GetCode() != 0 {
		t.Errorf("gRPC: got %v", out)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config.Clone()}}
	in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://%s%s", requests, extauthz.PathCheck), strings.NewReader(`{`+jsonAllowed+`}`))
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Content-Type", "application/json")
	answer, jsonErr := client.Do(in)
	if jsonErr == nil {
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("JSON: got %s", answer.Status)
		}
	}
	return grpcErr, jsonErr
}

const idAgent = "spiffe://cluster.local/ns/saguard/sa/agent"

func TestTCPServesOnlyProxiesThatMayAsk(t *testing.T) {
	ours, foreign := newAuthority(t, "cluster.local"), newAuthority(t, "evil.example")
	r, calls, requests := onTCPEndpoints(t, &extauthz.MutualTLS{
		Credentials: ours.folder(t, ours.issue(t, idAgent, "agent")), Proxies: proxies(t, idAPI, "spiffe://cluster.local/ns/mesh/*", "proxy.example.com"),
	})
	changed := func(change func(*x509.Certificate)) []tls.Certificate {
		return []tls.Certificate{ours.sign(t, idAPI, nil, change)}
	}
	cases := map[string]struct {
		certificates []tls.Certificate
		version      uint16 // the latest that the client can
		want         bool
		counted      bool // as a refusal of this package's own
	}{
		"the right SPIFFE ID":                       {certificates: []tls.Certificate{ours.issue(t, idAPI)}, want: true},
		"the right SPIFFE ID by TLS 1.2":            {certificates: []tls.Certificate{ours.issue(t, idAPI)}, version: tls.VersionTLS12, want: true},
		"the right SPIFFE ID by TLS 1.1":            {certificates: []tls.Certificate{ours.issue(t, idAPI)}, version: tls.VersionTLS11},
		"a SPIFFE ID below a wildcard":              {certificates: []tls.Certificate{ours.issue(t, "spiffe://cluster.local/ns/mesh/sa/x")}, want: true},
		"the right DNS name":                        {certificates: []tls.Certificate{ours.issue(t, "", "proxy.example.com")}, want: true},
		"the right names, of another authority":     {certificates: []tls.Certificate{foreign.issue(t, idAPI, "proxy.example.com")}},
		"the right authority, another SPIFFE ID":    {certificates: []tls.Certificate{ours.issue(t, idWeb)}, counted: true},
		"the right authority, another DNS name":     {certificates: []tls.Certificate{ours.issue(t, "", "agent")}, counted: true},
		"the right authority, no name":              {certificates: []tls.Certificate{ours.issue(t, "")}, counted: true},
		"the right authority by TLS 1.2, no name":   {certificates: []tls.Certificate{ours.issue(t, "")}, version: tls.VersionTLS12, counted: true},
		"no certificate":                            {},
		"a certificate that has expired":            {certificates: changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		"a certificate that is for servers":         {certificates: changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		"a certificate that its owner signed alone": {certificates: []tls.Certificate{selfSigned(t, idAPI)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			config := ours.calling("agent", tc.certificates...)
			if tc.version != 0 {
				config.MinVersion, config.MaxVersion = tls.VersionTLS10, tc.version
			}
			before := r.counted(t, "saguard_authz_connections_refused_total")
			grpcErr, jsonErr := overTCP(t, calls, requests, config)
			if (grpcErr == nil) != tc.want || (jsonErr == nil) != tc.want {
				t.Errorf("gRPC: %v, JSON: %v, want served %v", grpcErr, jsonErr, tc.want)
			}
			// A client may dial more than once.
			if refused := r.counted(t, "saguard_authz_connections_refused_total") - before; (refused >= 2) != tc.counted || !tc.counted && refused != 0 {
				t.Errorf("%v connections were counted as refused", refused)
			}
		})
	}
}

// selfSigned is a certificate that names an authority which did not sign it.
func selfSigned(t *testing.T, id string) tls.Certificate {
	t.Helper()
	own := newAuthority(t, "cluster.local")
	return own.sign(t, id, nil, func(c *x509.Certificate) { c.Issuer = own.certificate.Subject })
}

// counted is the sum of a counter's series.
func (r *rig) counted(t testing.TB, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// presented is the certificate that a server shows.
func presented(t *testing.T, address string, config *tls.Config) *x509.Certificate {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatalf("got a %T", conn)
	}
	return tlsConn.ConnectionState().PeerCertificates[0]
}

func TestRotatedCredentialsHoldForTheNextConnection(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	dir := t.TempDir()
	folder := extauthz.NewFolder(dir, "ca.crt", logr.Discard())
	ticks, ctx, stopped := make(chan time.Time), context.WithoutCancel(t.Context()), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { stopped <- folder.Run(ctx, ticks) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	// The second tick is taken only when the first one's work is done.
	reload := func() {
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	r, calls, requests := onTCPEndpoints(t, &extauthz.MutualTLS{Credentials: folder, Proxies: proxies(t, idAPI)})
	served := func(a *authority, server *authority) bool {
		t.Helper()
		config := a.calling("agent", a.issue(t, idAPI))
		config.RootCAs = server.pool
		grpcErr, jsonErr := overTCP(t, calls, requests, config)
		if (grpcErr == nil) != (jsonErr == nil) {
			t.Errorf("gRPC: %v, JSON: %v", grpcErr, jsonErr)
		}
		return grpcErr == nil
	}

	if served(first, first) || folder.WhyStale() == "" {
		t.Errorf("an empty folder serves; stale: %q", folder.WhyStale())
	}
	if _, err := r.client.Check(t.Context(), allowed()); err != nil {
		t.Errorf("the unix socket has nothing to do with certificates: %v", err)
	}
	one := first.issue(t, idAgent, "agent")
	first.write(t, dir, one)
	reload()
	if !served(first, first) || folder.WhyStale() != "" {
		t.Errorf("not served once the files are there; stale: %q", folder.WhyStale())
	}
	conn, err := grpc.NewClient(calls, grpc.WithTransportCredentials(credentials.NewTLS(first.calling("agent", first.issue(t, idAPI)))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lasting := authv3.NewAuthorizationClient(conn)
	if _, err := lasting.Check(t.Context(), allowed()); err != nil {
		t.Fatal(err)
	}

	two := first.issue(t, idAgent, "agent")
	first.write(t, dir, two)
	reload()
	config := first.calling("agent", first.issue(t, idAPI))
	if got := presented(t, calls, config); string(got.Raw) != string(two.Certificate[0]) {
		t.Errorf("the old certificate is presented")
	}

	// What cannot be used changes nothing: a key of another certificate, half a file, no authority.
	for name, content := range map[string]string{"tls.key": "", "tls.crt": "-----BEGIN CERTIFICATE-----\n", "ca.crt": "nothing"} {
		first.write(t, dir, two)
		put(t, filepath.Join(dir, name), []byte(content))
		reload()
		if !served(first, first) || folder.WhyStale() == "" {
			t.Errorf("%s is broken: not served, or it is not said: %q", name, folder.WhyStale())
		}
	}
	first.write(t, dir, two)
	reload()
	if why := folder.WhyStale(); why != "" {
		t.Errorf("mended files are said to be stale: %s", why)
	}

	second.write(t, dir, second.issue(t, idAgent, "agent"))
	reload()
	if served(first, second) {
		t.Error("a certificate of the authority that was taken away is accepted")
	}
	if !served(second, second) {
		t.Error("a certificate of the new authority is not accepted")
	}
	if _, err := lasting.Check(t.Context(), allowed()); err != nil {
		t.Errorf("a connection that was there was cut off: %v", err)
	}
}
