package reach

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/saguard/saguard/policy"
)

// large is a cluster of so many accounts with three pods each and so many policies, half of them Calico's.
func large(accounts, policies int) objects {
	r := random{rand.New(rand.NewPCG(1, 1))}
	o := objects{}
	namespaces := accounts/10 + 1
	ns := func(i int) string { return fmt.Sprintf("team-%02d", i%namespaces) }
	for i := range namespaces {
		o.put(named("v1", "Namespace", "", ns(i), object{"kubernetes.io/metadata.name": ns(i), "stage": pick(r, "prod", "test")}))
	}
	for i := range accounts {
		name := fmt.Sprintf("account-%03d", i)
		o.put(named("v1", "ServiceAccount", ns(i), name, object{"role": pick(r, "web", "api", "db", "batch")}))
		for n := range 3 {
			pod := named("v1", "Pod", ns(i), fmt.Sprintf("%s-%d", name, n), object{"app": name, "track": pick(r, "stable", "stable", "canary")})
			pod["spec"] = object{"nodeName": "n", "serviceAccountName": name, "containers": []object{{"name": "c", "ports": []object{{"name": "http", "containerPort": 8080}}}}}
			pod["status"] = object{"phase": "Running", "podIPs": []object{{"ip": fmt.Sprintf("10.%d.%d.%d", i/250, i%250, n+1)}}}
			o.put(pod)
		}
	}
	for i := range policies {
		account := r.IntN(accounts)
		if i%2 == 0 {
			p := named("networking.k8s.io/v1", "NetworkPolicy", ns(account), fmt.Sprintf("k-%d", i), nil)
			p["spec"] = object{
				"podSelector": object{"matchLabels": object{"app": fmt.Sprintf("account-%03d", account)}}, "policyTypes": []string{"Ingress"},
				"ingress": []object{{
					"from":  []object{{"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": ns(r.IntN(namespaces))}}}},
					"ports": []object{{"port": 1000 + r.IntN(100)}, {"port": "http"}},
				}},
			}
			o.put(p)
			continue
		}
		p := named("projectcalico.org/v3", "NetworkPolicy", ns(account), fmt.Sprintf("c-%d", i), nil)
		p["spec"] = object{
			"order": r.IntN(1000), "serviceAccountSelector": fmt.Sprintf("projectcalico.org/name == 'account-%03d'", account), "selector": pick(r, "all()", "track == 'canary'"),
			"types":   []string{"Ingress", "Egress"},
			"ingress": []object{{"action": "Allow", "protocol": "TCP", "source": object{"serviceAccounts": object{"selector": "role == '" + pick(r, "web", "api", "db") + "'"}}, "destination": object{"ports": []int{2000 + r.IntN(50)}}}},
			"egress":  []object{{"action": "Allow", "protocol": "TCP", "destination": object{"selector": fmt.Sprintf("app == 'account-%03d'", r.IntN(accounts)), "namespaceSelector": "all()"}}, {"action": "Allow", "destination": object{"nets": []string{fmt.Sprintf("192.0.2.%d/32", r.IntN(20))}}}},
		}
		o.put(p)
	}
	return o
}

// BenchmarkMap makes every cell of the map, for sizes of which the baseline is the first: x-cells is how many times more
// cells there are, x-time how many times longer it takes.
func BenchmarkMap(b *testing.B) {
	baseline, baselineCells := 0.0, 0
	for _, size := range []struct{ accounts, policies int }{{100, 333}, {300, 1000}} {
		b.Run(fmt.Sprintf("%d-accounts-%d-policies", size.accounts, size.policies), func(b *testing.B) {
			s := large(size.accounts, size.policies).snapshot(b, policy.Strict)
			cells := 0
			for b.Loop() {
				m := New(s)
				parties := len(m.Parties())
				cells = parties * parties
				for i := range parties {
					for k := range parties {
						m.Cell(i, k)
					}
				}
			}
			perRun := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if baseline == 0 {
				baseline, baselineCells = perRun, cells
			}
			b.ReportMetric(float64(cells)/float64(baselineCells), "x-cells")
			b.ReportMetric(perRun/baseline, "x-time")
		})
	}
}
