package webhook_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// allow is a namespaced policy with one Allow rule from source, JSON or YAML of an EntityRule.
func allow(source string) string {
	return "kind: NetworkPolicy\nspec: {ingress: [{action: Allow, source: " + source + "}]}\n"
}

func globalAllow(source string) string {
	return "kind: GlobalNetworkPolicy\nspec: {ingress: [{action: Allow, source: " + source + "}]}\n"
}

func TestPolicyReference(t *testing.T) {
	const namespaceController = "system:serviceaccount:kube-system:namespace-controller"
	const anyLabel = "kubectl auth can-i bind serviceaccounts --subresource=labels"
	create, update, del := admissionv1.Create, admissionv1.Update, admissionv1.Delete
	const intern = "kind: NetworkPolicy\nspec: {serviceAccountSelector: role == 'intern', ingress: [{action: Deny}]}\n"
	names, labels := "serviceaccounts", "serviceaccounts/labels"
	web := allow("{serviceAccounts: {names: [web]}}")
	cases := map[string]struct {
		op       admissionv1.Operation
		now, was string
		user     string
		// grants are NAMESPACE RESOURCE NAMES; "-" is cluster-wide, no name is any.
		grants []string
		change func(*world, *webhook.Request)
		denied []string
		asked  bool
	}{
		"a policy that refers to nobody":        {op: create, now: allow("{selector: app == 'web'}")},
		"one name":                              {op: create, now: web, grants: []string{"prod " + names + " web"}, asked: true},
		"one name without the grant":            {op: create, now: web, asked: true, denied: []string{"allows traffic from service account web (spec.ingress[0].source.serviceAccounts.names[0])", `"bind" on serviceaccounts web in namespace prod`, "kubectl auth can-i bind serviceaccounts/web -n prod"}},
		"the grant of another name":             {op: create, now: web, grants: []string{"prod " + names + " db"}, asked: true, denied: []string{"serviceaccounts/web"}},
		"the grant in another namespace":        {op: create, now: web, grants: []string{"dev " + names + " web"}, asked: true, denied: []string{"-n prod"}},
		"the grant cluster-wide":                {op: create, now: web, grants: []string{"- " + names + " web"}, asked: true},
		"the grant of any account":              {op: create, now: web, grants: []string{"prod " + names}, asked: true},
		"a grant of labels is not one of names": {op: create, now: web, grants: []string{"prod " + labels}, asked: true, denied: []string{"serviceaccounts/web"}},
		"use is not bind": {op: create, now: web, asked: true, denied: []string{"serviceaccounts/web"}, change: func(w *world, _ *webhook.Request) {
			w.grant("alice", "prod", "use", "serviceaccounts", "web")
		}},
		"a label with key=*":                  {op: create, now: allow("{serviceAccounts: {selector: role == 'a'}}"), grants: []string{"prod " + labels + " role=*"}, asked: true},
		"a label with a prefix":               {op: create, now: allow("{serviceAccounts: {selector: net.example.com/zone == 'a'}}"), grants: []string{"prod " + labels + " net.example.com/*"}, asked: true},
		"has needs key=*":                     {op: create, now: allow("{serviceAccounts: {selector: has(role)}}"), grants: []string{"prod " + labels + " role=a role=b"}, asked: true, denied: []string{"kubectl auth can-i bind 'serviceaccounts/role=*' --subresource=labels -n prod"}},
		"has with key=*":                      {op: create, now: allow("{serviceAccounts: {selector: has(role)}}"), grants: []string{"prod " + labels + " role=*"}, asked: true},
		"a negative label needs everything":   {op: create, now: allow("{serviceAccounts: {selector: role != 'a' && has(projectcalico.org/name)}}"), grants: []string{"prod " + labels + " role=*"}, asked: true, denied: []string{anyLabel + " -n prod", " or "}},
		"a negative label with everything":    {op: create, now: allow("{serviceAccounts: {selector: role != 'a' && has(projectcalico.org/name)}}"), grants: []string{"prod " + labels}, asked: true},
		"either label will do for both":       {op: create, now: allow("{serviceAccounts: {selector: a == 'x' && b == 'y'}}"), grants: []string{"prod " + labels + " b=y"}, asked: true},
		"one label does not do for either":    {op: create, now: allow("{serviceAccounts: {selector: a == 'x' || b == 'y'}}"), grants: []string{"prod " + labels + " b=y"}, asked: true, denied: []string{"serviceaccounts/a=x"}},
		"a name through a plain selector":     {op: create, now: allow("{selector: projectcalico.org/serviceaccount == 'web'}"), asked: true, denied: []string{"serviceaccounts/web -n prod", "source.selector"}},
		"a label through a plain selector":    {op: create, now: allow("{selector: pcsa.role == 'a'}"), asked: true, denied: []string{"serviceaccounts/role=a"}},
		"a label through the subject":         {op: create, now: "kind: NetworkPolicy\nspec: {selector: pcsa.role == 'a'}", asked: true, denied: []string{"write policy for service accounts labelled role=a (spec.selector)"}},
		"accounts of a namespace by its name": {op: create, now: allow("{serviceAccounts: {names: [web]}, namespaceSelector: projectcalico.org/name == 'dev'}"), grants: []string{"dev " + names + " web"}, asked: true},
		"accounts of two namespaces take both": {
			op: create, now: allow("{serviceAccounts: {names: [web]}, namespaceSelector: \"projectcalico.org/name in {'dev','prod'}\"}"), grants: []string{"dev " + names + " web"}, asked: true,
			denied: []string{"serviceaccounts/web -n prod"},
		},
		"accounts of namespaces by label take the cluster": {op: create, now: allow("{serviceAccounts: {names: [web]}, namespaceSelector: env == 'x'}"), grants: []string{"prod " + names + " web", "dev " + names + " web"}, asked: true, denied: []string{"kubectl auth can-i bind serviceaccounts/web -A"}},
		"a global policy takes the cluster":                {op: create, now: globalAllow("{serviceAccounts: {names: [web]}, namespaceSelector: all()}"), grants: []string{"prod " + names + " web"}, asked: true, denied: []string{"serviceaccounts/web -A"}},
		"a global policy for one namespace":                {op: create, now: globalAllow("{serviceAccounts: {names: [web]}, namespaceSelector: projectcalico.org/name == 'prod'}"), grants: []string{"prod " + names + " web"}, asked: true},
		"a global policy, granted in the cluster":          {op: create, now: globalAllow("{serviceAccounts: {names: [web]}, namespaceSelector: all()}"), grants: []string{"- " + names + " web"}, asked: true},
		"a staged policy":                                  {op: create, now: strings.Replace(web, "kind: ", "kind: Staged", 1), asked: true, denied: []string{"serviceaccounts/web"}},
		"a staged global policy":                           {op: create, now: strings.Replace(globalAllow("{serviceAccounts: {names: [web]}, namespaceSelector: all()}"), "kind: ", "kind: Staged", 1), asked: true, denied: []string{"serviceaccounts/web -A"}},
		"a Deny rule takes nothing":                        {op: create, now: strings.Replace(web, "Allow", "Deny", 1)},

		"an update of labels alone":                  {op: update, now: strings.Replace(intern, "spec:", "metadata: {name: p, labels: {a: b}}\nspec:", 1), was: intern},
		"an update that adds a name":                 {op: update, now: web, was: allow("{selector: app == 'x'}"), asked: true, denied: []string{"traffic from service account web"}},
		"an update that takes a name out":            {op: update, now: allow("{selector: app == 'x'}"), was: web, asked: true, denied: []string{"change policy that allows traffic from service account web (spec.ingress[0].source.serviceAccounts.names[0] as it was)"}},
		"an update away from a subject":              {op: update, now: allow("{selector: app == 'x'}"), was: intern, asked: true, denied: []string{"change policy for service accounts labelled role=intern"}},
		"an update that loosens a subject's policy":  {op: update, now: strings.Replace(intern, "action: Deny", "action: Pass", 1), was: intern, asked: true, denied: []string{"role=intern"}},
		"an update with the grants":                  {op: update, now: strings.Replace(intern, "action: Deny", "action: Pass", 1), was: intern, grants: []string{"prod " + labels + " role=intern"}, asked: true},
		"deleting takes the subject":                 {op: del, was: intern, asked: true, denied: []string{"delete policy for service accounts labelled role=intern", "serviceaccounts/role=intern"}},
		"deleting with the subject":                  {op: del, was: intern, grants: []string{"prod " + labels + " role=intern"}, asked: true},
		"deleting does not take the peers":           {op: del, was: web},
		"the namespace controller empties one":       {op: del, was: intern, user: namespaceController, change: func(w *world, _ *webhook.Request) { w.namespaces["prod"] = guard.Namespace{Terminating: true} }},
		"the namespace controller in one that lives": {op: del, was: intern, user: namespaceController, asked: true, denied: []string{"role=intern"}},
		"system:masters":                             {op: create, now: web, asked: true, change: func(_ *world, r *webhook.Request) { r.Subject.Groups = []string{"system:masters"} }},
		"an exempt user":                             {op: create, now: web, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Exempt.Users = []string{"alice"} }},
		"no guard of policies":                       {op: create, now: web, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies = nil }},
		"mode Warn":                                  {op: create, now: web, asked: true, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.References = v1alpha1.ModeWarn }},
		"mode Off":                                   {op: create, now: web, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.References = v1alpha1.ModeOff }},
		"a guard of other namespaces": {op: create, now: web, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "dev"}
		}},
		"kube-system":   {op: create, now: web, change: func(_ *world, r *webhook.Request) { r.Namespace = "kube-system" }},
		"a subresource": {op: update, now: web, was: intern, change: func(_ *world, r *webhook.Request) { r.Subresource = "status" }},
		"what cannot be read takes everything, without hygiene":  {op: create, now: "kind: NetworkPolicy\nspec: {selector: [1]}", asked: true, denied: []string{"any service accounts", "kubectl auth can-i bind serviceaccounts -A", anyLabel + " -A"}, change: noHygiene},
		"a malformed name takes everything, without hygiene":     {op: create, now: allow(`{serviceAccounts: {names: ["x' } || all() || a in {'y"]}}`), asked: true, grants: []string{"prod " + names, "prod " + labels}, denied: []string{"any service accounts"}, change: noHygiene},
		"an unreadable policy is replaced by who may everything": {op: update, now: allow("{}"), was: "kind: NetworkPolicy\nspec: {selector: [1]}", asked: true, grants: []string{"- " + names, "- " + labels}, change: noHygiene},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
				user := "alice"
				if tc.user != "" {
					user = tc.user
				}
				for _, g := range tc.grants {
					words := strings.Fields(g)
					w.grant(user, strings.TrimPrefix(words[0], "-"), "bind", words[1], words[2:]...)
				}
				req := calicoRequest(t, gv, tc.op, user, tc.now, tc.was)
				if tc.change != nil {
					tc.change(w, req)
				}
				rig := newRig(t, w)
				expect(t, rig.Validate(t.Context(), req), tc.denied...)
				if asked := len(rig.questions(t)) > 0; asked != tc.asked {
					t.Errorf("permissions asked: %v, want %v", asked, tc.asked)
				}
			})
		}
	})
}

