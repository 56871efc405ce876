package state_test

import (
	"context"
	"reflect"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
)

func fromPolicies(name string) v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: v1alpha1.ModeEnforce, FromPolicies: true}},
	}
}

func mode(c *state.Cluster, key string) v1alpha1.Mode {
	return c.Guards().ForNamespace("prod", nil, identity.Subject{User: "alice"}).LabelMode(key)
}

// reading is a policy that reads keys in every namespace.
func reading(keys ...string) state.Policy {
	return state.Policy{Keys: guard.PolicyKeys{"": keys}}
}

// Whatever the order in which guards and policies come and go, what is guarded depends on what there is.
func TestGuardedKeysFollowGuardsAndPolicies(t *testing.T) {
	c := state.New(state.Live{}, nil)
	p := state.PolicyID{Resource: "NetworkPolicy.projectcalico.org", Namespace: "prod", Name: "p"}
	other := state.PolicyID{Resource: "GlobalNetworkPolicy.projectcalico.org", Name: "p"}
	expect := func(when string, want map[string]v1alpha1.Mode) {
		t.Helper()
		for key, m := range want {
			if got := mode(c, key); got != m {
				t.Errorf("%s: %s has mode %s, want %s", when, key, got, m)
			}
		}
	}
	c.SetPolicy(p, reading("role"))
	expect("a policy without a guard", map[string]v1alpha1.Mode{"role": v1alpha1.ModeOff})
	c.SetGuard(fromPolicies("g"))
	expect("with a guard", map[string]v1alpha1.Mode{"role": v1alpha1.ModeEnforce, "team": v1alpha1.ModeOff})
	c.SetPolicy(p, reading("team"))
	c.SetPolicy(other, reading("zone"))
	expect("a changed policy", map[string]v1alpha1.Mode{"role": v1alpha1.ModeOff, "team": v1alpha1.ModeEnforce, "zone": v1alpha1.ModeEnforce})
	c.ReplacePolicies(p.Resource, nil)
	expect("one resource replaced", map[string]v1alpha1.Mode{"team": v1alpha1.ModeOff, "zone": v1alpha1.ModeEnforce})
	c.DeletePolicy(other)
	expect("no policy", map[string]v1alpha1.Mode{"zone": v1alpha1.ModeOff})
	c.SetPolicy(p, reading("team"))
	c.ReplaceGuards([]v1alpha1.ServiceAccountGuard{fromPolicies("h")})
	expect("guards replaced", map[string]v1alpha1.Mode{"team": v1alpha1.ModeEnforce})
	c.DeleteGuard("h")
	expect("no guard", map[string]v1alpha1.Mode{"team": v1alpha1.ModeOff})
	if !c.Guards().Empty() || len(c.GuardObjects()) > 0 {
		t.Error("guards are left")
	}
}

func TestBandsAreSortedByName(t *testing.T) {
	c := state.New(state.Live{}, nil)
	named := func(n string) v1alpha1.PolicyBand { return v1alpha1.PolicyBand{ObjectMeta: metav1.ObjectMeta{Name: n}} }
	names := func() (out []string) {
		for _, b := range c.Bands() {
			out = append(out, b.Name)
		}
		return out
	}
	c.SetBand(named("z"))
	c.SetBand(named("a"))
	if got := names(); !reflect.DeepEqual(got, []string{"a", "z"}) {
		t.Errorf("bands %v", got)
	}
	before := c.Bands()
	c.ReplaceBands([]v1alpha1.PolicyBand{named("m")})
	c.DeleteBand("none")
	if got := names(); !reflect.DeepEqual(got, []string{"m"}) || len(before) != 2 {
		t.Errorf("bands %v, the snapshot before %v", got, before)
	}
}

func TestNamespaceIsAskedLiveOnlyWhereMemoryDoesNotDo(t *testing.T) {
	asked := 0
	live := decision.Known(guard.Namespace{Terminating: true})
	c := state.New(state.Live{Namespace: func(context.Context, string) decision.Fact[guard.Namespace] {
		asked++
		return live
	}}, nil)
	look := func(name string, fresh, terminating bool, asks int) {
		t.Helper()
		asked = 0
		ns, ok := c.Namespace(t.Context(), name, fresh).Get()
		if !ok || ns.Terminating != terminating || asked != asks {
			t.Errorf("%s, fresh %v: %+v %v, asked %d times", name, fresh, ns, ok, asked)
		}
	}
	c.SetNamespace("prod", guard.Namespace{})
	look("prod", false, false, 0)
	look("prod", true, true, 1)
	look("new", false, true, 1)
	c.SetNamespace("prod", guard.Namespace{Terminating: true})
	look("prod", true, true, 0)
	c.DeleteNamespace("prod")
	look("prod", false, true, 1)
	c.ReplaceNamespaces(map[string]guard.Namespace{"a": {}, "b": {}})
	c.ReplaceNamespaces(map[string]guard.Namespace{"b": {Terminating: true}})
	look("a", false, true, 1)
	look("b", false, true, 0)
	live = decision.Unknown[guard.Namespace]("timeout")
	if _, ok := c.Namespace(t.Context(), "new", false).Get(); ok {
		t.Error("an unknown namespace is known")
	}
}

func TestProblemsAreTold(t *testing.T) {
	var told []guard.Problem
	c := state.New(state.Live{}, func(p []guard.Problem) { told = p })
	g := fromPolicies("bad")
	g.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}
	c.SetGuard(g)
	if len(told) != 1 || told[0].Guard != "bad" {
		t.Errorf("told %v", told)
	}
}

