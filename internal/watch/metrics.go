package watch

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Collector tells Prometheus how fresh each source is.
func (w *Watcher) Collector() prometheus.Collector {
	return &collector{
		watcher: w,
		synced:  prometheus.NewDesc("saguard_cache_synced", "1 if the resource has been read whole at least once.", []string{"source"}, nil),
		absent:  prometheus.NewDesc("saguard_cache_absent", "1 if the API server does not serve the resource.", []string{"source"}, nil),
		age:     prometheus.NewDesc("saguard_cache_age_seconds", "Seconds since the API server was last heard of for the resource; healthy below 25.", []string{"source"}, nil),
	}
}

type collector struct {
	watcher             *Watcher
	synced, absent, age *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.synced
	ch <- c.absent
	ch <- c.age
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.watcher.Statuses() {
		ch <- prometheus.MustNewConstMetric(c.synced, prometheus.GaugeValue, number(s.Synced), s.Name)
		ch <- prometheus.MustNewConstMetric(c.absent, prometheus.GaugeValue, number(s.Absent), s.Name)
		ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, s.Age.Seconds(), s.Name)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
