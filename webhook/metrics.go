package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/rbac"
)

// Metrics counts decisions. No name that a user can choose becomes a label: resources and operations outside of the closed
// sets below count as "other".
type Metrics struct {
	decisions *prometheus.CounterVec
	checks    *prometheus.CounterVec
	questions *prometheus.CounterVec
	mutations *prometheus.CounterVec
	lost      prometheus.Counter
	turned    prometheus.Counter
	seconds   *prometheus.HistogramVec
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_admission_decisions_total",
			Help: "Admission requests answered, by decision (Allow, Deny, Error), reason, mode, operation and resource.",
		}, []string{"decision", "reason", "mode", "operation", "resource"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_admission_findings_total",
			Help: "Findings of checks, by check, result (granted, missing, refused, error) and mode.",
		}, []string{"check", "result", "mode"}),
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_authorization_questions_total",
			Help: "Permissions asked for, by who answered and the answer (allowed, denied, error).",
		}, []string{"source", "answer"}),
		mutations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_admission_mutations_total",
			Help: "Requests seen by the mutating webhook, by resource and whether they were changed.",
		}, []string{"resource", "changed"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_decision_records_lost_total",
			Help: "Decisions that could not be recorded; each was refused.",
		}),
		turned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saguard_admission_overload_total",
			Help: "Requests turned away because too many were being judged.",
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "saguard_admission_duration_seconds",
			Help:    "Time from a decoded request to its decision, by decision.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 5},
		}, []string{"decision"}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.checks, m.questions, m.mutations, m.lost, m.turned, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) decided(r *Request, d *Decision, took time.Duration) {
	m.decisions.WithLabelValues(string(d.Outcome), d.Reason, string(d.Mode), operationLabel(r.Operation), resourceLabel(r.groupResource())).Inc()
	m.seconds.WithLabelValues(string(d.Outcome)).Observe(took.Seconds())
	for i := range d.Judged {
		m.checks.WithLabelValues(d.Judged[i].Check, d.Judged[i].result(), string(d.Judged[i].Mode)).Inc()
	}
}

// Asked counts one question; it is the Observe of rbac.Options.
func (m *Metrics) Asked(source rbac.Source, allowed bool, err error) {
	answer := "denied"
	switch {
	case err != nil:
		answer = "error"
	case allowed:
		answer = "allowed"
	}
	m.questions.WithLabelValues(source.String(), answer).Inc()
}

func (m *Metrics) mutated(r *Request, changed bool) {
	label := "false"
	if changed {
		label = "true"
	}
	m.mutations.WithLabelValues(resourceLabel(r.groupResource()), label).Inc()
}

func (m *Metrics) recordFailed() { m.lost.Inc() }

func (m *Metrics) overloaded() { m.turned.Inc() }

const otherLabel = "other"

func operationLabel(op admissionv1.Operation) string {
	switch op {
	case admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect:
		return string(op)
	default:
		return otherLabel
	}
}

func resourceLabel(gr schema.GroupResource) string {
	if isNamed(gr) {
		return gr.String()
	}
	return otherLabel
}
