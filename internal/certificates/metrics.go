package certificates

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/internal/rotation"
)

// counts are what a keeper measures. Labels are the closed sets of package rotation.
type counts struct {
	steps, repairs    *prometheus.CounterVec
	errors, conflicts prometheus.Counter
	now               atomic.Pointer[rotation.State]
	stateDesc         *prometheus.Desc
}

func newCounts() *counts {
	c := &counts{
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_certificate_rotation_steps_total", Help: "Steps of certificate rotations that this replica did.",
		}, []string{"step"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_certificate_repairs_total", Help: "What this replica found broken and repaired, by what it was.",
		}, []string{"what"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_certificate_rotation_errors_total", Help: "Times that something could not be read or written.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_certificate_rotation_conflicts_total", Help: "Times that another replica, or somebody else, wrote first.",
		}),
		stateDesc: prometheus.NewDesc("saguard_certificate_rotation_state", "1 for where the rotation stands, as this replica sees it.", []string{"state"}, nil),
	}
	for _, s := range rotation.Steps() {
		c.steps.WithLabelValues(string(s))
	}
	for _, r := range rotation.Repairs() {
		c.repairs.WithLabelValues(string(r))
	}
	c.state(rotation.Blocked)
	return c
}

func (c *counts) state(s rotation.State) { c.now.Store(&s) }
func (c *counts) failed()                { c.errors.Inc() }
func (c *counts) conflict()              { c.conflicts.Inc() }

func (c *counts) done(s rotation.Step, r rotation.Repair) {
	c.steps.WithLabelValues(string(s)).Inc()
	if r != rotation.NoRepair {
		c.repairs.WithLabelValues(string(r)).Inc()
	}
}

// Collector returns the keeper's metrics; the expiry of the certificate is run.CertificateExpiry's.
func (k *Keeper) Collector() prometheus.Collector { return k.metrics }

// Describe implements prometheus.Collector.
func (c *counts) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *counts) Collect(out chan<- prometheus.Metric) {
	for _, of := range []prometheus.Collector{c.steps, c.repairs, c.errors, c.conflicts} {
		of.Collect(out)
	}
	for _, s := range rotation.States() {
		value := 0.0
		if s == *c.now.Load() {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(c.stateDesc, prometheus.GaugeValue, value, string(s))
	}
}
