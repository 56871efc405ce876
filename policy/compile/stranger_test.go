package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// A ruleset with the prefixes of the node's own pods judges as one without, but for the addresses in them that no pod has: these
// send what they like and are not reached. It does not matter how the ruleset came about.
func TestStrangersAreNotReached(t *testing.T) {
	strangers := 0
	for seed := range worlds(600) {
		r, sem := newRandom(7_000_000+uint64(seed)), semantics(seed)
		f := follow("local", sem)
		f.evolve(r, func() {
			f.cidrs, f.own = r.podCIDRs(), r.podCIDRs()
			f.c.SetPodCIDRs(f.cidrs, f.own...)
		})
		what := fmt.Sprintf("seed %d, %v, own %v", seed, f.cidrs, f.own)
		s := f.mustEqualCompiled(t, what)
		without, _ := compile.Compile(s, f.node, f.cidrs...)
		for range 60 {
			flow := r.flow()
			gotEgress, gotIngress := f.shadow.Eval(flow)
			wantEgress, wantIngress := without.Eval(flow)
			for _, end := range []struct {
				direction ruleset.Direction
				own       netip.Addr
				got, want ruleset.Decision
			}{{ruleset.Egress, flow.Source, gotEgress, wantEgress}, {ruleset.Ingress, flow.Destination, gotIngress, wantIngress}} {
				want := end.want
				if len(s.At(end.own)) == 0 && slices.ContainsFunc(f.own, func(p netip.Prefix) bool { return p.Contains(end.own) && !p.IsSingleIP() }) {
					strangers++
					want = ruleset.Decision{
						Applies: true, Allow: end.direction == ruleset.Egress,
						Rule: ruleset.Rule{Direction: end.direction, Index: ruleset.EndOfTier, Stranger: true},
					}
				}
				if end.got.Applies != want.Applies || end.got.Allow != want.Allow || end.got.Rule != want.Rule {
					t.Fatalf("%s: %s of %+v: got %+v, want %+v\n%s\n%s", what, end.direction, flow, end.got, want, s, f.shadow)
				}
			}
		}
	}
	if strangers < 500 && !testing.Short() {
		t.Errorf("only %d strangers", strangers)
	}
}

// A pod is a stranger until the node hears of it, and again when it is gone, also where a rule names its very address.
func TestAPodIsAStrangerUntilItIsKnown(t *testing.T) {
	f := follow("local", policy.Strict)
	f.own = []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}
	f.c.SetPodCIDRs(f.cidrs, f.own...)
	for _, ch := range pods(t, `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: open}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: prod}
spec: {types: [Egress], egress: [{action: Allow, destination: {nets: [10.0.1.7/32]}}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: prod}, spec: {nodeName: local}, status: {phase: Running, podIPs: [{ip: 10.0.1.2}]}}
`) {
		f.apply(ch)
	}
	born := `{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: open}, spec: {nodeName: NODE}, status: {phase: Running, podIPs: [{ip: 10.0.1.7}, {ip: "fd00:1::7"}]}}`
	for _, step := range []struct {
		what  string
		do    func()
		known bool
	}{
		{"nobody has the address", func() {}, false},
		{"a pod of the node has it", func() { f.apply(pods(t, strings.ReplaceAll(born, "NODE", "local"))[0]) }, true},
		{"it is gone", func() { f.apply(gone(policy.KindPod, "open", "new")) }, false},
		{"a pod of another node has it", func() { f.apply(pods(t, strings.ReplaceAll(born, "NODE", "remote"))[0]) }, true},
		{"that is gone, too", func() { f.apply(gone(policy.KindPod, "open", "new")) }, false},
		{"the node has other prefixes", func() { f.own = []netip.Prefix{netip.MustParsePrefix("10.0.2.0/24")} }, true},
		{"it has none", func() { f.own = nil }, true},
	} {
		step.do()
		f.c.SetPodCIDRs(f.cidrs, f.own...)
		f.flush()
		for flow, want := range map[ruleset.Flow]bool{
			flowTo("192.0.2.1", "10.0.1.7"):    step.known,
			flowTo("10.0.1.2", "10.0.1.7"):     step.known,
			flowTo("2001:db8::1", "fd00:1::7"): step.known,
			flowTo("10.0.1.7", "192.0.2.1"):    true,
			flowTo("192.0.2.1", "10.0.3.1"):    true,
		} {
			if got := allows(f.shadow, flow); got != want {
				t.Errorf("%s: %+v passes is %v, want %v\n%s", step.what, flow, got, want, f.shadow)
			}
		}
		f.mustEqualCompiled(t, step.what)
	}
}
