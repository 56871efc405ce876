package guard_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
)

const (
	enforce = v1alpha1.ModeEnforce
	warn    = v1alpha1.ModeWarn
	audit   = v1alpha1.ModeAudit
	off     = v1alpha1.ModeOff
)

func named(name string, spec v1alpha1.ServiceAccountGuardSpec) v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

func compile(t *testing.T, policyKeys guard.PolicyKeys, guards ...v1alpha1.ServiceAccountGuard) *guard.Set {
	t.Helper()
	set, problems := guard.Compile(guards, policyKeys)
	if len(problems) > 0 {
		t.Fatalf("problems %v", problems)
	}
	return set
}

func TestStrictestModeWinsForEachCheckByItself(t *testing.T) {
	set := compile(t, nil,
		named("a", v1alpha1.ServiceAccountGuardSpec{
			Labels:    &v1alpha1.LabelGuard{Mode: audit, Keys: []v1alpha1.LabelKeyPattern{"role", "only-a"}},
			Workloads: &v1alpha1.WorkloadGuard{Mode: enforce, Connect: off, Tokens: warn},
			Policies:  &v1alpha1.PolicyGuard{References: off, Precedence: warn, Hygiene: audit},
		}),
		named("b", v1alpha1.ServiceAccountGuardSpec{
			Labels:         &v1alpha1.LabelGuard{Mode: enforce, Keys: []v1alpha1.LabelKeyPattern{"role", "example.com/*"}},
			Workloads:      &v1alpha1.WorkloadGuard{Mode: off, Connect: audit, Tokens: enforce},
			DefaultAccount: &v1alpha1.DefaultAccountGuard{Bindings: warn, DisableTokenMount: true},
		}),
		named("c", v1alpha1.ServiceAccountGuardSpec{}),
	)
	e := set.ForNamespace("prod", nil, identity.Subject{User: "alice"})
	for what, pair := range map[string][2]v1alpha1.Mode{
		"a key of both":           {e.LabelMode("role"), enforce},
		"a key of one":            {e.LabelMode("only-a"), audit},
		"a key of a prefix":       {e.LabelMode("example.com/x"), enforce},
		"a key of another prefix": {e.LabelMode("sub.example.com/x"), off},
		"a prefix is not a key":   {e.LabelMode("example.com"), off},
		"workloads":               {e.Workloads(), enforce},
		"connect":                 {e.Connect(), audit},
		"tokens":                  {e.Tokens(), enforce},
		"references":              {e.References(), off},
		"precedence":              {e.Precedence(), warn},
		"hygiene":                 {e.Hygiene(), audit},
		"default bindings":        {e.DefaultBindings(), warn},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: mode %q, want %q", what, pair[0], pair[1])
		}
	}
	if !e.DisableTokenMount() {
		t.Error("the token mount is not disabled")
	}
	if got := e.Guards(); !reflect.DeepEqual(got, []string{"a", "b", "c"}) {
		t.Errorf("guards %v", got)
	}
}

