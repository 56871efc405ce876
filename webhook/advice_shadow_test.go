package webhook_test

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/shadow"
)

// warnings are those of a policy that is created, of which each must be short enough to be shown whole.
func warnings(t *testing.T, w *world, gv schema.GroupVersion, text string) []string {
	t.Helper()
	resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, gv, admissionv1.Create, "alice", text, ""))
	expect(t, resp)
	for _, line := range resp.Warnings {
		if len([]rune(line)) > 120 {
			t.Errorf("warning %q is too long", line)
		}
	}
	return resp.Warnings
}

// existing are policies that are there already, of one namespace and global ones.
func existing(t *testing.T, texts ...string) decision.Fact[shadow.Others] {
	t.Helper()
	o := shadow.Others{Tiers: decision.Known(shadow.Tiers{"security": {Name: "security", Order: 1}})}
	for _, text := range texts {
		raw, err := calicoObject(t, groups[0], text).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		object, err := policy.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		p := shadow.New(object)
		if p.ID.Namespace == "" {
			o.Global = append(o.Global, p)
		} else {
			o.Own = append(o.Own, p)
		}
	}
	return decision.Known(o)
}

func TestWarningsAboutPoliciesThatNeverMatch(t *testing.T) {
	interns := "serviceAccountSelector: \"role == 'intern'\""
	denyInterns := "kind: GlobalNetworkPolicy\nmetadata: {name: security.deny-intern}\nspec: {tier: security, order: 10, " + interns + ", types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]}"
	mine := "kind: NetworkPolicy\nspec: {order: 1500, " + interns + ", ingress: [{action: Allow}]}"
	decidesFirst := "because security/deny-intern (order 10) decides first"
	cases := map[string]struct {
		policy string
		others decision.Fact[shadow.Others]
		want   []string
	}{
		"nothing before it":                       {policy: mine, others: existing(t)},
		"security decides first":                  {policy: mine, others: existing(t, denyInterns), want: []string{"ingress never matches, " + decidesFirst}},
		"both directions":                         {policy: strings.Replace(mine, "ingress:", "egress: [{action: Allow}], ingress:", 1), others: existing(t, denyInterns), want: []string{"ingress and egress never match, " + decidesFirst}},
		"another subject":                         {policy: strings.Replace(mine, "intern", "developer", 1), others: existing(t, denyInterns)},
		"policies that are not known":             {policy: mine, others: decision.Unknown[shadow.Others]("not read")},
		"a policy of the same tier":               {policy: mine, others: existing(t, "kind: NetworkPolicy\nmetadata: {name: first}\nspec: {order: 2.5, ingress: [{action: Deny}]}"), want: []string{"ingress never matches, because default/prod/first (order 2.5) decides first"}},
		"a staged policy, which no enforcer sees": {policy: strings.Replace(mine, "NetworkPolicy", "StagedNetworkPolicy", 1), others: existing(t, denyInterns)},
		"a long name":                             {policy: mine, others: existing(t, "kind: NetworkPolicy\nmetadata: {name: "+strings.Repeat("x", 200)+"}\nspec: {order: 2, ingress: [{action: Deny}]}"), want: []string{"ingress never matches, because default/prod/xxx"}},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{policyGuard(v1alpha1.ModeOff, v1alpha1.ModeOff, v1alpha1.ModeEnforce)}
				w.others = tc.others
				got := warnings(t, w, gv, tc.policy)
				if !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
					t.Errorf("warnings %q, want %q", got, tc.want)
				}
			})
		}
	})
}