func noHygiene(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.Hygiene = v1alpha1.ModeOff }

// A policy of nothing but what its author may not refer to is refused after a few questions, and its message can be read.
func TestHostilePolicyIsRefusedSoon(t *testing.T) {
	var rules []string
	for i := range 1024 {
		var values []string
		for j := range 50 {
			values = append(values, fmt.Sprintf("'v%d-%d'", i, j))
		}
		s := strings.Repeat("!(", 60) + "role in {" + strings.Join(values, ",") + "} || !has(team)" + strings.Repeat(")", 60)
		rules = append(rules, fmt.Sprintf(`{action: Allow, source: {serviceAccounts: {selector: %q}}}`, s))
	}
	now := "kind: NetworkPolicy\nspec: {ingress: [" + strings.Join(rules, ",") + "]}\n"
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
	noHygiene(w, nil)
	rig := newRig(t, w)
	resp := rig.Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", now, ""))
	expect(t, resp, "any service accounts (spec", "bind serviceaccounts -A")
	if n := len(resp.Result.Message); n > 8192 {
		t.Errorf("the message has %d bytes", n)
	}

	// Below the bound each is told, but only a few are asked for.
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("sa-%d", i))
	}
	rig = newRig(t, w)
	resp = rig.Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", allow("{serviceAccounts: {names: ["+strings.Join(names, ",")+"]}}"), ""))
	expect(t, resp, "serviceaccounts/sa-0 -n prod", "serviceaccounts/sa-7 -n prod", "992 things more")
	if strings.Contains(resp.Result.Message, "sa-8") {
		t.Error("more was asked for than needed")
	}
	// What was not asked for is never allowed: with the grants of the first eight, the ninth is missing.
	w.grant("alice", "prod", "bind", "serviceaccounts", names[:8]...)
	expect(t, newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", allow("{serviceAccounts: {names: ["+strings.Join(names, ",")+"]}}"), "")), "serviceaccounts/sa-8 -n prod")
	w.grant("alice", "prod", "bind", "serviceaccounts", names...)
	expect(t, newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", allow("{serviceAccounts: {names: ["+strings.Join(names, ",")+"]}}"), "")))
}

// reviews counts what is asked of the API server, which allows nothing.
type reviews struct{ count atomic.Int64 }

func (r *reviews) Review(context.Context, identity.Subject, rbac.Attributes) (bool, string, error) {
	r.count.Add(1)
	return false, "", nil
}

// Whatever a policy says, its refusal costs the API server a bounded number of reviews: rules without end, alternatives without
// end, namespaces without end.
func TestRefusalsCostFewReviews(t *testing.T) {
	var names, alternatives, namespaces []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("sa-%d", i))
		namespaces = append(namespaces, fmt.Sprintf("'ns-%d'", i))
	}
	for i := range 250 {
		alternatives = append(alternatives, fmt.Sprintf("x.io/k%d == 'v'", i))
	}
	var rules []string
	for i := range 15 {
		rules = append(rules, fmt.Sprintf("{action: Allow, source: {serviceAccounts: {selector: \"%s && rule == '%d'\"}}}", strings.Join(alternatives, " && "), i))
	}
	for name, tc := range map[string]struct {
		policy string
		most   int64
	}{
		"names":        {policy: allow("{serviceAccounts: {names: [" + strings.Join(names, ",") + "]}}"), most: 8},
		"namespaces":   {policy: allow("{serviceAccounts: {names: [web]}, namespaceSelector: \"projectcalico.org/name in {" + strings.Join(namespaces, ",") + "}\"}"), most: 8},
		"alternatives": {policy: "kind: NetworkPolicy\nspec: {ingress: [" + strings.Join(rules, ",") + "]}\n", most: 251 * 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
			noHygiene(w, nil)
			counted := &reviews{}
			authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot, Reviewer: counted})
			if err != nil {
				t.Fatal(err)
			}
			rig := newRig(t, w, func(o *webhook.Options) { o.Authorizer = authorizer })
			resp := rig.Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", tc.policy, ""))
			expect(t, resp, "things more")
			if n := counted.count.Load(); n == 0 || n > tc.most {
				t.Errorf("%d reviews, want at most %d", n, tc.most)
			}
			if n := len(resp.Result.Message); n > 8192 {
				t.Errorf("the message has %d bytes", n)
			}
		})
	}
}
