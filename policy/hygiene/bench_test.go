package hygiene

import (
	"fmt"
	"strings"
	"testing"
)

// policyOf has n rules of the sort that policies have; hostile ones are as long
// and deep as strict semantics allow.
func policyOf(n int, hostile bool) []byte {
	deep := strings.Repeat("!(", 60) + "a in {" + strings.Repeat(`'v',`, 200) + "}" + strings.Repeat(")", 60)
	var rules []string
	for i := range n {
		entity := fmt.Sprintf(`"namespaceSelector":"projectcalico.org/name == 'ns-%d'","selector":"app == 'web' && tier in {'a','b'}",`+
			`"serviceAccounts":{"names":["sa-%d","sb-%d"],"selector":"role == 'r%d' || has(team)"}`, i, i, i, i)
		if hostile {
			entity = fmt.Sprintf(`"namespaceSelector":%q,"selector":%q,"notSelector":%q,"serviceAccounts":{"selector":%q}`, deep, deep, deep, deep)
		}
		rules = append(rules, `{"action":"Allow","protocol":"TCP","source":{`+entity+`},"destination":{"ports":[80,"443","8000:8080"]}}`)
	}
	return []byte(np(`"selector":"app == 'db'","ingress":[` + strings.Join(rules, ",") + `]`))
}

// BenchmarkValidate reports the time a rule takes as a multiple of what it takes
// in a policy of 64 rules, the baseline of the same run: about 1 is linear.
func BenchmarkValidate(b *testing.B) {
	for _, hostile := range []bool{false, true} {
		name := "usual"
		if hostile {
			name = "hostile"
		}
		var baseline float64
		for _, n := range []int{64, 256, 1024} {
			raw := policyOf(n, hostile)
			b.Run(fmt.Sprintf("%s/rules=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					if errs := Validate(raw, Strict); len(errs) > 0 {
						b.Fatal(errs[0])
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

// BenchmarkCheck is BenchmarkValidate without decoding.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{64, 1024} {
		obj, errs := Decode(policyOf(n, false))
		if len(errs) > 0 {
			b.Fatal(errs)
		}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				if errs := Check(obj, Strict); len(errs) > 0 {
					b.Fatal(errs[0])
				}
			}
		})
	}
}
