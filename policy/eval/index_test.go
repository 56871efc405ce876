package eval_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
	"github.com/saguard/saguard/policy/policytest"
)

// mustNarrowAlike compares what an index says of a flow with Between, rule by rule.
func mustNarrowAlike(t *testing.T, x *eval.Index, s *policy.Snapshot, f eval.Flow, d policy.Direction, keep func(*policy.Policy, *policy.Rule) bool) *policy.Snapshot {
	t.Helper()
	w := f.Destination.Workload
	if d == policy.Egress {
		w = f.Source.Workload
	}
	want, got := eval.Between(s, f, d, keep), x.Selecting(s, w).Between(f, keep)
	if len(got.Tiers) != len(want.Tiers) || !slices.Equal(got.NetworkSets, want.NetworkSets) {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	for i := range want.Tiers {
		if !reflect.DeepEqual(got.Tiers[i].Tier, want.Tiers[i].Tier) || len(got.Tiers[i].Policies) != len(want.Tiers[i].Policies) {
			t.Fatalf("%s\nwant\n%s", got, want)
		}
		for j, p := range want.Tiers[i].Policies {
			q := got.Tiers[i].Policies[j]
			if q.ID != p.ID || q.AppliesIngress != p.AppliesIngress || q.AppliesEgress != p.AppliesEgress || !reflect.DeepEqual(q.Rules(d), p.Rules(d)) {
				t.Fatalf("%s: %+v\nwant %+v", p.ID, q, p)
			}
		}
	}
	return got
}

// One index for all scenarios, both semantics and every fourth flow says what Between says.
func TestIndexNarrowsAsBetweenDoes(t *testing.T) {
	indexes := map[policy.Direction]*eval.Index{policy.Ingress: eval.NewIndex(policy.Ingress), policy.Egress: eval.NewIndex(policy.Egress)}
	compared, smaller := 0, 0
	for _, sc := range corpus(t) {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			s := snapshot(t, sem, sc.raws())
			for i, line := range sc.Flows {
				if i%4 != 0 {
					continue
				}
				f := line.resolve(t, s)
				for d, x := range indexes {
					if d == policy.Ingress && f.Destination.Workload == nil || d == policy.Egress && f.Source.Workload == nil {
						continue
					}
					compared++
					if got := mustNarrowAlike(t, x, s, f, d, nil); rules(got, d) < rules(s, d) {
						smaller++
					}
					if compared%2 == 0 {
						mustNarrowAlike(t, x, s, f, d, func(p *policy.Policy, r *policy.Rule) bool { return r.Index%2 == 0 || p.ID.Namespace == "" })
					}
				}
			}
		}
	}
	if compared == 0 || smaller == 0 {
		t.Fatalf("%d compared, %d smaller: the test proves nothing", compared, smaller)
	}
	t.Logf("%d compared, %d smaller", compared, smaller)
}

