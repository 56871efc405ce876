package enforce

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/internal/ruleset"
)

// Metrics of a loop. No label has values that a user can choose.
type Metrics struct {
	eventToKernel prometheus.Histogram
	seconds       *prometheus.HistogramVec
	errors        *prometheus.CounterVec
	repairs       prometheus.Counter
	packets       *prometheus.CounterVec
	events        *prometheus.CounterVec
	lost          prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	buckets := prometheus.ExponentialBuckets(0.0001, 2, 18) // 0.1 ms to 13 s
	m := &Metrics{
		eventToKernel: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "saguard_agent_event_to_kernel_seconds", Buckets: buckets,
			Help: "Time from the arrival of an event that changes rules to the kernel holding them.",
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "saguard_agent_kernel_seconds", Buckets: buckets,
			Help: "Time that calls of the kernel take, by operation (sync, apply, verify, hits, lookup, remove).",
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_agent_kernel_errors_total",
			Help: "Calls of the kernel that failed, by operation (open, sync, apply, verify, hits, remove).",
		}, []string{"operation"}),
		repairs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_agent_repairs_total", Help: "Times that somebody else had changed the kernel's rules.",
		}),
		packets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_agent_packets_total",
			Help: "Packets that rules decided, by verdict (Allow, Deny); replies pass by conntrack and are not among them.",
		}, []string{"verdict"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_agent_packet_events_total", Help: "Packets reported one by one, by verdict (Allow: logged; Deny).",
		}, []string{"verdict"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_agent_packet_events_lost_total", Help: "Packets that were to be reported and were not, for their number.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.eventToKernel, m.seconds, m.errors, m.repairs, m.packets, m.events, m.lost} {
		errs = append(errs, r.Register(c))
	}
	for _, op := range []string{"open", "sync", "apply", "verify", "hits", "remove"} {
		m.errors.WithLabelValues(op)
	}
	for _, v := range []bool{true, false} {
		m.packets.WithLabelValues(verdict(v))
		m.events.WithLabelValues(verdict(v))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// count adds what the rules decided since the last time.
func (l *Loop) count(ctx context.Context) {
	var hits map[ruleset.RuleID]Hits
	err := l.call(ctx, "hits", func(ctx context.Context) error {
		var err error
		hits, err = l.backend.Hits(ctx)
		return err
	})
	if err != nil {
		l.o.Metrics.errors.WithLabelValues("hits").Inc()
		l.o.Log.V(1).Info("hits not read", "error", err.Error())
		return
	}
	allows := map[ruleset.RuleID]bool{}
	for _, row := range l.rules.Rows {
		for _, s := range row {
			if s.Allow {
				allows[s.Rule] = true
			}
		}
	}
	now := make(map[ruleset.RuleID]uint64, len(hits))
	for id, h := range hits {
		now[id] = h.Packets
		more := h.Packets
		if before := l.counts[id]; before <= more {
			more -= before // else the ID is another rule's by now
		}
		l.o.Metrics.packets.WithLabelValues(verdict(allows[id])).Add(float64(more))
	}
	l.counts = now
}

// Collector tells Prometheus the state of the loop.
func (l *Loop) Collector() prometheus.Collector {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("saguard_agent_"+name, help, labels, nil)
	}
	return &collector{
		loop:    l,
		state:   gauge("state", "1 for the state that the node is in.", "state"),
		backend: gauge("backend", "1 for the backend in use.", "backend"),
		applied: gauge("applied_timestamp_seconds", "When the kernel last took rules, in seconds since the epoch; 0 if it never did."),
		lag:     gauge("revision_lag", "Events that the kernel does not reflect yet."),
		size:    gauge("size", "Size of the rules, by what is counted.", "of"),
	}
}

type collector struct {
	loop                               *Loop
	state, backend, applied, lag, size *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.state, c.backend, c.applied, c.lag, c.size} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.loop.Status()
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, state := range States() {
		in := 0.0
		if s.State == state {
			in = 1
		}
		send(c.state, in, string(state))
	}
	if s.Backend != "" {
		send(c.backend, 1, s.Backend)
	}
	applied := 0.0
	if !s.AppliedAt.IsZero() {
		applied = float64(s.AppliedAt.UnixMilli()) / 1000
	}
	send(c.applied, applied)
	send(c.lag, float64(s.Revision-min(s.Revision, s.AppliedRevision)))
	for what, n := range map[string]int{
		"endpoints": s.Endpoints, "identities": s.Identities, "addresses": s.Addresses, "programs": s.Programs, "rows": s.Rows, "rules": s.Rules,
	} {
		send(c.size, float64(n), what)
	}
}
