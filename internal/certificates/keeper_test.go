package certificates

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/saguard/saguard/internal/rotation"
	"github.com/saguard/saguard/internal/run"
)

// memory is a cluster in which nothing but what the keeper writes happens, except that it can be out of reach.
type memory struct {
	mu      sync.Mutex
	err     error
	secret  map[string][]byte
	bundles []rotation.Bundle
	reads   int
}

func (m *memory) Read(context.Context) (map[string][]byte, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return m.secret, "", m.err
}

func (m *memory) Make(context.Context) error { return m.err }

func (m *memory) Write(_ context.Context, _ string, data map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.secret = data
	}
	return m.err
}

// hooks is the same cluster's configuration.
type hooks struct{ m *memory }

func (hooks) Name() string { return "ValidatingWebhookConfiguration x" }

func (h hooks) Read(context.Context) ([]rotation.Bundle, string, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.bundles, "", h.m.err
}

func (h hooks) Write(_ context.Context, _ string, bundles []rotation.Text) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.m.err != nil {
		return h.m.err
	}
	h.m.bundles = nil
	for _, b := range bundles {
		h.m.bundles = append(h.m.bundles, rotation.ParseBundle(b.Webhook, b.PEM))
	}
	return nil
}

func (m *memory) broken(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func value(t *testing.T, k *Keeper, name, label string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(k.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s{%s}", name, label)
	return 0
}

// TestKeeperSaysWhatItDoes: why there is no certificate yet, each step and each kind of trouble once, and no key.
func TestKeeperSaysWhatItDoes(t *testing.T) {
	var out bytes.Buffer
	log, err := run.Logger("info", zapcore.Lock(zapcore.AddSync(&out)))
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{err: errors.New("connection refused"), bundles: []rotation.Bundle{{Webhook: "a"}, {Webhook: "b"}}}
	ticks := make(chan time.Time)
	k, err := New(Options{Secret: m, Configurations: []Configuration{hooks{m}}, Names: simNames, Terms: simTerms, Now: time.Now, Log: log, Ticks: ticks})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Start(ctx) }()
	// The second is taken when the first was dealt with, and is dealt with while the test goes on: what breaks in the midst of it
	// may fail one of the two reads, and then both.
	tick := func() {
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	tick()
	probe := run.Certificate(k.GetCertificate, time.Now)
	if why := probe(); !strings.Contains(why, "connection refused") {
		t.Errorf("not ready for %q", why)
	}
	if state := value(t, k, "saguard_certificate_rotation_state", "blocked"); state != 1 {
		t.Errorf("state blocked is %v", state)
	}
	m.broken(nil)
	tick()
	if why := probe(); why != "" || k.Note() != "" {
		t.Errorf("not ready for %q; %s", why, k.Note())
	}
	if state := value(t, k, "saguard_certificate_rotation_state", "steady"); state != 1 {
		t.Errorf("state steady is %v", state)
	}
	m.broken(errors.New("timeout"))
	tick()
	if why := probe(); why != "" || !strings.Contains(k.Note(), "timeout") {
		t.Errorf("a certificate that is there is not served: %q; note %q", why, k.Note())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for text, want := range map[string]int{
		`"step":"issue"`: 1, `"step":"trust"`: 1, `"step":"promote"`: 1, "serving certificate changed": 1, `"connection refused\nconnection refused"`: 1, `"timeout\ntimeout"`: 1, "repair": 0, "PRIVATE": 0,
	} {
		lines := 0
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, text) {
				lines++
			}
		}
		if lines != want {
			t.Errorf("%d lines with %s, want %d\n%s", lines, text, want, out.String())
		}
	}
	for step, want := range map[string]float64{"issue": 1, "trust": 1, "promote": 1, "make-secret": 0, "forget": 0} {
		if got := value(t, k, "saguard_certificate_rotation_steps_total", step); got != want {
			t.Errorf("step %s counted %v times, want %v", step, got, want)
		}
	}
	if got := value(t, k, "saguard_certificate_rotation_errors_total", ""); got < 2 {
		t.Errorf("counted %v errors", got)
	}
	for _, r := range rotation.Repairs() {
		if got := value(t, k, "saguard_certificate_repairs_total", string(r)); got != 0 {
			t.Errorf("repair %s counted %v times", r, got)
		}
	}
}

func TestKeeperRefusesTermsByWhichItWouldBeLate(t *testing.T) {
	if _, err := New(Options{Terms: rotation.Terms{Validity: time.Hour, RenewBefore: time.Hour, Settle: time.Minute}}); err == nil {
		t.Error("taken")
	}
}
