package webhook_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
)

// grant is one grant of bind, and what can-i line a denial without it must name.
type grant struct{ resource, name, canI string }

// The three policies of Calico's page on service accounts in policy.
func pagePolicies() map[string]struct {
	policy string
	grants []grant
} {
	label := func(kv string) grant {
		return grant{resource: "serviceaccounts/labels", name: kv, canI: "kubectl auth can-i bind serviceaccounts/" + kv + " --subresource=labels -n prod"}
	}
	account := func(name string) grant {
		return grant{resource: "serviceaccounts", name: name, canI: "kubectl auth can-i bind serviceaccounts/" + name + " -n prod"}
	}
	return map[string]struct {
		policy string
		grants []grant
	}{
		"by name": {grants: []grant{account("api-service"), account("user-auth-service")}, policy: `
kind: NetworkPolicy
metadata: {name: demo-calico}
spec:
  selector: app == "db"
  ingress:
  - action: Allow
    source: {serviceAccounts: {names: [api-service, user-auth-service]}}
`},
		"by label": {grants: []grant{label("app=web-frontend")}, policy: `
kind: NetworkPolicy
metadata: {name: allow-web-frontend}
spec:
  selector: app == "db"
  ingress:
  - action: Allow
    source: {serviceAccounts: {selector: app == "web-frontend"}}
`},
		"interns among themselves": {grants: []grant{label("role=intern")}, policy: `
kind: NetworkPolicy
metadata: {name: restrict-intern-access}
spec:
  serviceAccountSelector: role == "intern"
  ingress:
  - action: Allow
    source: {serviceAccounts: {selector: role == "intern"}}
  egress:
  - action: Allow
    destination: {serviceAccounts: {selector: role == "intern"}}
`},
	}
}

// Exactly the grants that a policy of the page implies admit it, and without any one of them the denial names that one.
func TestThePagesPolicies(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, page := range pagePolicies() {
			for missing := -1; missing < len(page.grants); missing++ {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
				var texts []string
				for i, g := range page.grants {
					if i == missing {
						texts = append(texts, g.canI)
					} else {
						w.grant("alice", "prod", "bind", g.resource, g.name)
					}
				}
				t.Run(name, func(t *testing.T) {
					expect(t, newRig(t, w).Validate(t.Context(), calicoRequest(t, gv, admissionv1.Create, "alice", page.policy, "")), texts...)
				})
			}
		}
	})
}
