package eval_test

import (
	"fmt"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// by says what decided, in one line.
func by(d eval.Decision) string {
	if !d.Applies {
		return ""
	}
	name := ""
	if d.Policy != (policy.Ref{}) {
		name = d.Policy.Path()
	}
	return fmt.Sprintf("%s %s/%s/%d", d.Verdict, d.Tier, name, d.Rule)
}

func TestOrderOfEvaluation(t *testing.T) {
	tier := func(name, spec string) string {
		return fmt.Sprintf(`{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: %q}, spec: %s}`, name, spec)
	}
	all := func(name, tier, order, action string) string {
		return gnp(name, fmt.Sprintf(`{tier: %s, order: %s, types: [Ingress], ingress: [{action: %s}]}`, tier, order, action))
	}
	cases := map[string]struct {
		docs []string
		want string
	}{
		"no policy: the profile allows":           {want: "Allow //0"},
		"a policy of the other direction only":    {docs: []string{gnp("p", `{types: [Egress]}`)}, want: "Allow //0"},
		"a policy that does not select the pod":   {docs: []string{gnp("p", `{selector: app == 'web'}`)}, want: "Allow //0"},
		"no rule: the end of the tier denies":     {docs: []string{gnp("p", `{}`)}, want: "Deny default/p/-1"},
		"the end of a tier names the last policy": {docs: []string{gnp("b", `{}`), gnp("a", `{}`)}, want: "Deny default/b/-1"},
		"an explicit empty list of egress rules counts as none": {
			docs: []string{gnp("p", `{egress: []}`)}, want: "Deny default/p/-1",
		},
		"only egress rules: egress only": {docs: []string{gnp("p", `{egress: [{action: Deny}]}`)}, want: "Allow //0"},
		"lower order first": {
			docs: []string{all("a", "default", "2", "Allow"), all("b", "default", "1.5", "Deny")}, want: "Deny default/b/0",
		},
		"negative order before none": {
			docs: []string{all("a", "default", "null", "Allow"), all("b", "default", "-1", "Deny")}, want: "Deny default/b/0",
		},
		"no order is last": {
			docs: []string{all("a", "default", "null", "Allow"), all("b", "default", "1e300", "Deny")}, want: "Deny default/b/0",
		},
		"equal order by name, and a-b before a": {
			docs: []string{all("a", "default", "1", "Allow"), all("a-b", "default", "1", "Deny")}, want: "Deny default/a-b/0",
		},
		"a dot before a slash too": {
			docs: []string{all("a", "default", "1", "Allow"), all("a.b", "default", "1", "Deny")}, want: "Deny default/a.b/0",
		},
		"equal names: global before namespaced": {
			docs: []string{
				`{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: a, namespace: prod}, spec: {order: 1, ingress: [{action: Deny}]}}`,
				all("a", "default", "1", "Allow"),
			}, want: "Allow default/a/0",
		},
		"equal name and namespace: by kind": {
			docs: []string{
				knp("a", `{podSelector: {}, ingress: [{}]}`),
				`{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: a, namespace: prod}, spec: {order: 1000, ingress: [{action: Deny}]}}`,
			}, want: "Allow default/prod/knp.default.a/0",
		},
		"a Kubernetes policy has order 1000": {
			docs: []string{knp("a", `{podSelector: {}, ingress: [{}]}`), all("b", "default", "999", "Deny")}, want: "Deny default/b/0",
		},
		"rules in order, and Log goes on": {
			docs: []string{np("p", `[{action: Log}, {action: Deny, protocol: UDP}, {action: Allow}, {action: Deny}]`)}, want: "Allow default/prod/p/2",
		},
		"Pass leaves the tier, later policies of it included": {
			docs: []string{all("a", "default", "1", "Pass"), all("b", "default", "2", "Deny")}, want: "Allow //0",
		},
		"tiers by order, none last": {
			docs: []string{tier("x", `{}`), all("x.p", "x", "1", "Deny"), all("p", "default", "1", "Allow")}, want: "Allow default/p/0",
		},
		"a tier before the default one": {
			docs: []string{tier("x", `{order: 999999}`), all("x.p", "x", "1", "Deny"), all("p", "default", "1", "Allow")}, want: "Deny x/x.p/0",
		},
		"a tier after the default one": {
			docs: []string{tier("x", `{order: 1000001}`), all("x.p", "x", "1", "Deny"), all("p", "default", "1", "Allow")}, want: "Allow default/p/0",
		},
		"tiers of equal order by name": {
			docs: []string{tier("yy", `{order: 1}`), tier("x", `{order: 1}`), all("yy.p", "yy", "1", "Deny"), all("x.p", "x", "1", "Allow")},
			want: "Allow x/x.p/0",
		},
		"a tier that passes at its end": {
			docs: []string{tier("x", `{order: 1, defaultAction: Pass}`), gnp("x.p", `{tier: x}`)}, want: "Allow //0",
		},
		"a tier that denies at its end": {
			docs: []string{tier("x", `{order: 1}`), gnp("x.p", `{tier: x}`)}, want: "Deny x/x.p/-1",
		},
		"a tier without policies for the pod is skipped": {
			docs: []string{tier("x", `{order: 1}`), gnp("x.p", `{tier: x, selector: app == 'web'}`)}, want: "Allow //0",
		},
		"an unknown default action denies": {
			docs: []string{tier("x", `{order: 1, defaultAction: Allow}`), gnp("x.p", `{tier: x}`)}, want: "Deny x/x.p/-1",
		},
		"a tier that does not exist is last, and denies": {
			docs: []string{tier("x", `{}`), all("gone.p", "gone", "1", "Deny"), all("x.p", "x", "1", "Allow")}, want: "Allow x/x.p/0",
		},
		"a tier that does not exist is asked": {
			docs: []string{tier("x", `{}`), all("gone.p", "gone", "1", "Deny"), all("x.p", "x", "1", "Pass")}, want: "Deny gone/gone.p/0",
		},
		"the end of a tier that does not exist": {
			docs: []string{gnp("gone.p", `{tier: gone}`)}, want: "Deny gone/gone.p/-1",
		},
		"staged policies have no effect": {
			docs: []string{
				`{apiVersion: projectcalico.org/v3, kind: StagedGlobalNetworkPolicy, metadata: {name: p}, spec: {stagedAction: Set, ingress: [{action: Deny}]}}`,
				`{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: p, namespace: prod}, spec: {}}`,
			}, want: "Allow //0",
		},
		"doNotTrack and preDNAT policies are not for pods": {
			docs: []string{
				gnp("a", `{doNotTrack: true, applyOnForward: true, ingress: [{action: Deny}]}`),
				gnp("b", `{preDNAT: true, applyOnForward: true, ingress: [{action: Deny}]}`),
			}, want: "Allow //0",
		},
		"crd.projectcalico.org/v1 is the same policy under a longer name": {
			docs: []string{
				`{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {name: default.z}, spec: {order: 1, ingress: [{action: Deny}]}}`,
				all("y", "default", "1", "Allow"),
			}, want: "Allow default/y/0",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				r := verdict(t, sem, tcp("prod/web", "prod/db", 80), tc.docs...)
				if got := by(r.Ingress); got != tc.want {
					t.Errorf("%s: got %s, want %s\n%+v", sem, got, tc.want, r.Ingress.Trace)
				}
			}
		})
	}
}

