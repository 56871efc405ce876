package reference_test

import (
	"fmt"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy/reference"
)

// policyOf has n Allow rules of the sort that policies have; of hostile ones, each asks for as much as a selector can hold.
func policyOf(n int, hostile bool) metav1.Object {
	spec := v3.NetworkPolicySpec{ServiceAccountSelector: "role == 'db'"}
	for i := range n {
		e := v3.EntityRule{
			NamespaceSelector: fmt.Sprintf("projectcalico.org/name == 'ns-%d'", i), Selector: "app == 'web' && tier in {'a','b'}",
			ServiceAccounts: accounts(fmt.Sprintf("role == 'r%d' || has(team)", i), fmt.Sprintf("sa-%d", i), fmt.Sprintf("sb-%d", i)),
		}
		if hostile {
			var values []string
			for j := range 100 {
				values = append(values, fmt.Sprintf("'%d-%d'", i, j))
			}
			deep := strings.Repeat("!(", 60) + "pcsa.role in {" + strings.Join(values, ",") + "} && !has(pcsa.team)" + strings.Repeat(")", 60)
			e = v3.EntityRule{NamespaceSelector: e.NamespaceSelector, Selector: deep, NotSelector: deep, ServiceAccounts: accounts(deep)}
		}
		spec.Ingress = append(spec.Ingress, v3.Rule{Action: v3.Allow, Source: e, Destination: v3.EntityRule{Selector: e.Selector}})
	}
	return namespaced(spec)
}

// BenchmarkCreated reports the time a rule takes as a multiple of what it takes in a policy of 64 rules, the baseline of the
// same run: about 1 is linear.
func BenchmarkCreated(b *testing.B) {
	for _, hostile := range []bool{false, true} {
		var baseline float64
		for _, n := range []int{64, 256, 1024} {
			obj := policyOf(n, hostile)
			b.Run(fmt.Sprintf("hostile=%t/rules=%d", hostile, n), func(b *testing.B) {
				for b.Loop() {
					if refs := reference.Created(reference.Read(obj, "prod")); len(refs) == 0 {
						b.Fatal("no references")
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
}