// Random worlds change step by step under one index, which has to forget what is gone and nothing else: every decision is
// the evaluator's, and membership of every set what Contains says.
func TestIndexFollowsRandomWorlds(t *testing.T) {
	const (
		worlds, steps, flows = 12, 120, 12
	)
	allowed, denied, members := 0, 0, 0
	for seed := range uint64(worlds) {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			r := policytest.New(seed, "a", "b")
			x := eval.NewIndex(policy.Ingress)
			held := map[policy.Ref]policy.Resource{}
			for step := range steps {
				res, _ := policy.Parse(policy.Object{Value: r.Object()}, sem)
				if res == nil {
					continue
				}
				held[res.Ref()] = res
				if r.In(5) {
					delete(held, res.Ref())
				}
				if step < steps/3 || step%4 != 0 {
					continue
				}
				var all []policy.Resource
				for _, res := range held {
					all = append(all, res)
				}
				s := policy.NewSnapshot(uint64(step), sem, all)
				for range flows {
					source, destination := r.Ends()
					pods := s.At(destination)
					if len(pods) == 0 {
						continue
					}
					f := eval.Flow{
						Source:      eval.End{Addr: source, Port: decision.Known(uint16(40000))},
						Destination: eval.End{Addr: destination, Workload: pods[0]},
						Protocol:    policytest.Pick(r, policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP),
						ICMP:        decision.Absent[policy.ICMP](),
					}
					narrow := mustNarrowAlike(t, x, s, f, policy.Ingress, nil)
					for _, port := range []uint16{53, 80, 443, 8080, 9000} {
						f.Destination.Port = decision.Known(port)
						want := untraced(eval.Judge(s, f, policy.Ingress, nil))
						for name, got := range map[string]eval.Decision{
							"narrowed": eval.JudgeUntraced(narrow, f, policy.Ingress, nil), "untraced": eval.JudgeUntraced(s, f, policy.Ingress, nil),
						} {
							if !reflect.DeepEqual(got, want) {
								t.Fatalf("seed %d step %d, %s to %s: %s %+v, want %+v", seed, step, source, destination, name, got, want)
							}
						}
						if want.Verdict == decision.Allow {
							allowed++
						} else {
							denied++
						}
					}
					for _, a := range []netip.Addr{source, destination} {
						members += mustBelongAlike(t, s, a)
					}
				}
			}
		}
	}
	if allowed < 1000 || denied < 1000 || members < 1000 {
		t.Fatalf("%d allowed, %d denied, %d memberships: the test proves little", allowed, denied, members)
	}
	t.Logf("%d allowed, %d denied, %d memberships", allowed, denied, members)
}

// mustBelongAlike compares Membership with Contains for the sets of all rules, and counts where the address is in.
func mustBelongAlike(t *testing.T, s *policy.Snapshot, a netip.Addr) int {
	t.Helper()
	m, in := s.Membership(a), 0
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
				for _, r := range p.Rules(d) {
					for _, set := range []*policy.Set{r.Source.Set, r.Source.NotSet, r.Destination.Set, r.Destination.NotSet} {
						if set == nil {
							continue
						}
						for _, reading := range []policy.Reading{policy.ReadingCertain, policy.ReadingPossible, policy.ReadingCalico} {
							set := &policy.Set{Selector: set.Selector, Accounts: set.Accounts, Reading: reading}
							want := s.Contains(set, a)
							if got := m.In(set); got != want {
								t.Fatalf("%s in %+v: %v, want %v", a, set.Key(), got, want)
							}
							if want {
								in++
							}
						}
					}
				}
			}
		}
	}
	return in
}

// An index is asked by many at once while snapshots change, and holds no more than what the last one has, twice.
func TestIndexIsSharedAndForgets(t *testing.T) {
	x := eval.NewIndex(policy.Ingress)
	for round := range 40 {
		docs := []string{
			`{apiVersion: v1, kind: Namespace, metadata: {name: ns}}`,
			`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns}, spec: {nodeName: a, serviceAccountName: s}, status: {podIPs: [{ip: 10.0.0.1}]}}`,
		}
		for i := range 20 {
			docs = append(docs, fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p%d, namespace: ns}, spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {a: "%d-%d"}}}]}]}}`, i, round, i))
		}
		s := world(t, policy.Strict, docs...)
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				w := s.Workload("ns", "p")
				f := eval.Flow{Source: eval.End{Addr: netip.MustParseAddr("10.0.0.2")}, Destination: eval.End{Addr: w.Addresses[0], Workload: w}, Protocol: policy.ProtocolTCP}
				if got, want := x.Selecting(s, w).Between(f, nil), eval.Between(s, f, policy.Ingress, nil); got.String() != want.String() {
					t.Errorf("%s\nwant\n%s", got, want)
				}
			})
		}
		wait.Wait()
		if policies, sets := x.Size(); policies > 2*20+eval.Slack+20 || sets > policies {
			t.Fatalf("round %d: %d policies and %d sets are held", round, policies, sets)
		}
	}
}
