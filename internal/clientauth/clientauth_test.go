package clientauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/internal/clientauth"
)

type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial atomic.Int64

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "a CA"}}
	pair := a.issue(template)
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey) //nolint:errcheck // issue makes no other key
	return a
}

// issue signs the template, by itself if there is no CA yet.
func (a *authority) issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(serial.Add(1))
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func client(commonName string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func (a *authority) write(file string) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func newClients(t *testing.T, file string, ticks <-chan time.Time, names ...string) *clientauth.Clients {
	t.Helper()
	c, err := clientauth.New(clientauth.Options{File: file, Names: names, Now: time.Now, Ticks: ticks, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve answers whoever gets through.
func serve(t *testing.T, c *clientauth.Clients) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	c.Require(s.TLS)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func ask(t *testing.T, url string, config *tls.Config) error {
	t.Helper()
	config.InsecureSkipVerify = true //nolint:gosec // the server is this test's own
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
	defer h.CloseIdleConnections()
	resp, err := h.Get(url) //nolint:noctx // a test's own server
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestOnlyAllowedClientsOfTheCAConnect(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	ours.write(file)
	spiffe, err := url.Parse("spiffe://cluster.local/apiserver")
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate { change(c); return c }
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	for name, tc := range map[string]struct {
		names   []string
		by      *authority
		cert    *x509.Certificate // nil: none is shown
		refused clientauth.Refusal
	}{
		"any client of the CA, if no name is asked for": {by: ours, cert: client("anybody")},
		"the common name":                     {names: []string{"kube-apiserver", "other"}, by: ours, cert: client("kube-apiserver")},
		"a DNS name":                          {names: []string{"apiserver.example.com"}, by: ours, cert: with(client("x"), func(c *x509.Certificate) { c.DNSNames = []string{"apiserver.example.com"} })},
		"a URI":                               {names: []string{spiffe.String()}, by: ours, cert: with(client(""), func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe} })},
		"another client of the CA":            {names: []string{"kube-apiserver"}, by: ours, cert: client("kubelet"), refused: clientauth.Name},
		"a name in other letters":             {names: []string{"kube-apiserver"}, by: ours, cert: client("Kube-Apiserver"), refused: clientauth.Name},
		"the name as a prefix":                {names: []string{"kube-apiserver"}, by: ours, cert: client("kube-apiserver-2"), refused: clientauth.Name},
		"no name at all":                      {names: []string{"kube-apiserver"}, by: ours, cert: client(""), refused: clientauth.Name},
		"the allowed name from another CA":    {names: []string{"kube-apiserver"}, by: theirs, cert: client("kube-apiserver"), refused: clientauth.Untrusted},
		"another CA, if no name is asked for": {by: theirs, cert: client("kube-apiserver"), refused: clientauth.Untrusted},
		"a certificate for servers":           {names: []string{"kube-apiserver"}, by: ours, cert: with(client("kube-apiserver"), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), refused: clientauth.Untrusted},
		"one that has expired":                {names: []string{"kube-apiserver"}, by: ours, cert: with(client("kube-apiserver"), past), refused: clientauth.Untrusted},
		"none":                                {by: ours, refused: clientauth.NoCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClients(t, file, nil, tc.names...)
			config := &tls.Config{}
			if tc.cert != nil {
				config.Certificates = []tls.Certificate{tc.by.issue(tc.cert)}
			}
			err := ask(t, serve(t, c), config)
			if (err == nil) != (tc.refused == clientauth.Accepted) {
				t.Errorf("%v, want refused: %q", err, tc.refused)
			}
			var failed *net.OpError
			if err != nil && !errors.As(err, &failed) {
				t.Errorf("refused by %v, not in the handshake", err)
			}
			for _, r := range []clientauth.Refusal{clientauth.Untrusted, clientauth.Name} {
				want := 0.0
				if r == tc.refused {
					want = 1
				}
				if got := refusals(t, c, r); got != want {
					t.Errorf("counted %v refusals as %s, want %v", got, r, want)
				}
			}
		})
	}
}

func refusals(t *testing.T, c *clientauth.Clients, reason clientauth.Refusal) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.Collector())
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == string(reason) {
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("reason %q is not exported", reason)
	return 0
}

// TestCAIsReadAgain: the CA changes while the server runs. A file that cannot be read changes nothing, and a session of the
// time before is not resumed into the time after.
func TestCAIsReadAgain(t *testing.T) {
	former, next := newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	former.write(file)
	ticks := make(chan time.Time)
	c := newClients(t, file, ticks, "kube-apiserver")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	tick := func() { // the second is taken when the first was dealt with
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	address := serve(t, c)
	of := func(a *authority) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.issue(client("kube-apiserver"))}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	}
	old := of(former)
	if err := ask(t, address, old); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"no certificate in it": "nonsense", "empty": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tick()
		if err := ask(t, address, of(former)); err != nil {
			t.Errorf("with a file that has %s: %v", what, err)
		}
	}
	next.write(file)
	tick()
	if err := ask(t, address, of(next)); err != nil {
		t.Errorf("of the new CA: %v", err)
	}
	if err := ask(t, address, old); err == nil {
		t.Error("a client of the former CA connects")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWithoutCANobodyIsServed(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "missing"), empty} {
		if _, err := clientauth.New(clientauth.Options{File: file, Now: time.Now, Log: logr.Discard()}); err == nil {
			t.Errorf("%s is taken", file)
		}
	}
	a := newAuthority(t)
	if got := clientauth.Judge([]*x509.Certificate{a.cert}, nil, nil, time.Now()); got != clientauth.Untrusted {
		t.Errorf("without roots: %q", got)
	}
}
