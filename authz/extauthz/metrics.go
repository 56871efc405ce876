package extauthz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts checks. Labels are closed sets: no name that a client or a policy's author can choose becomes one.
type Metrics struct {
	checks  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	summed  *prometheus.CounterVec
	lost    prometheus.Counter
	refused prometheus.Counter
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_authz_checks_total",
			Help: "Checks answered, by transport (grpc, json), kind (http, connection), decision (Allow, Deny, Error) and reason.",
		}, []string{"transport", "kind", "decision", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "saguard_authz_duration_seconds",
			Help:    "Time from a decoded request to its decision, by decision.",
			Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1},
		}, []string{"decision"}),
		summed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_authz_records_summed_total",
			Help: "Refusals without a record of their own, by decision and reason: they are in the sum of a record of their kind.",
		}, []string{"decision", "reason"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_authz_records_lost_total",
			Help: "Decisions that could not be recorded; none of them was an allowance.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_authz_connections_refused_total",
			Help: "Connections over TCP that were refused because their certificate names nobody who may ask, or for want of a certificate or authority of the agent's own, or because their client has too many.",
		}),
	}
	for _, c := range []prometheus.Collector{m.checks, m.seconds, m.summed, m.lost, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) checked(q *question, a *answer, took time.Duration) {
	kind := "connection"
	if q.request.HTTP != nil {
		kind = "http"
	}
	m.checks.WithLabelValues(string(q.transport), kind, string(a.outcome), string(a.Reason)).Inc()
	m.seconds.WithLabelValues(string(a.outcome)).Observe(took.Seconds())
}

func (m *Metrics) recordsLost(n uint64) { m.lost.Add(float64(n)) }
