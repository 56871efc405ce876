package run_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"bytes"

	"go.uber.org/zap/zapcore"

	"github.com/saguard/saguard/internal/run"
)

func TestReadinessIsNeverTheDefault(t *testing.T) {
	ok := func() string { return "" }
	bad := func() string { return "not read yet" }
	cases := map[string]struct {
		health run.Health
		ready  bool
		says   string
	}{
		"without probes":      {health: run.Health{}},
		"every probe passes":  {health: run.Health{Probes: map[string]run.Probe{"a": ok, "b": ok}}, ready: true},
		"one probe fails":     {health: run.Health{Probes: map[string]run.Probe{"a": ok, "b": bad}}, says: "b: not read yet"},
		"a note is no reason": {health: run.Health{Probes: map[string]run.Probe{"a": ok}, Notes: []run.Probe{func() string { return "no guard" }, ok}}, ready: true, says: "no guard"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			listening := make(chan net.Addr, 1)
			tc.health.Address = "127.0.0.1:0"
			tc.health.Listening = func(a net.Addr) { listening <- a }
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- tc.health.Start(ctx) }()
			base := "http://" + (<-listening).String()
			for path, want := range map[string]bool{"/healthz": true, "/readyz": tc.ready} {
				resp, err := http.Get(base + path) //nolint:noctx // a test's own server
				if err != nil {
					t.Fatal(err)
				}
				var body bytes.Buffer
				_, err = body.ReadFrom(resp.Body)
				if err != nil || resp.Body.Close() != nil || (resp.StatusCode == http.StatusOK) != want {
					t.Errorf("%s: status %d, %v", path, resp.StatusCode, err)
				}
				if path == "/readyz" {
					var r run.Report
					if err := json.Unmarshal(body.Bytes(), &r); err != nil || r.Ready != tc.ready || !strings.Contains(body.String(), tc.says) {
						t.Errorf("report %s, %v", body.String(), err)
					}
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	taken := run.Health{Address: "256.0.0.1:0"}
	if err := taken.Start(t.Context()); err == nil {
		t.Error("an address that cannot be listened on is no error")
	}
}

func TestCertificateProbe(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}}, nil
	}
	for now, why := range map[int64]string{999: "not valid before", 1500: "", 2001: "expired"} {
		got := run.Certificate(get, func() time.Time { return time.Unix(now, 0) })()
		if (why == "") != (got == "") || !strings.Contains(got, why) {
			t.Errorf("at %d: %q, want %q", now, got, why)
		}
	}
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	broken := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no file") }
	junk := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{{1}}}, nil
	}
	for name, g := range map[string]func(*tls.ClientHelloInfo) (*tls.Certificate, error){"none": none, "broken": broken, "junk": junk} {
		if run.Certificate(g, time.Now)() == "" {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestLoggerLevels(t *testing.T) {
	for level, lines := range map[string]int{"error": 1, "info": 2, "debug": 3} {
		var out bytes.Buffer
		log, err := run.Logger(level, zapcore.AddSync(&out))
		if err != nil {
			t.Fatal(err)
		}
		log.Error(errors.New("x"), "error")
		log.Info("info")
		log.V(1).Info("debug")
		if got := strings.Count(out.String(), "\n"); got != lines {
			t.Errorf("%s prints %d lines, want %d", level, got, lines)
		}
	}
	if _, err := run.Logger("verbose", zapcore.AddSync(&bytes.Buffer{})); err == nil {
		t.Error("a level nobody knows is no error")
	}
}
