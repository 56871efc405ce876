package webhook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// BenchmarkPolicy is one request with a policy of n rules, from JSON to response, by somebody with all the permissions. It
// reports the time of a rule as a multiple of that in a policy of 64 rules, the baseline of the same run: about 1 is linear.
func BenchmarkPolicy(b *testing.B) {
	var baseline float64
	for _, n := range []int{64, 256, 1024} {
		var rules []string
		for i := range n {
			rules = append(rules, fmt.Sprintf(`{"action":"Allow","protocol":"TCP","source":{"selector":"app == 'web' && tier in {'a','b'}",`+
				`"serviceAccounts":{"names":["sa-%d"]}},"destination":{"ports":[80,"443","8000:8080"]}}`, i))
		}
		w := newWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
		w.bands = []v1alpha1.PolicyBand{orderBand("everybody", true, nil, nil, nil, "default")}
		w.grant("alice", "prod", "bind", "serviceaccounts")
		req := calicoRequest(b, groups[0], admissionv1.Create, "alice", "kind: NetworkPolicy\n", "")
		req.Object = []byte(`{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"prod"},"spec":{"tier":"default","types":["Ingress"],"ingress":[` + strings.Join(rules, ",") + `]}}`)
		metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			b.Fatal(err)
		}
		authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot, Observe: metrics.Asked})
		if err != nil {
			b.Fatal(err)
		}
		h, err := webhook.New(webhook.Options{World: w, Authorizer: authorizer, Recorder: &records{}, Metrics: metrics, Log: logr.Discard(), Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				if resp := h.Validate(b.Context(), req); !resp.Allowed {
					b.Fatal(resp.Result.Message)
				}
			}
			perRule := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n)
			if baseline == 0 {
				baseline = perRule
			}
			b.ReportMetric(perRule, "ns/rule")
			b.ReportMetric(perRule/baseline, "x-of-64-rules")
		})
	}
}
