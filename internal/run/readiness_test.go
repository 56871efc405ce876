package run

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// gathered lists what a scrape would see, sorted.
func gathered(t *testing.T, c prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			text := family.GetName()
			for _, l := range m.GetLabel() {
				text += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			out = append(out, fmt.Sprintf("%s: %v", text, m.GetGauge().GetValue()))
		}
	}
	return out
}

func TestReadinessAsMetrics(t *testing.T) {
	why := "behind"
	h := &Health{Probes: map[string]Probe{"caches": func() string { return why }, "listener": func() string { return "" }}}
	collector := h.Collector("webhook")
	for _, caches := range []string{"0", "1"} {
		want := []string{"saguard_ready component=webhook probe=caches: " + caches, "saguard_ready component=webhook probe=listener: 1"}
		if got := gathered(t, collector); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		why = ""
	}
	if got := gathered(t, (&Health{}).Collector("agent")); len(got) > 0 {
		t.Errorf("%q without probes", got)
	}
}