func TestWarningsAboutAccountsThatNobodyIs(t *testing.T) {
	known := map[string]map[string]string{"prod/web": {"role": "intern"}, "prod/default": {}, "dev/api": {"team": "x"}}
	global := func(source string) string {
		return "kind: GlobalNetworkPolicy\nspec: {selector: has(app), ingress: [{action: Allow, source: " + source + "}]}"
	}
	cases := map[string]struct {
		policy   string
		accounts map[string]map[string]string
		want     []string
	}{
		"all that it names is there":             {policy: allow("{serviceAccounts: {names: [web], selector: role == 'intern'}}")},
		"a name with a slip":                     {policy: allow("{serviceAccounts: {names: [web, wbe]}}"), want: []string{"none today: service account wbe in namespace prod (spec.ingress[0].source.serviceAccounts.names[1])"}},
		"a name of another namespace":            {policy: allow("{serviceAccounts: {names: [api]}}"), want: []string{"none today: service account api in namespace prod"}},
		"a label's value":                        {policy: allow("{serviceAccounts: {selector: role == 'intren'}}"), want: []string{"none today: service accounts labelled role=intren in namespace prod"}},
		"a label's key":                          {policy: "kind: NetworkPolicy\nspec: {serviceAccountSelector: has(rol)}", want: []string{"none today: service accounts that have label rol in namespace prod (spec.serviceAccountSelector)"}},
		"by a plain selector":                    {policy: allow("{selector: pcsa.role == 'intren'}"), want: []string{"none today: service accounts labelled role=intren in namespace prod"}},
		"in a Deny rule, where it hurts most":    {policy: strings.Replace(allow("{serviceAccounts: {names: [wbe]}}"), "Allow", "Deny", 1), want: []string{"none today: service account wbe"}},
		"staged":                                 {policy: strings.Replace(allow("{serviceAccounts: {names: [wbe]}}"), "kind: ", "kind: Staged", 1), want: []string{"none today: service account wbe"}},
		"what is excluded may be absent":         {policy: allow("{serviceAccounts: {selector: has(role) && role != 'intren'}, notSelector: pcsa.role == 'x'}")},
		"accounts of another namespace, unasked": {policy: allow("{namespaceSelector: projectcalico.org/name == 'dev', serviceAccounts: {names: [wbe]}}")},
		"accounts of any namespace, unasked":     {policy: allow("{namespaceSelector: env == 'x', serviceAccounts: {names: [wbe]}}")},
		"by a global policy, of one namespace":   {policy: global("{namespaceSelector: projectcalico.org/name == 'dev', serviceAccounts: {names: [web]}}"), want: []string{"none today: service account web in namespace dev"}},
		"by a global policy, of several":         {policy: global("{namespaceSelector: \"projectcalico.org/name in {'dev','test'}\", serviceAccounts: {names: [web]}}"), want: []string{"none today: service account web in dev and 1 more namespaces"}},
		"by a global policy, in one of several":  {policy: global("{namespaceSelector: \"projectcalico.org/name in {'dev','prod'}\", serviceAccounts: {names: [web]}}")},
		"by a global policy, of all":             {policy: global("{namespaceSelector: all(), serviceAccounts: {names: [web, wbe]}}"), want: []string{"none today: service account wbe in any namespace"}},
		"many, of which some are told":           {policy: allow("{serviceAccounts: {names: [a, b, c, d, e, f, g]}}"), want: []string{"none today: service account a", "none today: service account b", "none today: service account c", "none today: service account d", "none today: more"}},
		"accounts that are not known":            {policy: allow("{serviceAccounts: {names: [wbe]}}"), accounts: map[string]map[string]string{}},
		"a long name":                            {policy: allow("{serviceAccounts: {names: [" + strings.Repeat("x", 200) + "]}}"), want: []string{"none today: service account xxx"}},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{policyGuard(v1alpha1.ModeOff, v1alpha1.ModeOff, v1alpha1.ModeEnforce)}
				w.accounts = known
				if tc.accounts != nil {
					w.accounts = nil
				}
				if got := warnings(t, w, gv, tc.policy); !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
					t.Errorf("warnings %q, want %q", got, tc.want)
				}
			})
		}
	})
}

// Whoever is refused learns nothing of what there is, and who changes nothing is not bothered.
func TestNoAdviceBesideADenial(t *testing.T) {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
	w.accounts = map[string]map[string]string{}
	w.others = existing(t, "kind: NetworkPolicy\nmetadata: {name: first}\nspec: {order: 2, ingress: [{action: Deny}]}")
	policy := allow("{serviceAccounts: {names: [wbe]}}")
	resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", policy, ""))
	if resp.Allowed || len(resp.Warnings) > 0 {
		t.Errorf("allowed %v, warnings %q", resp.Allowed, resp.Warnings)
	}
	w.grant("alice", "prod", "bind", "serviceaccounts", "wbe")
	for _, op := range []admissionv1.Operation{admissionv1.Update, admissionv1.Delete} {
		now := policy
		if op == admissionv1.Delete {
			now = ""
		}
		resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], op, "alice", now, policy))
		if !resp.Allowed || len(resp.Warnings) > 0 {
			t.Errorf("%s: allowed %v, warnings %q", op, resp.Allowed, resp.Warnings)
		}
	}
	if got := warnings(t, w, groups[0], policy); len(got) != 2 {
		t.Errorf("warnings %q, want two", got)
	}
}