// For the race detector: readers never wait and never see half a configuration.
func TestReadersAndWritersAtOnce(t *testing.T) {
	c := state.New(state.Live{}, nil)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 200 {
				id := state.PolicyID{Resource: "r", Name: string(rune('a' + w))}
				c.SetPolicy(id, reading("role"))
				if i%2 == 1 {
					c.DeletePolicy(id)
				}
				c.SetNamespace("n", guard.Namespace{Terminating: i%2 == 0})
			}
		})
	}
	c.SetGuard(fromPolicies("g"))
	for range 1000 {
		if m := mode(c, "role"); m != v1alpha1.ModeEnforce && m != v1alpha1.ModeOff {
			t.Fatalf("mode %q", m)
		}
	}
	writers.Wait()
	if m := mode(c, "role"); m != v1alpha1.ModeOff {
		t.Errorf("in the end the mode is %s", m)
	}
}

func TestPolicyKeys(t *testing.T) {
	type spec = map[string]any
	rule := func(end string, entity spec) []any { return []any{spec{"action": "Allow", end: entity}} }
	accounts := func(selector string) spec { return spec{"serviceAccounts": spec{"selector": selector}} }
	with := func(entity spec, key string, value any) spec {
		entity[key] = value
		return entity
	}
	cases := map[string]struct {
		spec   spec
		global bool
		want   guard.PolicyKeys
		bad    int
	}{
		"no selectors":                       {spec: spec{}},
		"the subject's account selector":     {spec: spec{"serviceAccountSelector": "role == 'intern' && has(example.com/team)"}, want: guard.PolicyKeys{"prod": {"example.com/team", "role"}}},
		"a source's account selector":        {spec: spec{"ingress": rule("source", accounts("role in {'a','b'}"))}, want: guard.PolicyKeys{"prod": {"role"}}},
		"a destination's account selector":   {spec: spec{"egress": rule("destination", accounts("!has(role)"))}, want: guard.PolicyKeys{"prod": {"role"}}},
		"a plain selector of pod labels":     {spec: spec{"selector": "role == 'x'"}},
		"a plain selector of account labels": {spec: spec{"selector": "pcsa.role == 'x' && app == 'y'"}, want: guard.PolicyKeys{"prod": {"role"}}},
		"a notSelector of account labels":    {spec: spec{"ingress": rule("source", spec{"notSelector": "has(pcsa.role)"})}, want: guard.PolicyKeys{"prod": {"role"}}},
		"the automatic name is no label":     {spec: spec{"serviceAccountSelector": "projectcalico.org/name == 'web'"}},
		"one that does not parse":            {spec: spec{"serviceAccountSelector": "role ==", "selector": "pcsa.team == 'x'"}, want: guard.PolicyKeys{"prod": {"team"}}, bad: 1},
		"one that is no text":                {spec: spec{"serviceAccountSelector": 7}, bad: 1},
		"rules that are no list":             {spec: spec{"ingress": "x"}, bad: 1},
		"a rule that is no object":           {spec: spec{"ingress": []any{"x"}}, bad: 1},

		"another namespace, by name":                      {spec: spec{"ingress": rule("source", with(accounts("has(role)"), "namespaceSelector", "projectcalico.org/name == 'dev'"))}, want: guard.PolicyKeys{"dev": {"role"}}},
		"several, by name":                                {spec: spec{"ingress": rule("source", with(accounts("has(role)"), "namespaceSelector", "projectcalico.org/name in {'dev','prod'}"))}, want: guard.PolicyKeys{"dev": {"role"}, "prod": {"role"}}},
		"namespaces by label, which any may have":         {spec: spec{"ingress": rule("source", with(accounts("has(role)"), "namespaceSelector", "env == 'dev'"))}, want: guard.PolicyKeys{"": {"role"}}},
		"a namespaceSelector that does not parse":         {spec: spec{"ingress": rule("source", with(accounts("has(role)"), "namespaceSelector", "env =="))}, want: guard.PolicyKeys{"": {"role"}}},
		"a namespaceSelector that is no text":             {spec: spec{"ingress": rule("source", with(accounts("has(role)"), "namespaceSelector", int64(7)))}, want: guard.PolicyKeys{"": {"role"}}, bad: 1},
		"a subject's namespaceSelector has no meaning":    {spec: spec{"serviceAccountSelector": "has(role)", "namespaceSelector": "projectcalico.org/name == 'dev'"}, want: guard.PolicyKeys{"prod": {"role"}}},
		"a global policy":                                 {global: true, spec: spec{"serviceAccountSelector": "has(role)", "ingress": rule("source", accounts("has(team)"))}, want: guard.PolicyKeys{"": {"role", "team"}}},
		"a global policy of a namespace, but for its end": {global: true, spec: spec{"serviceAccountSelector": "has(role)", "namespaceSelector": "projectcalico.org/name == 'dev'", "ingress": rule("source", accounts("has(team)"))}, want: guard.PolicyKeys{"dev": {"role"}, "": {"team"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			namespace := "prod"
			if tc.global {
				namespace = ""
			}
			keys, bad := state.PolicyKeys(spec{"spec": tc.spec}, namespace)
			if len(keys)+len(tc.want) > 0 && !reflect.DeepEqual(keys, tc.want) || bad != tc.bad {
				t.Errorf("keys %v, %d bad", keys, bad)
			}
		})
	}
}
