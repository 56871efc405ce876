package reference

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	certutil "k8s.io/client-go/util/cert"

	"github.com/saguard/saguard/authz/extauthz"
	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/enforcetest"
	"github.com/saguard/saguard/internal/certificates"
	"github.com/saguard/saguard/internal/clientauth"
	"github.com/saguard/saguard/internal/rotation"
	"github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/internal/scan/background"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/webhook"
)

// Metric is a metric as its collector describes it.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// recorder is a prometheus.Registerer that keeps what is registered.
type recorder struct{ collectors []prometheus.Collector }

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *recorder) MustRegister(all ...prometheus.Collector) {
	r.collectors = append(r.collectors, all...)
}

// Unregister implements prometheus.Registerer.
func (r *recorder) Unregister(prometheus.Collector) bool { return false }

// part is a program, or a part of one that can be switched off, with its metrics.
type part struct {
	name, about string
	register    func(*recorder) error
}

func parts() []part {
	return []part{
		{"Webhook", "On port `webhook.metricsPort`, beside those of controller-runtime and of Go.", func(r *recorder) error {
			_, err := webhook.NewMetrics(r)
			if err != nil {
				return err
			}
			if _, err := background.NewMetrics(r); err != nil {
				return err
			}
			clients, err := clients()
			if err != nil {
				return err
			}
			keeper, err := certificates.New(certificates.Options{Terms: rotation.Terms{Validity: 4 * time.Hour, RenewBefore: 2 * time.Hour, Settle: time.Hour}})
			if err != nil {
				return err
			}
			r.MustRegister(watches(), run.CertificateExpiry(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }),
				run.NewServer("", nil, nil, logr.Discard()).Collector(), (&run.Health{Probes: probes()}).Collector("webhook"), clients.Collector(), keeper.Collector())
			return nil
		}},
		{"Agent", "On port `agent.metricsPort` of every node, beside those of Go.", func(r *recorder) error {
			m, err := enforce.NewMetrics(r)
			if err != nil {
				return err
			}
			loop, err := enforce.New(enforce.Options{
				Feed: noFeed{}, Candidates: []enforce.Candidate{enforcetest.New().Candidate("bpf")}, Metrics: m, Log: logr.Discard(), Now: time.Now,
			})
			if err != nil {
				return err
			}
			r.MustRegister(loop.Collector(), watches(), (&run.Health{Probes: probes()}).Collector("agent"))
			return nil
		}},
		{"Identity check", "Of the agent, where `agent.identityCheck.trustDomains` is set.", func(r *recorder) error {
			_, err := extauthz.NewMetrics(r)
			return err
		}},
	}
}

// watches is the collector of a watcher that was never started.
func watches() prometheus.Collector {
	sources := watch.Admission(state.New(state.Live{}, nil), nil)
	return watch.New(nil, logr.Discard(), time.Now, sources...).Collector()
}

// probes is one that passes.
func probes() map[string]run.Probe { return map[string]run.Probe{"a": func() string { return "" }} }

// clients trusts an authority of the moment.
func clients() (_ *clientauth.Clients, err error) {
	dir, err := os.MkdirTemp("", "saguard-reference-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	authority, _, err := certutil.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	file := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		return nil, fmt.Errorf("write authority: %w", err)
	}
	return clientauth.New(clientauth.Options{File: file, Now: time.Now, Log: logr.Discard()})
}

// noFeed is a feed of nothing.
type noFeed struct{}

// Changed implements enforce.Feed.
func (noFeed) Changed() <-chan struct{} { return nil }

// Take implements enforce.Feed.
func (noFeed) Take() ([]enforce.Change, string) { return nil, "there is nothing" }

// Revision implements enforce.Feed.
func (noFeed) Revision() uint64 { return 0 }

// Metrics returns the metrics by the part that has them.
func Metrics() (map[string][]Metric, error) {
	out := map[string][]Metric{}
	for _, p := range parts() {
		r := &recorder{}
		if err := p.register(r); err != nil {
			return nil, fmt.Errorf("register metrics of %s: %w", p.name, err)
		}
		for _, c := range r.collectors {
			all, err := describe(c)
			if err != nil {
				return nil, fmt.Errorf("describe metrics of %s: %w", p.name, err)
			}
			out[p.name] = append(out[p.name], all...)
		}
		slices.SortFunc(out[p.name], func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	}
	return out, nil
}

// descText is how client_golang prints a Desc, whose fields it keeps to itself.
var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

func describe(c prometheus.Collector) ([]Metric, error) {
	types, err := typesOf(c)
	if err != nil {
		return nil, err
	}
	var out []Metric
	seen := map[string]bool{}
	for _, d := range descs(c) {
		fields := descText.FindStringSubmatch(d)
		if fields == nil {
			return nil, fmt.Errorf("read %s", d)
		}
		m := Metric{Name: fields[1], Help: strings.ReplaceAll(fields[2], `\"`, `"`), Type: types[d]}
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		for _, constant := range strings.Split(fields[3], ",") {
			if name, _, ok := strings.Cut(constant, "="); ok {
				m.Labels = append(m.Labels, name)
			}
		}
		if fields[4] != "" {
			m.Labels = append(m.Labels, strings.Split(fields[4], ",")...)
		}
		if m.Type == "" {
			// No value before the program runs; then Prometheus's rule for names says. A test compares with a running webhook.
			m.Type = "gauge"
			if strings.HasSuffix(m.Name, "_total") {
				m.Type = "counter"
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// descs are what the collector describes, as text.
func descs(c prometheus.Collector) []string {
	all := make(chan *prometheus.Desc)
	go func() {
		c.Describe(all)
		close(all)
	}()
	var out []string
	for d := range all {
		out = append(out, d.String())
	}
	return out
}

// typesOf returns the type of each metric by its Desc: by the collector's Go type, or by what it collects.
func typesOf(c prometheus.Collector) (map[string]string, error) {
	out := map[string]string{}
	fixed := ""
	switch c.(type) {
	case *prometheus.CounterVec:
		fixed = "counter"
	case *prometheus.GaugeVec:
		fixed = "gauge"
	case *prometheus.HistogramVec:
		fixed = "histogram"
	}
	if fixed != "" {
		for _, d := range descs(c) {
			out[d] = fixed
		}
		return out, nil
	}
	metrics := make(chan prometheus.Metric)
	go func() {
		c.Collect(metrics)
		close(metrics)
	}()
	for m := range metrics {
		var written dto.Metric
		if err := m.Write(&written); err != nil {
			return nil, fmt.Errorf("collect: %w", err)
		}
		kind := "gauge"
		switch {
		case written.Counter != nil:
			kind = "counter"
		case written.Histogram != nil:
			kind = "histogram"
		}
		out[m.Desc().String()] = kind
	}
	return out, nil
}

func metricsPage(context.Context, string) (string, error) {
	all, err := Metrics()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("Labels are closed sets: no name that a user can choose ever becomes one.\n")
	for _, p := range parts() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", p.name, p.about)
		for _, m := range all[p.name] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, code(m.Labels), cell(m.Help))
		}
	}
	return b.String(), nil
}

// code joins names in backquotes.
func code(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "`" + n + "`"
	}
	return strings.Join(quoted, ", ")
}
