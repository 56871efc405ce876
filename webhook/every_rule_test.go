package webhook_test

import (
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
)

// The one item that is wrong may stand anywhere in any list of a policy: it is found, and named by its place. The mirror without it passes.
func TestEveryRuleOfAPolicyIsJudged(t *testing.T) {
	const length = 4
	// list is length times good, but bad at one place. A # in good is the place.
	list := func(good, bad string, at int) string {
		items := make([]string, length)
		for i := range items {
			items[i] = strings.ReplaceAll(good, "#", fmt.Sprint(i))
			if i == at {
				items[i] = bad
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	rule := func(peer, entity string) string { return "{action: Allow, " + peer + ": " + entity + "}" }
	cases := map[string]struct {
		policy func(at int) string
		says   string // with the place
	}{
		"ingress from an account": {func(at int) string {
			return "kind: NetworkPolicy\nspec: {types: [Ingress], ingress: " + list(rule("source", "{selector: app == 'x'}"), rule("source", "{serviceAccounts: {names: [web]}}"), at) + "}"
		}, "spec.ingress[%d].source.serviceAccounts.names[0]"},
		"egress to an account": {func(at int) string {
			return "kind: NetworkPolicy\nspec: {types: [Egress], egress: " + list(rule("destination", "{selector: app == 'x'}"), rule("destination", "{serviceAccounts: {selector: role == 'a'}}"), at) + "}"
		}, "spec.egress[%d].destination.serviceAccounts.selector"},
		"a name among names": {func(at int) string {
			return "kind: NetworkPolicy\nspec: {types: [Ingress], ingress: [" + rule("source", "{serviceAccounts: {names: "+list("granted-#", "web", at)+"}}") + "]}"
		}, "spec.ingress[0].source.serviceAccounts.names[%d]"},
		"a name that is none among names": {func(at int) string {
			return "kind: NetworkPolicy\nspec: {types: [Ingress], ingress: [" + rule("source", "{serviceAccounts: {names: "+list("granted-#", `"x'"`, at)+"}}") + "]}"
		}, "spec.ingress[0].source.serviceAccounts.names[%d]"},
		"a selector that does not parse": {func(at int) string {
			return "kind: NetworkPolicy\nspec: {types: [Egress], egress: " + list(rule("destination", "{selector: app == 'x'}"), rule("destination", "{selector: 'app =='}"), at) + "}"
		}, "spec.egress[%d].destination.selector"},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				for at := range length + 1 {
					w := newWorld()
					w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
					w.grant("alice", "prod", "bind", "serviceaccounts", "granted-0", "granted-1", "granted-2", "granted-3")
					answer := newRig(t, w).Validate(t.Context(), calicoRequest(t, gv, admissionv1.Create, "alice", tc.policy(at), ""))
					if at == length {
						expect(t, answer)
						continue
					}
					expect(t, answer, fmt.Sprintf(tc.says, at))
				}
			})
		}
	})
}