func TestZeroValuesGuardNothing(t *testing.T) {
	var e guard.Effective
	var none *guard.Set
	if e.LabelMode("role") != off || e.Workloads() != off || e.DisableTokenMount() || len(e.Guards()) > 0 {
		t.Error("the zero Effective guards something")
	}
	if !none.Empty() || none.NeedsNamespaceLabels() || none.GuardedKeys("x") != nil || len(none.ForCluster(identity.Subject{}).Guards()) > 0 {
		t.Error("a nil Set guards something")
	}
	if !compile(t, nil).Empty() || compile(t, nil, named("a", v1alpha1.ServiceAccountGuardSpec{})).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestNamespaceSelectorsAndExemptions(t *testing.T) {
	prod := named("prod", v1alpha1.ServiceAccountGuardSpec{
		NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
		Exempt:            v1alpha1.Exemption{Users: []string{"ops"}, Groups: []string{"breakglass"}},
	})
	all := named("all", v1alpha1.ServiceAccountGuardSpec{Exempt: v1alpha1.Exemption{Users: []string{"root"}}})
	set := compile(t, nil, prod, all)
	cases := map[string]struct {
		labels  map[string]string
		subject identity.Subject
		want    []string
		exempt  []string
	}{
		"selected":                                      {labels: map[string]string{"env": "prod"}, subject: identity.Subject{User: "alice"}, want: []string{"all", "prod"}},
		"not selected":                                  {labels: map[string]string{"env": "dev"}, subject: identity.Subject{User: "alice"}, want: []string{"all"}},
		"no labels":                                     {subject: identity.Subject{User: "alice"}, want: []string{"all"}},
		"exempt by user from one":                       {labels: map[string]string{"env": "prod"}, subject: identity.Subject{User: "ops"}, want: []string{"all"}, exempt: []string{"prod"}},
		"exempt by group from one":                      {labels: map[string]string{"env": "prod"}, subject: identity.Subject{User: "x", Groups: []string{"breakglass"}}, want: []string{"all"}, exempt: []string{"prod"}},
		"a user named like an exempt group":             {labels: map[string]string{"env": "prod"}, subject: identity.Subject{User: "breakglass"}, want: []string{"all", "prod"}},
		"a group named like an exempt user":             {labels: map[string]string{"env": "prod"}, subject: identity.Subject{User: "x", Groups: []string{"ops"}}, want: []string{"all", "prod"}},
		"exemption from what does not hold is not told": {labels: nil, subject: identity.Subject{User: "ops"}, want: []string{"all"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := set.ForNamespace("prod", tc.labels, tc.subject)
			if !reflect.DeepEqual(e.Guards(), tc.want) || !reflect.DeepEqual(e.ExemptFrom, tc.exempt) {
				t.Errorf("guards %v, exempt from %v", e.Guards(), e.ExemptFrom)
			}
		})
	}
	if got := set.ForCluster(identity.Subject{User: "alice"}).Guards(); len(got) != 2 {
		t.Errorf("cluster-scoped objects are judged by %v, want every guard", got)
	}
	if !set.NeedsNamespaceLabels() || compile(t, nil, all).NeedsNamespaceLabels() {
		t.Error("NeedsNamespaceLabels is wrong")
	}
}

func TestUnreadableSelectorHoldsEverywhereAndIsReported(t *testing.T) {
	g := named("bad", v1alpha1.ServiceAccountGuardSpec{NamespaceSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}})
	set, problems := guard.Compile([]v1alpha1.ServiceAccountGuard{g})
	if len(problems) != 1 || problems[0].Guard != "bad" || !strings.Contains(problems[0].Message, "spec.namespaceSelector") {
		t.Errorf("problems %+v", problems)
	}
	if got := set.ForNamespace("prod", nil, identity.Subject{}).Guards(); len(got) != 1 {
		t.Errorf("holds as %v", got)
	}
}

func TestGuardedKeys(t *testing.T) {
	set := compile(t, guard.PolicyKeys{"": {"team", "role"}, "prod": {"team"}},
		named("policies", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: enforce, FromPolicies: true, Keys: []v1alpha1.LabelKeyPattern{"z", "a.example/*"}}}),
		named("own", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: enforce, Keys: []v1alpha1.LabelKeyPattern{"z"}}}),
		named("off", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: off, Keys: []v1alpha1.LabelKeyPattern{"z"}}}),
	)
	for name, want := range map[string][]string{"policies": {"a.example/*", "role", "team", "z"}, "own": {"z"}, "off": {}, "none": nil} {
		if got := set.GuardedKeys(name); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s guards %v, want %v", name, got, want)
		}
	}
}

// What Compile returns must not change when its input does.
func TestCompiledGuardsAreCopies(t *testing.T) {
	g := named("a", v1alpha1.ServiceAccountGuardSpec{Workloads: &v1alpha1.WorkloadGuard{Mode: enforce}})
	set := compile(t, nil, g)
	g.Spec.Workloads.Mode = off
	if got := set.ForNamespace("prod", nil, identity.Subject{}).Workloads(); got != enforce {
		t.Errorf("mode became %s", got)
	}
}

