package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
	"github.com/saguard/saguard/policy/eval"
)

func (r random) podCIDRs() []netip.Prefix {
	out := some(r, 3, "10.0.0.0/24", "10.0.0.1/30", "10.0.0.0/8", "10.0.1.5/32", "fd00::/64", "fd00:1::/48", "0.0.0.0/0")
	cidrs := make([]netip.Prefix, len(out))
	for i, s := range out {
		cidrs[i] = netip.MustParsePrefix(s)
	}
	return cidrs
}

// A ruleset with pod CIDRs judges as one without, but for the flows between an endpoint that a policy applies to and an
// address of the pods that no pod has, which it denies.
func TestAddressesThatNoPodHasAreDeniedToSelectedEndpoints(t *testing.T) {
	denials := 0
	for seed := range worlds(600) {
		r, sem := newRandom(5_000_000+uint64(seed)), semantics(seed)
		f := follow("local", sem)
		f.evolve(r, func() {
			f.cidrs = r.podCIDRs()
			f.c.SetPodCIDRs(f.cidrs)
		})
		what := fmt.Sprintf("seed %d, %v", seed, f.cidrs)
		s := f.mustEqualCompiled(t, what)
		without, _ := compile.Compile(s, f.node)
		for range 60 {
			flow := r.flow()
			gotEgress, gotIngress := f.shadow.Eval(flow)
			wantEgress, wantIngress := without.Eval(flow)
			for _, end := range []struct {
				direction  policy.Direction
				own, other netip.Addr
				got, want  ruleset.Decision
			}{
				{policy.Egress, flow.Source, flow.Destination, gotEgress, wantEgress},
				{policy.Ingress, flow.Destination, flow.Source, gotIngress, wantIngress},
			} {
				vacant := len(s.At(end.other)) == 0 && slices.ContainsFunc(f.cidrs, func(p netip.Prefix) bool { return p.Contains(end.other) })
				if vacant && f.policyApplies(s, flow, end.direction, end.own) {
					denials++
					if !end.got.Applies || end.got.Allow || !end.got.Rule.Vacant || end.got.Rule.Direction.String() != end.direction.String() {
						t.Fatalf("%s: %s of %+v: got %+v, want a denial\n%s\n%s", what, end.direction, flow, end.got, s, f.shadow)
					}
					continue
				}
				if end.got.Applies != end.want.Applies || end.got.Allow != end.want.Allow || end.got.Rule != end.want.Rule {
					t.Fatalf("%s: %s of %+v: got %+v, want %+v\n%s\n%s", what, end.direction, flow, end.got, end.want, s, f.shadow)
				}
			}
		}
	}
	if denials < 500 && !testing.Short() {
		t.Errorf("only %d denials", denials)
	}
}

func (f *follower) policyApplies(s *policy.Snapshot, flow ruleset.Flow, d policy.Direction, own netip.Addr) bool {
	for _, w := range s.At(own) {
		if w.Node == f.node && slices.ContainsFunc(eval.Judge(s, evalFlow(flow, d, w), d, nil).Trace, func(st eval.Step) bool { return st.Tier != "" }) {
			return true
		}
	}
	return false
}

// A pod that was just born is nobody until it is known, whatever net its address lies in; outside of the pods' prefixes
// nothing changes; and taking the prefixes back opens what the policies open.
func TestPodCIDRsComeAndGo(t *testing.T) {
	f := follow("local", policy.Strict)
	for _, ch := range pods(t, `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: prod}, spec: {nodeName: local}, status: {phase: Running, podIPs: [{ip: 10.0.0.9}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: free, namespace: open}, spec: {nodeName: local}, status: {phase: Running, podIPs: [{ip: 10.0.0.8}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: open}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: prod}
spec: {types: [Ingress], ingress: [{action: Allow, source: {nets: [10.0.0.0/16, 192.0.2.0/24]}}]}
`) {
		f.apply(ch)
	}
	newborn := `{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: prod}, spec: {nodeName: remote}, status: {phase: Running, podIPs: [{ip: 10.0.0.77}]}}`
	for _, step := range []struct {
		what  string
		do    func()
		known bool
	}{
		{"no prefixes", func() {}, true},
		{"prefixes", func() { f.cidrs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, false},
		{"the pod is known", func() { f.apply(pods(t, newborn)[0]) }, true},
		{"the pod is gone", func() { f.apply(gone(policy.KindPod, "prod", "new")) }, false},
		{"prefixes of others", func() { f.cidrs = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")} }, true},
		{"a prefix that is not valid", func() { f.cidrs = []netip.Prefix{{}} }, true},
	} {
		step.do()
		f.c.SetPodCIDRs(f.cidrs)
		f.flush()
		for flow, want := range map[ruleset.Flow]bool{
			flowTo("10.0.0.77", "10.0.0.9"):    step.known,
			flowTo("192.0.2.1", "10.0.0.9"):    true,
			flowTo("10.0.0.77", "10.0.0.8"):    true, // no policy applies
			flowTo("198.51.100.1", "10.0.0.9"): false,
		} {
			if got := allows(f.shadow, flow); got != want {
				t.Errorf("%s: %+v gets in is %v, want %v\n%s", step.what, flow, got, want, f.shadow)
			}
		}
		f.mustEqualCompiled(t, step.what)
	}
}
