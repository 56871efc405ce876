package webhook_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/webhook"
)

func labelGuard(mode v1alpha1.Mode, keys ...v1alpha1.LabelKeyPattern) v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{
		ObjectMeta: metav1.ObjectMeta{Name: "labels-" + string(mode)},
		Spec:       v1alpha1.ServiceAccountGuardSpec{Labels: &v1alpha1.LabelGuard{Mode: mode, Keys: keys}},
	}
}

func account(name string, labels ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "prod"}}
	for i := 0; i+1 < len(labels); i += 2 {
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

func TestLabelUse(t *testing.T) {
	const namespaceController = "system:serviceaccount:kube-system:namespace-controller"
	create, update, del := admissionv1.Create, admissionv1.Update, admissionv1.Delete
	cases := map[string]struct {
		op       admissionv1.Operation
		user     string
		old, new *corev1.ServiceAccount
		grants   []string // resourceNames granted to the user on serviceaccounts/labels in prod
		change   func(*world, *webhook.Request)
		denied   []string // what the message must hold; empty = allowed
		asked    bool     // whether the decision rests on a permission
	}{
		"creating an account without labels is nobody's business": {op: create, new: account("web")},
		"creating with an unguarded label is nobody's business":   {op: create, new: account("web", "app", "x")},
		"creating with a guarded label takes its value": {
			op: create, new: account("web", "role", "intern"), asked: true,
			denied: []string{"put label role=intern on service account prod/web", "kubectl auth can-i use serviceaccounts/role=intern --subresource=labels -n prod"},
		},
		"creating with a guarded label and its grant":               {op: create, new: account("web", "role", "intern"), grants: []string{"role=intern"}, asked: true},
		"the grant of another value does not serve":                 {op: create, new: account("web", "role", "trusted"), grants: []string{"role=intern"}, asked: true, denied: []string{"role=trusted"}},
		"the grant of every value of the key":                       {op: create, new: account("web", "role", "trusted"), grants: []string{"role=*"}, asked: true},
		"a key=* grant does not serve a key that it is a prefix of": {op: create, new: account("web", "role", "x"), grants: []string{"rol=*"}, asked: true, denied: []string{"role=x"}},
		"a key under a guarded prefix, and its prefix grant":        {op: create, new: account("web", "net.example.com/zone", "a"), grants: []string{"net.example.com/*"}, asked: true},
		"a key under a guarded prefix, without":                     {op: create, new: account("web", "net.example.com/zone", "a"), asked: true, denied: []string{"net.example.com/zone=a"}},
		"a key whose prefix only starts like the guarded one":       {op: create, new: account("web", "net.example.com.evil/zone", "a")},
		"a grant bound to this account":                             {op: create, new: account("web", "role", "intern"), grants: []string{"web:role=intern"}, asked: true},
		"a grant bound to another account":                          {op: create, new: account("web", "role", "intern"), grants: []string{"db:role=intern"}, asked: true, denied: []string{"role=intern"}},
		"a grant of everything for one account":                     {op: create, new: account("web", "role", "intern"), grants: []string{"web:*"}, asked: true},
		"case is never folded in keys":                              {op: create, new: account("web", "Role", "intern")},
		"case is never folded in values":                            {op: create, new: account("web", "role", "Intern"), grants: []string{"role=intern"}, asked: true, denied: []string{"role=Intern"}},
		"an empty value is a value":                                 {op: create, new: account("web", "role", ""), asked: true, denied: []string{"put label role= on"}},
		"an empty value and its grant":                              {op: create, new: account("web", "role", ""), grants: []string{"role="}, asked: true},
		"with generateName no grant bound to an account counts": {
			op: create, new: account("", "role", "intern"), grants: []string{"web:role=intern"}, asked: true,
			denied: []string{"put label role=intern on a service account of namespace prod"},
		},

		"an update that leaves labels alone": {op: update, old: account("web", "role", "intern"), new: account("web", "role", "intern")},
		"an update of an unguarded label":    {op: update, old: account("web", "role", "intern", "app", "a"), new: account("web", "role", "intern", "app", "b")},
		"taking a label off takes its value": {
			op: update, old: account("web", "role", "intern"), new: account("web"), grants: []string{"role=trusted"}, asked: true,
			denied: []string{"take label role=intern off service account prod/web"},
		},
		"taking a label off with its grant":               {op: update, old: account("web", "role", "intern"), new: account("web"), grants: []string{"role=intern"}, asked: true},
		"a change takes the old value as well as the new": {op: update, old: account("web", "role", "intern"), new: account("web", "role", "trusted"), grants: []string{"role=trusted"}, asked: true, denied: []string{"take label role=intern off"}},
		"a change takes the new value as well as the old": {op: update, old: account("web", "role", "intern"), new: account("web", "role", "trusted"), grants: []string{"role=intern"}, asked: true, denied: []string{"put label role=trusted on"}},
		"a change with both":                              {op: update, old: account("web", "role", "intern"), new: account("web", "role", "trusted"), grants: []string{"role=intern", "role=trusted"}, asked: true},
		"a change without either names both":              {op: update, old: account("web", "role", "intern"), new: account("web", "role", "trusted"), asked: true, denied: []string{"take label role=intern off", "put label role=trusted on"}},
		"emptying a value is a change":                    {op: update, old: account("web", "role", "intern"), new: account("web", "role", ""), grants: []string{"role=intern"}, asked: true, denied: []string{"role="}},
		"moving a value from one guarded key to another":  {op: update, old: account("web", "role", "a"), new: account("web", "net.example.com/role", "a"), grants: []string{"role=a"}, asked: true, denied: []string{"net.example.com/role=a"}},

		"deleting takes every guarded label off":     {op: del, old: account("web", "role", "intern", "app", "x"), asked: true, denied: []string{"take label role=intern off"}},
		"deleting with the grant":                    {op: del, old: account("web", "role", "intern"), grants: []string{"role=intern"}, asked: true},
		"deleting an account without guarded labels": {op: del, old: account("web", "app", "x")},
		"the namespace controller empties a terminating namespace": {
			op: del, user: namespaceController, old: account("web", "role", "intern"),
			change: func(w *world, _ *webhook.Request) { w.namespaces["prod"] = guard.Namespace{Terminating: true} },
		},
		"the namespace controller in a namespace that lives": {
			op: del, user: namespaceController, old: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"},
		},
		"anybody else in a terminating namespace": {
			op: del, old: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"},
			change: func(w *world, _ *webhook.Request) { w.namespaces["prod"] = guard.Namespace{Terminating: true} },
		},
		"an update by the namespace controller is judged as anybody's": {
			op: update, user: namespaceController, old: account("web", "role", "intern"), new: account("web"), asked: true, denied: []string{"role=intern"},
			change: func(w *world, _ *webhook.Request) { w.namespaces["prod"] = guard.Namespace{Terminating: true} },
		},

		"kube-system is never guarded": {op: create, new: account("web", "role", "intern"), change: func(_ *world, r *webhook.Request) { r.Namespace = "kube-system" }},
		"an exempt user": {op: create, new: account("web", "role", "intern"), change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Exempt.Users = []string{"alice"}
		}},
		"an exempt group": {op: create, new: account("web", "role", "intern"), change: func(w *world, r *webhook.Request) {
			w.guards[0].Spec.Exempt.Groups = []string{"ops"}
			r.Subject.Groups = []string{"ops"}
		}},
		"an exemption of another's name": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Exempt.Users = []string{"alic", "alice2", "Alice"}
		}},
		"exempt from one guard is not exempt from the other": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Exempt.Users = []string{"alice"}
			w.guards = append(w.guards, labelGuard(v1alpha1.ModeEnforce, "role"))
		}},
		"a guard whose selector does not select the namespace": {op: create, new: account("web", "role", "intern"), change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "dev"}
		}},
		"a guard whose selector does": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "prod"}
		}},
		"a guard whose selector nobody can read holds everywhere": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Is"}}
		}},
		"no guard at all": {op: create, new: account("web", "role", "intern"), change: func(w *world, _ *webhook.Request) { w.guards = nil }},
		"a key that only policies read": {op: create, new: account("web", "team", "x"), asked: true, denied: []string{"team=x"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Labels.FromPolicies = true
			w.policyKeys = guard.PolicyKeys{"": {"team"}}
		}},
		"a key that policies read of accounts of this namespace": {op: create, new: account("web", "team", "x"), asked: true, denied: []string{"team=x"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Labels.FromPolicies = true
			w.policyKeys = guard.PolicyKeys{"prod": {"team"}}
		}},
		"a key that policies read of accounts of another namespace": {op: create, new: account("web", "team", "x"), change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Labels.FromPolicies = true
			w.policyKeys = guard.PolicyKeys{"dev": {"team"}}
		}},
		"a key that policies read, where the guard does not ask for them": {op: create, new: account("web", "team", "x"), change: func(w *world, _ *webhook.Request) {
			w.policyKeys = guard.PolicyKeys{"": {"team"}}
		}},
		"the strictest of two guards wins": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeAudit, "role"), labelGuard(v1alpha1.ModeEnforce, "role"), labelGuard(v1alpha1.ModeOff, "role")}
		}},
		"mode Warn lets pass":  {op: create, new: account("web", "role", "intern"), asked: true, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Labels.Mode = v1alpha1.ModeWarn }},
		"mode Audit lets pass": {op: create, new: account("web", "role", "intern"), asked: true, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Labels.Mode = v1alpha1.ModeAudit }},
		"mode Off does not look": {op: create, new: account("web", "role", "intern"), change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Labels.Mode = v1alpha1.ModeOff
		}},
		"a mode nobody knows enforces": {op: create, new: account("web", "role", "intern"), asked: true, denied: []string{"role=intern"}, change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Labels.Mode = "Strict"
		}},
		"system:masters pass": {op: create, new: account("web", "role", "intern"), asked: true, change: func(_ *world, r *webhook.Request) {
			r.Subject.Groups = []string{"system:masters"}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role", "net.example.com/*")}
			user := "alice"
			if tc.user != "" {
				user = tc.user
			}
			if len(tc.grants) > 0 {
				w.grant(user, "prod", "use", "serviceaccounts/labels", tc.grants...)
			}
			var object, old any
			if tc.new != nil {
				object = tc.new
			}
			if tc.old != nil {
				old = tc.old
			}
			req := request(t, tc.op, user, "serviceaccounts", object, old)
			if tc.change != nil {
				tc.change(w, req)
			}
			rig := newRig(t, w)
			resp := rig.Validate(t.Context(), req)
			if resp.Allowed != (len(tc.denied) == 0) {
				t.Fatalf("allowed = %v, result %+v", resp.Allowed, resp.Result)
			}
			for _, want := range tc.denied {
				if resp.Result.Code != 403 || !strings.Contains(resp.Result.Message, want) {
					t.Errorf("answer %d %q does not say %q", resp.Result.Code, resp.Result.Message, want)
				}
			}
			if asked := len(rig.questions(t)) > 0; asked != tc.asked {
				t.Errorf("permissions asked: %v, want %v", asked, tc.asked)
			}
		})
	}
}

// A grant in one namespace, or for one verb, must not serve in another.
func TestLabelUseGrantsDoNotSpread(t *testing.T) {
	for name, grant := range map[string]func(*world){
		"another namespace":  func(w *world) { w.grant("alice", "dev", "use", "serviceaccounts/labels", "role=intern") },
		"another verb":       func(w *world) { w.grant("alice", "prod", "bind", "serviceaccounts/labels", "role=intern") },
		"another resource":   func(w *world) { w.grant("alice", "prod", "use", "serviceaccounts", "role=intern") },
		"another user":       func(w *world) { w.grant("bob", "prod", "use", "serviceaccounts/labels", "role=intern") },
		"a literal star":     func(w *world) { w.grant("alice", "prod", "use", "serviceaccounts/labels", "*") },
		"update on accounts": func(w *world) { w.grant("alice", "prod", "update", "serviceaccounts") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role")}
			grant(w)
			if resp := newRig(t, w).Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "intern"), nil)); resp.Allowed {
				t.Error("allowed")
			}
		})
	}
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role")}
	w.grant("alice", "", "use", "serviceaccounts/labels", "role=intern")
	if resp := newRig(t, w).Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "intern"), nil)); !resp.Allowed {
		t.Error("a cluster-wide grant does not serve")
	}
}