// What the API server defaults, a file has not: a section that names no mode is Enforce, not Off.
func TestSectionWithoutModeEnforces(t *testing.T) {
	set := compile(t, nil, named("file", v1alpha1.ServiceAccountGuardSpec{
		Labels: &v1alpha1.LabelGuard{Keys: []v1alpha1.LabelKeyPattern{"role"}}, Workloads: &v1alpha1.WorkloadGuard{},
		Policies: &v1alpha1.PolicyGuard{}, DefaultAccount: &v1alpha1.DefaultAccountGuard{},
	}))
	e := set.ForNamespace("prod", nil, identity.Subject{User: "alice"})
	for what, m := range map[string]v1alpha1.Mode{
		"labels": e.LabelMode("role"), "workloads": e.Workloads(), "connect": e.Connect(), "tokens": e.Tokens(), "references": e.References(),
		"precedence": e.Precedence(), "hygiene": e.Hygiene(), "bindings": e.DefaultBindings(),
	} {
		if m != enforce {
			t.Errorf("%s: mode %s", what, m)
		}
	}
	if e.FromPolicies() || !compile(t, nil, named("p", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{FromPolicies: true}})).ForCluster(identity.Subject{}).FromPolicies() {
		t.Error("FromPolicies is wrong")
	}
}

// A key that policies read is guarded where they can mean accounts: everywhere, or in some namespaces.
func TestPolicyKeysCountInTheirNamespaces(t *testing.T) {
	keys := guard.PolicyKeys{"": {"everywhere"}, "prod": {"inprod"}, "dev": {"indev", "both"}}
	more := guard.PolicyKeys{"prod": {"both"}}
	asks := named("a", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: enforce, FromPolicies: true}})
	set, _ := guard.Compile([]v1alpha1.ServiceAccountGuard{asks, named("b", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: warn}})}, keys, more)
	for namespace, want := range map[string]map[string]v1alpha1.Mode{
		"prod":  {"everywhere": enforce, "inprod": enforce, "indev": off, "both": enforce, "other": off},
		"dev":   {"everywhere": enforce, "inprod": off, "indev": enforce, "both": enforce},
		"third": {"everywhere": enforce, "inprod": off, "indev": off, "both": off},
		"":      {"everywhere": enforce, "inprod": off},
	} {
		e := set.ForNamespace(namespace, nil, identity.Subject{User: "alice"})
		for key, mode := range want {
			if got := e.LabelMode(key); got != mode {
				t.Errorf("%s in %q has mode %s, want %s", key, namespace, got, mode)
			}
		}
	}
	cluster := set.ForCluster(identity.Subject{User: "alice"})
	for _, key := range []string{"everywhere", "inprod", "indev", "both"} {
		if cluster.LabelMode(key) != enforce {
			t.Errorf("%s is not guarded where any namespace may be meant", key)
		}
	}
	if got := set.GuardedKeys("a"); !reflect.DeepEqual(got, []string{"both", "everywhere", "indev", "inprod"}) {
		t.Errorf("guards %v", got)
	}
	if got := set.GuardedKeys("b"); len(got) > 0 {
		t.Errorf("a guard that does not ask for them guards %v", got)
	}
}

// Taken alone, a guard holds as it does among the others.
func TestOneGuardAlone(t *testing.T) {
	all := compile(t, guard.PolicyKeys{"": {"zone"}},
		named("a", v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: v1alpha1.ModeEnforce, FromPolicies: true}}),
		named("b", v1alpha1.ServiceAccountGuardSpec{Workloads: &v1alpha1.WorkloadGuard{Mode: v1alpha1.ModeWarn}, Exempt: v1alpha1.Exemption{Groups: []string{"sre"}}}),
	)
	for name, want := range map[string]struct {
		zone, workloads v1alpha1.Mode
		groups          bool
	}{"a": {zone: v1alpha1.ModeEnforce, workloads: v1alpha1.ModeOff}, "b": {zone: v1alpha1.ModeOff, workloads: v1alpha1.ModeWarn, groups: true}, "c": {zone: v1alpha1.ModeOff, workloads: v1alpha1.ModeOff}} {
		e := all.Only(name).ForNamespace("prod", nil, identity.Subject{User: "alice"})
		if e.LabelMode("zone") != want.zone || e.Workloads() != want.workloads || e.ExemptsGroups() != want.groups {
			t.Errorf("%s: %s, %s, exempts groups %v", name, e.LabelMode("zone"), e.Workloads(), e.ExemptsGroups())
		}
	}
	if names := all.Names(); !slices.Equal(names, []string{"a", "b"}) || len(all.Only("c").Names()) > 0 {
		t.Errorf("names %q", names)
	}
	var none *guard.Set
	if len(none.Names()) > 0 || !none.Only("a").Empty() {
		t.Error("no set has guards")
	}
}
