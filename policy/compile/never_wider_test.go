package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

const guarded = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {env: prod}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: web}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: thief, namespace: prod}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: prod}, spec: {nodeName: remote, serviceAccountName: web}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: prod}, spec: {nodeName: local, serviceAccountName: db}, status: {phase: Running, podIPs: [{ip: 10.0.0.9}, {ip: "fd00::9"}]}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: guard}, spec: {order: 1, defaultAction: Deny}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: prod}
spec:
  tier: guard
  types: [Ingress]
  ingress: [{action: Allow, source: {namespaceSelector: env == 'prod', serviceAccounts: {selector: role == 'web'}}}]
`

func flowTo(from, to string) ruleset.Flow {
	return ruleset.Flow{Source: netip.MustParseAddr(from), Destination: netip.MustParseAddr(to), Protocol: 6, Port: 5432, SourcePort: 40000}
}

func allows(r *ruleset.Ruleset, f ruleset.Flow) bool {
	_, ingress := r.Eval(f)
	return !ingress.Applies || ingress.Allow
}

func pods(t testing.TB, docs string) []change {
	t.Helper()
	var out []change
	resources, _ := parseWorld(t, docs, policy.Strict)
	for _, r := range resources {
		out = append(out, change{r.Ref(), r})
	}
	return out
}

func gone(kind, namespace, name string) change {
	return change{ref: policy.Ref{Kind: kind, Namespace: namespace, Name: name}}
}

// permutations calls f with every order of in.
func permutations(in []change, f func([]change)) {
	if len(in) == 0 {
		f(nil)
	}
	for i := range in {
		rest := append(slices.Clone(in[:i]), in[i+1:]...)
		permutations(rest, func(tail []change) { f(append([]change{in[i]}, tail...)) })
	}
}

// Whatever the order of events, and whether they come in one flush or in many, nobody gets in who may not, at no step.
func TestNoOrderOfEventsIsWider(t *testing.T) {
	thief := `{apiVersion: v1, kind: Pod, metadata: {name: thief, namespace: prod}, spec: {nodeName: remote, serviceAccountName: thief}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}`
	strangers := []ruleset.Flow{flowTo("10.0.0.2", "10.0.0.9"), flowTo("192.0.2.1", "10.0.0.9"), flowTo("fd00::2", "fd00::9")}
	friends := []ruleset.Flow{flowTo("10.0.0.1", "10.0.0.9"), flowTo("fd00::1", "fd00::9")}
	cases := map[string]struct {
		events []change
		// claimed is an event after which the friends' address is not theirs alone.
		claimed policy.Ref
		end     bool // whether friends get in when all has happened
	}{
		"the account is deleted":                 {events: []change{gone(policy.KindServiceAccount, "prod", "web")}},
		"the namespace is deleted":               {events: []change{gone(policy.KindNamespace, "", "prod")}},
		"the tier of the policy is deleted":      {events: []change{gone(policy.KindTier, "", "guard")}, end: true},
		"another pod takes the address over":     {events: append(pods(t, thief), gone(policy.KindPod, "prod", "web")), claimed: policy.Ref{Kind: policy.KindPod, Namespace: "prod", Name: "thief"}},
		"another pod claims the address":         {events: pods(t, thief), claimed: policy.Ref{Kind: policy.KindPod, Namespace: "prod", Name: "thief"}},
		"everything around the pod goes":         {events: []change{gone(policy.KindServiceAccount, "prod", "web"), gone(policy.KindNamespace, "", "prod"), gone(policy.KindTier, "", "guard"), gone(policy.KindPod, "prod", "web")}},
		"the account is made again without role": {events: []change{gone(policy.KindServiceAccount, "prod", "web"), {policy.Ref{Kind: policy.KindServiceAccount, Namespace: "prod", Name: "thief"}, &policy.ServiceAccount{Namespace: "prod", Name: "thief"}}}},
		"the pod finishes":                       {events: []change{gone(policy.KindPod, "prod", "web")}},
		"a label is taken off, a pod added":      {events: append(pods(t, thief), change{policy.Ref{Kind: policy.KindServiceAccount, Namespace: "prod", Name: "web"}, &policy.ServiceAccount{Namespace: "prod", Name: "web"}}), claimed: policy.Ref{Kind: policy.KindPod, Namespace: "prod", Name: "thief"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			permutations(tc.events, func(order []change) {
				for _, size := range []int{1, len(order)} {
					f := follow("local", policy.Strict)
					for _, ch := range pods(t, guarded) {
						f.apply(ch)
					}
					f.flush()
					if !allows(f.shadow, friends[0]) || !allows(f.shadow, friends[1]) || allows(f.shadow, strangers[0]) {
						t.Fatalf("before: %s", f.shadow)
					}
					for _, step := range slices.Collect(slices.Chunk(order, size)) {
						for _, ch := range step {
							f.apply(ch)
						}
						f.flush()
						what := fmt.Sprint(name, ", after ", step)
						for _, s := range strangers {
							if allows(f.shadow, s) {
								t.Errorf("%s: %+v gets in\n%s", what, s, f.shadow)
							}
						}
						if _, claimed := f.state[tc.claimed]; claimed && allows(f.shadow, friends[0]) {
							t.Errorf("%s: who took the address over gets in\n%s", what, f.shadow)
						}
						f.mustEqualCompiled(t, what)
					}
					for _, friend := range friends {
						if allows(f.shadow, friend) != tc.end {
							t.Errorf("%s at the end: %+v gets in is %v, want %v\n%s", name, friend, !tc.end, tc.end, f.shadow)
						}
					}
				}
			})
		})
	}
}

// A rule may also ask who its own end is: whether the rule holds for a pod of the node then depends on network sets and on
// the other pods that claim its address.
func TestConditionsOnTheOwnEndFollowNetworkSetsAndOtherPods(t *testing.T) {
	world := `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: prod, labels: {app: db}}, spec: {nodeName: local, containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}, status: {phase: Running, podIPs: [{ip: 10.0.0.9}]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: p}, spec: {selector: app == 'db', types: [Ingress], ingress: [{action: Log, source: {selector: has(zone)}}, {action: %s, protocol: TCP, destination: %s}]}}` // has(zone): a network set of any zone is asked for
	set := func(label string) string {
		return `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: s, labels: {zone: ` + label + `}}, spec: {nets: [10.0.0.0/24]}}`
	}
	other := `{apiVersion: v1, kind: Pod, metadata: {name: other, namespace: prod, labels: {zone: out}}, spec: {nodeName: remote}, status: {phase: Running, podIPs: [{ip: 10.0.0.9}]}}`
	type step struct {
		docs string
		want bool
	}
	cases := map[string]struct {
		destination string
		steps       []step
	}{
		"a network set that gets the label and loses it": {destination: "{selector: zone == 'in'}", steps: []step{{"", false}, {set("in"), true}, {set("out"), false}, {set("in"), true}}},
		"a network set that must not hold the pod":       {destination: "{notSelector: zone == 'in'}", steps: []step{{"", true}, {set("out"), true}, {set("in"), false}, {set("out"), true}}},
		"a named port while the address is shared":       {destination: "{ports: [sql]}", steps: []step{{"", true}, {other, false}}},
		"a label while the address is shared":            {destination: "{selector: app == 'db'}", steps: []step{{"", true}, {other, false}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := follow("local", policy.Strict)
			for _, ch := range pods(t, fmt.Sprintf(world, "Allow", tc.destination)) {
				f.apply(ch)
			}
			f.flush()
			for i, s := range tc.steps {
				if s.docs != "" {
					for _, ch := range pods(t, s.docs) {
						f.apply(ch)
					}
					f.flush()
				}
				if got := allows(f.shadow, flowTo("192.0.2.1", "10.0.0.9")); got != s.want {
					t.Errorf("step %d: got in is %v, want %v\n%s", i, got, s.want, f.shadow)
				}
				f.mustEqualCompiled(t, fmt.Sprintf("%s, step %d", name, i))
			}
		})
	}
}
