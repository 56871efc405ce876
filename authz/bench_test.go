package authz_test

import (
	"fmt"
	"math"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// The shape of Calico's BenchmarkEvaluateBaselinePolicyScale: 294 policies of 68 rules on one endpoint, 3,708 sets with
// about 256,000 members together. Calico publishes 3.7 ms for one evaluation (projectcalico/calico#13265).
const (
	scalePolicies, scaleRules = 294, 68
	scaleKeys, scaleValues    = 36, 103 // 3,708 sets, one for each label
	scalePods                 = 7112    // each in 36 sets: 256,032 members
	calicoPublished           = 3.7e6   // ns
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func podAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// scale builds the shape, or one with other numbers of pods and policies. Policies on the server: those with an index below selecting; the others select nothing that is
// there. No rule's port is the one that is asked for, but for the last rule's: everything that can match is compared.
func scale(t testing.TB, pods, policies, selecting int) *policy.Snapshot {
	t.Helper()
	return policy.NewSnapshot(1, policy.Strict, scaleResources(t, pods, policies, selecting))
}

func scaleResources(t testing.TB, pods, policies, selecting int) []policy.Resource {
	t.Helper()
	resources := []policy.Resource{&policy.Namespace{Name: "a"}, &policy.ServiceAccount{Namespace: "a", Name: "client"}, &policy.ServiceAccount{Namespace: "a", Name: "server"}}
	client, server := must(identity.NewServiceAccount("a", "client"))(t), must(identity.NewServiceAccount("a", "server"))(t)
	for i := range pods {
		labels := map[string]string{policy.LabelNamespace: "a", policy.LabelServiceAccount: "client"}
		for k := range scaleKeys {
			labels[fmt.Sprintf("key-%d", k)] = fmt.Sprintf("value-%d", (i*(k+1)+k)%scaleValues)
		}
		resources = append(resources, &policy.Workload{Namespace: "a", Name: fmt.Sprintf("pod-%d", i), Node: "n", Account: client, Labels: labels, Addresses: []netip.Addr{podAddress(i)}})
	}
	resources = append(resources, &policy.Workload{
		Namespace: "a", Name: "server", Node: "n", Account: server, Labels: map[string]string{"app": "server", policy.LabelNamespace: "a", policy.LabelServiceAccount: "server"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
	})
	// As parsed: no two rules share a set, though many ask for the same.
	set := func(i int) *policy.Set {
		i %= scaleKeys * scaleValues
		return &policy.Set{Selector: must(selector.Eq(fmt.Sprintf("key-%d", i%scaleKeys), fmt.Sprintf("value-%d", i/scaleKeys)))(t), Reading: policy.ReadingCertain}
	}
	on, off := must(selector.Eq("app", "server"))(t), must(selector.Eq("app", "other"))(t)
	for i := range policies {
		p := &policy.Policy{ID: policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: fmt.Sprintf("policy-%04d", i)}, Tier: policy.DefaultTier, Order: float64(i), Selector: off, AppliesIngress: true}
		if i < selecting {
			p.Selector = on
		}
		for j := range scaleRules {
			r := policy.Rule{Index: j, Action: policy.ActionAllow, Protocol: policy.ProtocolTCP}
			r.Source.Set = set(i*scaleRules + j)
			r.Destination.Ports = []policy.Port{{First: uint16(1000 + j), Last: uint16(1000 + j)}}
			p.Ingress = append(p.Ingress, r)
		}
		resources = append(resources, p)
	}
	return resources
}

func asking(i int) *authz.Request {
	return &authz.Request{
		Source:      authz.Peer{Address: podAddress(i % scalePods).String(), Port: 40000, Principal: "spiffe://cluster.local/ns/a/sa/client"},
		Destination: authz.Peer{Address: "10.0.0.1", Port: 80},
		HTTP:        &authz.HTTP{Method: "GET", Path: "/public/index.html"},
	}
}

// BenchmarkCheck is the time of one check in Calico's shape, as a ratio to what Calico publishes: warm, when the pair of
// pods has been asked about before; with a client that is new; with a snapshot that is new, and a client that is new in it;
// with a Memory that knows nothing, as when the agent starts; and without a Memory.
func BenchmarkCheck(b *testing.B) {
	resources := scaleResources(b, scalePods, scalePolicies, scalePolicies)
	s, c := policy.NewSnapshot(1, policy.Strict, resources), config(b, authz.ConfigOptions{})
	// What changes between two snapshots is not what is asked about. Each is new to a Memory that was asked about the other.
	changing := []*policy.Snapshot{s, policy.NewSnapshot(2, policy.Strict, append(resources, &policy.Namespace{Name: "b"}))}
	requests := make([]*authz.Request, scalePods)
	for i := range requests {
		requests[i] = asking(i)
	}
	warm, clients := &authz.Memory{}, 256
	for _, r := range requests[:clients] {
		warm.Decide(s, c, authz.ServerName{}, r)
	}
	var cold *authz.Memory
	churned := &authz.Memory{}
	for _, bc := range []struct {
		name   string
		decide func(i int) authz.Decision
	}{
		{"warm", func(i int) authz.Decision { return warm.Decide(s, c, authz.ServerName{}, requests[i%clients]) }},
		{"new-client", func(i int) authz.Decision {
			if i%scalePods == 0 {
				cold = &authz.Memory{}
			}
			return cold.Decide(s, c, authz.ServerName{}, requests[i%scalePods])
		}},
		{"new-snapshot", func(i int) authz.Decision {
			return churned.Decide(changing[i%2], c, authz.ServerName{}, requests[i%scalePods])
		}},
		{"start", func(i int) authz.Decision {
			return (&authz.Memory{}).Decide(s, c, authz.ServerName{}, requests[i%scalePods])
		}},
		{"no-memory", func(i int) authz.Decision { return authz.Decide(s, c, authz.ServerName{}, requests[i%scalePods]) }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			i, before := 0, processorTime(b)
			for b.Loop() {
				if d := bc.decide(i); d.Verdict != decision.Deny || d.Reason != authz.ReasonEndOfTier {
					b.Fatalf("got %+v", d)
				}
				i++
			}
			// The machine may be shared: the ratio is of processor time, of all threads, which is more than one thread's time.
			used := float64(processorTime(b)-before) / float64(i)
			b.ReportMetric(used, "cpu-ns/op")
			b.ReportMetric(calicoPublished/used, "x-calico-published")
		})
	}
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// What a check allocates does not depend on policies that are not about its two pods. The least of several checks
// is compared: under the race detector a sync.Pool forgets at random, and the runtime allocates beside us.
func TestAllocationsDoNotGrowWithPolicies(t *testing.T) {
	c := config(t, authz.ConfigOptions{})
	var want float64
	for i, n := range []struct{ policies, selecting int }{{1, 1}, {100, 1}, {1000, 1}} {
		s, r, memory := scale(t, 10, n.policies, n.selecting), asking(1), &authz.Memory{}
		memory.Decide(s, c, authz.ServerName{}, r)
		got := math.Inf(1)
		for range 50 {
			got = min(got, testing.AllocsPerRun(1, func() { memory.Decide(s, c, authz.ServerName{}, r) }))
		}
		if i == 0 {
			want = got
		}
		if got != want {
			t.Errorf("%d policies, %d on the server: %v allocations, with one policy %v", n.policies, n.selecting, got, want)
		}
	}
	t.Logf("%v allocations", want)
}

func TestMemoryIsBounded(t *testing.T) {
	const boundedPods = authz.MaxPairs/2 + 1

	s, c := scale(t, boundedPods, 2, 2), config(t, authz.ConfigOptions{})
	memory := &authz.Memory{}
	for i := range 3 * authz.MaxPairs {
		r := asking(i % boundedPods)
		r.Destination.Protocol = []string{"TCP", "UDP", "SCTP"}[i/boundedPods%3] // more pairs than pods
		memory.Decide(s, c, authz.ServerName{}, r)
	}
	if pairs, rules := memory.Size(); pairs > 2*authz.MaxPairs || rules > 2*authz.MaxRules || pairs < authz.MaxPairs {
		t.Errorf("%d pairs with %d rules are held", pairs, rules)
	}
	memory.Decide(scale(t, 10, 1, 1), c, authz.ServerName{}, asking(0))
	if pairs, _ := memory.Size(); pairs != 1 {
		t.Errorf("%d pairs are held of a new snapshot, want 1", pairs)
	}
}
