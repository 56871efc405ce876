package webhook_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// What the holes of Calico are is the table of package hygiene; here is one of each, through admission, for an author who
// holds every permission there is.
func TestPolicyHygiene(t *testing.T) {
	create, update, del := admissionv1.Create, admissionv1.Update, admissionv1.Delete
	good := allow("{serviceAccounts: {names: [web]}}")
	bad := allow(`{serviceAccounts: {names: ["web'"]}}`)
	cases := map[string]struct {
		op       admissionv1.Operation
		now, was string
		change   func(*world, *webhook.Request)
		denied   []string
	}{
		"a policy that says what it means":   {op: create, now: good},
		"F1, a quote in a name":              {op: create, now: bad, denied: []string{"spec.ingress[0].source.serviceAccounts.names[0]", "not a service account's name"}},
		"F2, an injection by name":           {op: create, now: allow(`{serviceAccounts: {names: ["x' } || all() || a in {'y"]}}`), denied: []string{"names[0]"}},
		"F3, a selector that does not parse": {op: create, now: allow(`{serviceAccounts: {selector: "role = 'a'"}}`), denied: []string{"serviceAccounts.selector", "not a selector"}},
		"F3, the subject's":                  {op: create, now: "kind: NetworkPolicy\nspec: {serviceAccountSelector: \"role = 'a'\"}", denied: []string{"spec.serviceAccountSelector"}},
		"F3, an empty condition":             {op: create, now: allow("{serviceAccounts: {}}"), denied: []string{"source.serviceAccounts"}},
		"F4, accounts of any namespace":      {op: create, now: globalAllow("{serviceAccounts: {names: [web]}}"), denied: []string{"namespaceSelector"}},
		"F6, a negative selector":            {op: create, now: allow("{serviceAccounts: {selector: role != 'a'}}"), denied: []string{"serviceAccounts.selector", "add a positive test"}},
		"F7, a negative plain selector":      {op: create, now: allow("{selector: \"!has(pcsa.role)\"}"), denied: []string{"source.selector"}},
		"F8, a selector without end":         {op: create, now: allow("{serviceAccounts: {selector: " + strings.Repeat("(", 65) + "a == 'b'" + strings.Repeat(")", 65) + "}}"), denied: []string{"nested parentheses"}},
		"a field that Calico does not read":  {op: create, now: allow("{serviceAccount: {names: [web]}}"), denied: []string{"spec.ingress[0].source.serviceAccount", "no such field"}},
		"a value of a wrong type":            {op: create, now: "kind: NetworkPolicy\nspec: {order: first}", denied: []string{"spec.order", "must be a number"}},
		"all errors are told at once":        {op: create, now: "kind: NetworkPolicy\nspec: {selector: \"a = b\", serviceAccountSelector: \"c = d\"}", denied: []string{"spec.selector", "spec.serviceAccountSelector"}},
		"but not without end":                {op: create, now: allow("{serviceAccounts: {names: [" + strings.Repeat("A, ", 40) + "A]}}"), denied: []string{"more errors are not listed"}},
		"staged":                             {op: create, now: strings.Replace(bad, "kind: ", "kind: Staged", 1), denied: []string{"names[0]"}},

		"a bad policy that was there, its labels":  {op: update, now: strings.Replace(bad, "spec:", "metadata: {name: p, labels: {a: b}}\nspec:", 1), was: bad},
		"a bad policy that was there, changed":     {op: update, now: strings.Replace(bad, "spec: {", "spec: {order: 5, ", 1), was: bad, denied: []string{"names[0]"}},
		"a bad policy that was there, put right":   {op: update, now: good, was: bad},
		"a policy of a newer Calico, its labels":   {op: update, now: "kind: NetworkPolicy\nmetadata: {name: p, labels: {a: b}}\nspec: {newField: 1}", was: "kind: NetworkPolicy\nspec: {newField: 1}"},
		"a policy of a newer Calico, the new part": {op: update, now: "kind: NetworkPolicy\nspec: {newField: 2}", was: "kind: NetworkPolicy\nspec: {newField: 1}", denied: []string{"spec.newField"}},
		"deleting a bad policy":                    {op: del, was: bad},
		"mode Warn":                                {op: create, now: bad, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.Hygiene = v1alpha1.ModeWarn }},
		"mode Off":                                 {op: create, now: bad, change: noHygiene},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
				req := calicoRequest(t, gv, tc.op, "root", tc.now, tc.was)
				req.Subject.Groups = []string{"system:masters"}
				if tc.change != nil {
					tc.change(w, req)
				}
				expect(t, newRig(t, w).Validate(t.Context(), req), tc.denied...)
			})
		}
	})
}

// What Calico reads as metadata of a stored policy is in an annotation.
func TestHygieneOfStoredMetadata(t *testing.T) {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
	req := calicoRequest(t, groups[1], admissionv1.Create, "alice", allow("{}"), "")
	req.Object = []byte(strings.Replace(string(req.Object), `"projectcalico.org/metadata":"`, `"projectcalico.org/metadata":"[`, 1))
	expect(t, newRig(t, w).Validate(t.Context(), req), "projectcalico.org/metadata", "not metadata in JSON")
}