func TestBothEndsHaveToAllow(t *testing.T) {
	deny := func(types string) string {
		return gnp("p", `{types: [`+types+`], selector: app == 'web' || app == 'db'}`)
	}
	cases := map[string]struct {
		f                        flow
		types                    string
		egress, ingress, verdict string
	}{
		"egress denies":             {f: tcp("prod/web", "prod/api", 1), types: "Egress", egress: "Deny", ingress: "Allow", verdict: "Deny"},
		"ingress denies":            {f: tcp("prod/api", "prod/web", 1), types: "Ingress", egress: "Allow", ingress: "Deny", verdict: "Deny"},
		"both deny":                 {f: tcp("prod/web", "prod/db", 1), types: "Ingress, Egress", egress: "Deny", ingress: "Deny", verdict: "Deny"},
		"neither denies":            {f: tcp("prod/api", "dev/api", 1), types: "Ingress, Egress", egress: "Allow", ingress: "Allow", verdict: "Allow"},
		"from outside":              {f: tcp("192.0.2.1", "prod/web", 1), types: "Ingress", ingress: "Deny", verdict: "Deny"},
		"to outside":                {f: tcp("prod/web", "192.0.2.1", 1), types: "Egress", egress: "Deny", verdict: "Deny"},
		"from outside to outside":   {f: tcp("192.0.2.1", "192.0.2.2", 1), types: "Egress", verdict: "Allow"},
		"an address is not its pod": {f: tcp("10.0.0.1", "192.0.2.2", 1), types: "Egress", verdict: "Allow"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := verdict(t, policy.Strict, tc.f, deny(tc.types))
			if said(r.Egress) != tc.egress || said(r.Ingress) != tc.ingress || r.Verdict().String() != tc.verdict {
				t.Errorf("got %q, %q, %s, want %q, %q, %s", said(r.Egress), said(r.Ingress), r.Verdict(), tc.egress, tc.ingress, tc.verdict)
			}
		})
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	if (eval.Result{Egress: eval.Decision{Applies: true}}).Verdict() != decision.Deny {
		t.Error("a decision that nobody made does not deny")
	}
}

func TestConditionOfTheCallerIsAskedAfterTheRule(t *testing.T) {
	s := world(t, policy.Strict, append(base(), np("p", `[{action: Allow, protocol: UDP}, {action: Allow, http: {methods: [GET]}}, {action: Deny}]`))...)
	f := tcp("prod/web", "prod/db", 80).resolve(t, s)
	var asked []int
	d := eval.Judge(s, f, policy.Ingress, func(d policy.Direction, r *policy.Rule) bool {
		asked = append(asked, r.Index)
		return r.HTTP == nil || r.HTTP.Methods[0] != "GET"
	})
	if by(d) != "Deny default/prod/p/2" || fmt.Sprint(asked) != "[1 2]" {
		t.Errorf("got %s after asking for rules %v, want rule 2 after rules 1 and 2", by(d), asked)
	}
}
