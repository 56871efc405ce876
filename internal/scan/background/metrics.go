package background

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/internal/scan"
)

// Metrics are the figures of the last scan, on the replica that made it; the others have none. Labels are closed sets: the names of guards and
// namespaces, which users choose, are in the status of the guards and in reports.
type Metrics struct {
	last     atomic.Pointer[figures]
	failures atomic.Uint64

	violations, unjudged, objects, duration, ended, failuresTotal *prometheus.Desc
}

type figures struct {
	byCheck           map[string]map[scan.Certainty]int64
	objects, unjudged int64
	duration          time.Duration
	ended             time.Time
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		violations:    prometheus.NewDesc("saguard_scan_violations", "What exists and would be refused today, by check and by what that rests on.", []string{"check", "certainty"}, nil),
		unjudged:      prometheus.NewDesc("saguard_scan_unjudged", "What the last scan could not judge.", nil, nil),
		objects:       prometheus.NewDesc("saguard_scan_objects", "Objects that the last scan looked at.", nil, nil),
		duration:      prometheus.NewDesc("saguard_scan_duration_seconds", "How long the last scan took.", nil, nil),
		ended:         prometheus.NewDesc("saguard_scan_ended_timestamp_seconds", "When the last scan ended, as Unix time.", nil, nil),
		failuresTotal: prometheus.NewDesc("saguard_scan_failures_total", "Scans that did not end, or whose results could not be written.", nil, nil),
	}
	return m, r.Register(m)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.violations, m.unjudged, m.objects, m.duration, m.ended, m.failuresTotal} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(m.failuresTotal, prometheus.CounterValue, float64(m.failures.Load()))
	f := m.last.Load()
	if f == nil {
		return
	}
	for _, check := range scan.Checks() {
		for _, certainty := range scan.Certainties() {
			out <- prometheus.MustNewConstMetric(m.violations, prometheus.GaugeValue, float64(f.byCheck[check][certainty]), check, string(certainty))
		}
	}
	out <- prometheus.MustNewConstMetric(m.unjudged, prometheus.GaugeValue, float64(f.unjudged))
	out <- prometheus.MustNewConstMetric(m.objects, prometheus.GaugeValue, float64(f.objects))
	out <- prometheus.MustNewConstMetric(m.duration, prometheus.GaugeValue, f.duration.Seconds())
	out <- prometheus.MustNewConstMetric(m.ended, prometheus.GaugeValue, float64(f.ended.Unix()))
}

func (m *Metrics) set(r *scan.Result, began, ended time.Time) {
	m.last.Store(&figures{byCheck: r.ByCheck, objects: r.Objects, unjudged: r.TotalUnjudged, duration: ended.Sub(began), ended: ended})
}

func (m *Metrics) failed() { m.failures.Add(1) }

func (m *Metrics) clear() { m.last.Store(nil) }
