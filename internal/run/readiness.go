package run

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector tells Prometheus which probes pass, for alerts that name what is in the way. component is the program's, a constant.
func (h *Health) Collector(component string) prometheus.Collector {
	return &readiness{health: h, ready: prometheus.NewDesc("saguard_ready",
		"1 if the probe of readiness passes; the program is ready if all of them do.", []string{"probe"}, prometheus.Labels{"component": component})}
}

type readiness struct {
	health *Health
	ready  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (r *readiness) Describe(ch chan<- *prometheus.Desc) { ch <- r.ready }

// Collect implements prometheus.Collector.
func (r *readiness) Collect(ch chan<- prometheus.Metric) {
	for _, name := range slices.Sorted(maps.Keys(r.health.Probes)) {
		passes := 0.0
		if r.health.Probes[name]() == "" {
			passes = 1
		}
		ch <- prometheus.MustNewConstMetric(r.ready, prometheus.GaugeValue, passes, name)
	}
}
