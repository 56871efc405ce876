package watch

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
)

// BenchmarkPoliciesFromNothing reads whole worlds of pods and policies over HTTP: the time until everything is in force, and
// what of it stays on the heap, per object, against the smallest world.
func BenchmarkPoliciesFromNothing(b *testing.B) {
	perObject := 0.0
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newAPIServer(true)
			s.serve(pathV3)
			s.put(pathNamespaces, "", "prod", `"spec":{}`)
			for i := range n {
				s.put(pathPods, "prod", fmt.Sprintf("web-%d", i), fmt.Sprintf(`"spec":{"nodeName":"n-%d","serviceAccountName":"web-%d","containers":[{"name":"c","image":"registry.example.com/web:1","env":[{"name":"A","value":"B"}]}]},"status":{"phase":"Running","podIP":"10.%d.%d.%d","podIPs":[{"ip":"10.%d.%d.%d"}]}`,
					i%100, i%500, i>>16, i>>8&255, i&255, i>>16, i>>8&255, i&255))
				s.put(pathV3+"networkpolicies", "prod", fmt.Sprintf("p-%d", i), fmt.Sprintf(`"spec":{"selector":"app == 'a%d'","types":["Ingress"],"ingress":[{"action":"Allow","protocol":"TCP","source":{"serviceAccounts":{"names":["web-%d"]}},"destination":{"ports":[80,"443:444"]}}]}`, i, i%500))
			}
			server := httptest.NewServer(s)
			defer server.Close()
			var heap uint64
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				p := state.NewPolicies(policy.Strict, time.Now)
				api, err := NewPolicyAPI(&rest.Config{Host: server.URL, QPS: -1})
				if err != nil {
					b.Fatal(err)
				}
				w := New(nil, klog.Background(), time.Now, api.Policies(p, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})...)
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- w.Start(ctx) }()
				for p.WhyUnread() != "" {
					<-p.Changed()
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				heap = after.HeapAlloc - min(after.HeapAlloc, before.HeapAlloc)
				cancel()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				server.CloseClientConnections()
			}
			each := float64(b.Elapsed().Microseconds()) / float64(b.N) / float64(2*n)
			if perObject == 0 {
				perObject = each
			}
			b.ReportMetric(each, "µs/object")
			b.ReportMetric(each/perObject, "x-of-100")
			b.ReportMetric(float64(heap)/float64(2*n), "B/object")
		})
	}
}
