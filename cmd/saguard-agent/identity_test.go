package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	runner "github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/policy"
)

// issue makes a certificate for a SPIFFE ID that parent signs, its own if nil.
func issue(t *testing.T, id string, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{uri}, DNSNames: []string{"agent"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer, signed := any(key), template
	if parent == nil {
		template.IsCA, template.ExtKeyUsage = true, nil
	} else {
		signer, signed = parent.PrivateKey, parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signed, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// The flags are all it takes: a proxy that they name is served over TCP, another of the same authority is not, and what is
// wrong with the files is said.
func TestIdentityCheckOverTCPByFlags(t *testing.T) {
	dir := t.TempDir()
	// A loopback address of this process's own, so that the port is free.
	address := fmt.Sprintf("127.77.%d.%d:9648", 1+os.Getpid()>>8&0x7f, 1+os.Getpid()&0x7f)
	o := &options{}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.add(fs, func(string) string { return "x" })
	err := fs.Parse([]string{
		"--authz-trust-domain=cluster.local", "--authz-socket=" + filepath.Join(dir, "s"), "--authz-bind-address=" + address, "--authz-cert-dir=" + dir,
		"--authz-client=spiffe://cluster.local/ns/mesh/*",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	root := issue(t, "spiffe://cluster.local", nil)
	a := &agent{o: o, log: logr.Discard(), out: zapcore.AddSync(t.Output()), registry: prometheus.NewRegistry(), policies: state.NewPolicies(policy.Strict, time.Now), watcher: watch.New(nil, logr.Discard(), time.Now)}

	missing := &runner.Health{Probes: map[string]runner.Probe{}}
	if _, err := a.identityCheck(missing); err != nil {
		t.Fatal(err)
	}
	if r := missing.Report(); r.Ready || len(r.Reasons) != 1 || len(r.Notes) != 1 {
		t.Errorf("without files: %+v, want not ready for want of a certificate, and a note", r)
	}

	serving := issue(t, "spiffe://cluster.local/ns/saguard/sa/agent", root)
	key, err := x509.MarshalPKCS8PrivateKey(serving.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: serving.Leaf.Raw}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}, "ca.crt": {Type: "CERTIFICATE", Bytes: root.Leaf.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.registry = prometheus.NewRegistry()
	health := &runner.Health{Probes: map[string]runner.Probe{}}
	parts, err := a.identityCheck(health)
	if err != nil {
		t.Fatal(err)
	}
	if r := health.Report(); !r.Ready || len(r.Notes) != 0 {
		t.Errorf("with files: %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Together(ctx, parts...) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	roots := x509.NewCertPool()
	roots.AddCert(root.Leaf)
	// served says whether the server speaks HTTP/2, which it does once it has seen the certificate.
	served := func(c *tls.Certificate) error {
		config := &tls.Config{RootCAs: roots, ServerName: "agent", Certificates: []tls.Certificate{*c}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
		for {
			conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				select {
				case err := <-done:
					done <- err
					return fmt.Errorf("the server ended: %w", err)
				case <-t.Context().Done():
					return t.Context().Err()
				case <-time.After(10 * time.Millisecond):
					continue // not listening yet: in TLS 1.3 a refusal comes after the client's handshake
				}
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
				return err
			}
			_, err = conn.Read(make([]byte, 1))
			return err
		}
	}
	if err := served(issue(t, "spiffe://cluster.local/ns/mesh/sa/proxy", root)); err != nil {
		t.Errorf("a proxy that may ask: %v", err)
	}
	if err := served(issue(t, "spiffe://cluster.local/ns/prod/sa/proxy", root)); err == nil {
		t.Error("a proxy that may not ask is served")
	}
	if err := served(issue(t, "spiffe://cluster.local/ns/mesh/sa/proxy", issue(t, "spiffe://cluster.local", nil))); err == nil {
		t.Error("a proxy of another authority is served")
	}
}
