package policies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The three policies of Calico's page: admitted with exactly the grants that they imply, refused without any one of them.
func TestThePagesPolicies(t *testing.T) {
	pages := map[string]struct {
		policy string
		grants []rbacv1.PolicyRule
		named  []string // what a denial without the grant of that place says
	}{
		"by name": {
			policy: "kind: NetworkPolicy\nspec: {selector: app == \"db\", ingress: [{action: Allow, source: {serviceAccounts: {names: [api-service, user-auth-service]}}}]}\n",
			grants: []rbacv1.PolicyRule{bindAccounts("api-service"), bindAccounts("user-auth-service")},
			named:  []string{"kubectl auth can-i bind serviceaccounts/api-service -n", "kubectl auth can-i bind serviceaccounts/user-auth-service -n"},
		},
		"by label": {
			policy: "kind: NetworkPolicy\nspec: {selector: app == \"db\", ingress: [{action: Allow, source: {serviceAccounts: {selector: app == \"web-frontend\"}}}]}\n",
			grants: []rbacv1.PolicyRule{bindLabels("app=web-frontend")},
			named:  []string{"kubectl auth can-i bind serviceaccounts/app=web-frontend --subresource=labels -n"},
		},
		"interns among themselves": {
			policy: "kind: NetworkPolicy\nspec: {serviceAccountSelector: role == \"intern\", ingress: [{action: Allow, source: {serviceAccounts: {selector: role == \"intern\"}}}], egress: [{action: Allow, destination: {serviceAccounts: {selector: role == \"intern\"}}}]}\n",
			grants: []rbacv1.PolicyRule{bindLabels("role=intern")},
			named:  []string{"kubectl auth can-i bind serviceaccounts/role=intern --subresource=labels -n"},
		},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, page := range pages {
			t.Run(name, func(t *testing.T) {
				tn := newTenant(t)
				write := func(ctx context.Context) error { return tn.create(ctx, tn.client, gv, page.policy, true) }
				for i := range page.grants {
					// All but one: its denial names the one, and no other.
					var revokes []func()
					for j, other := range page.grants {
						if i != j {
							revokes = append(revokes, tn.grant(tn.namespace, other))
						}
					}
					tn.eventually("the denial of what is missing alone", func(ctx context.Context) error {
						err := write(ctx)
						for j, other := range page.named {
							if i != j && err != nil && strings.Contains(err.Error(), other) {
								return fmt.Errorf("denial names what is granted: %w", err)
							}
						}
						return refused(err, page.named[i]+" "+tn.namespace)
					})
					for _, revoke := range revokes {
						revoke()
					}
				}
				tn.grant(tn.namespace, page.grants...)
				tn.eventually("the grants", write)
				if err := tn.create(t.Context(), tn.client, gv, page.policy, false); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

// What a developer cannot do to the policies of security.
func TestADeveloperCannot(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		tn := newTenant(t)
		security, developer := tn.namespace+"-security", tn.namespace+"-developer"
		tn.band(security, "default", `"order":{"max":100}`)
		tn.band(developer, "default", `"order":{"min":1000,"max":2000}`)
		tn.grant("", useBands(developer))
		tn.grant("", bindLabels("role=mine"))
		const deny = "kind: NetworkPolicy\nmetadata: {name: deny-intern}\nspec: {order: 10, serviceAccountSelector: role == 'intern', ingress: [{action: Deny}]}\n"
		const subject = "kind: NetworkPolicy\nmetadata: {name: subject}\nspec: {order: 1500, serviceAccountSelector: role == 'intern', ingress: [{action: Deny}]}\n"
		const mine = "kind: NetworkPolicy\nmetadata: {name: mine}\nspec: {order: 1500, serviceAccountSelector: role == 'mine', ingress: [{action: Deny}]}\n"
		tn.existing(gv, deny)
		tn.existing(gv, subject)
		tn.eventually("the bands and grants", func(ctx context.Context) error {
			if err := tn.create(ctx, tn.client, gv, mine, true); err != nil {
				return err
			}
			return refused(tn.create(ctx, tn.client, gv, "kind: NetworkPolicy\nspec: {order: 5}", true), "policybands/"+security)
		})
		create := func(policy string) func(context.Context) error {
			return func(ctx context.Context) error { return tn.create(ctx, tn.client, gv, policy, true) }
		}
		update := func(policy string) func(context.Context) error {
			return func(ctx context.Context) error { return tn.update(ctx, gv, policy) }
		}
		for name, attempt := range map[string]struct {
			do    func(context.Context) error
			texts []string
		}{
			"come before by order":              {do: create("kind: NetworkPolicy\nspec: {order: 9}"), texts: []string{"order 9", security}},
			"come before by a tie of names":     {do: create("kind: NetworkPolicy\nmetadata: {name: a}\nspec: {order: 10}"), texts: []string{security}},
			"come before by tier":               {do: create("kind: NetworkPolicy\nspec: {tier: first, order: 1500}"), texts: []string{"tier first", "use policybands -n"}},
			"come before cluster-wide":          {do: create("kind: GlobalNetworkPolicy\nspec: {order: 9, selector: app == 'x'}"), texts: []string{security + " -A"}},
			"fall into a gap":                   {do: create("kind: NetworkPolicy\nspec: {order: 500}"), texts: []string{"no PolicyBand holds"}},
			"stage it":                          {do: create("kind: StagedNetworkPolicy\nspec: {order: 9}"), texts: []string{security}},
			"stage it cluster-wide":             {do: create("kind: StagedGlobalNetworkPolicy\nspec: {order: 9, selector: app == 'x'}"), texts: []string{security}},
			"move security's later":             {do: update(strings.Replace(deny, "order: 10", "order: 1500", 1)), texts: []string{"order 10", security, "role=intern"}},
			"empty security's":                  {do: update("kind: NetworkPolicy\nmetadata: {name: deny-intern}\nspec: {order: 10}"), texts: []string{security, "role=intern"}},
			"move one's own before":             {do: create(strings.Replace(mine, "order: 1500", "order: 5", 1)), texts: []string{security}},
			"delete security's":                 {do: func(ctx context.Context) error { return tn.delete(ctx, gv, deny) }, texts: []string{"delete policy", security, "role=intern"}},
			"loosen by the subject alone":       {do: update(strings.Replace(subject, "Deny", "Allow", 1)), texts: []string{"role=intern"}},
			"delete by the subject alone":       {do: func(ctx context.Context) error { return tn.delete(ctx, gv, subject) }, texts: []string{"role=intern"}},
			"name an account by plain selector": {do: create("kind: NetworkPolicy\nspec: {order: 1500, ingress: [{action: Allow, source: {selector: projectcalico.org/serviceaccount == 'web'}}]}"), texts: []string{"serviceaccounts/web"}},
			"name one by its label's prefix":    {do: create("kind: NetworkPolicy\nspec: {order: 1500, ingress: [{action: Allow, source: {selector: pcsa.role == 'intern'}}]}"), texts: []string{"role=intern"}},
		} {
			t.Run(name, func(t *testing.T) {
				if err := refused(attempt.do(t.Context()), attempt.texts...); err != nil {
					t.Error(err)
				}
			})
		}
		// The mirror: the same user, on the same paths, with what is the developer's.
		if err := tn.create(t.Context(), tn.client, gv, mine, false); err != nil {
			t.Error(err)
		}
		if err := tn.update(t.Context(), gv, strings.Replace(mine, "order: 1500", "order: 1600", 1)); err != nil {
			t.Error(err)
		}
		if err := tn.delete(t.Context(), gv, mine); err != nil {
			t.Error(err)
		}
	})
}

// Injection and widening through every field they fit in.
func TestHolesAreClosed(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		tn := newTenant(t)
		tn.grant("", bindAccounts(), bindLabels()) // all permissions there are do not help
		for _, direction := range []string{"ingress", "egress"} {
			for _, end := range []string{"source", "destination"} {
				for name, entity := range map[string]string{
					"F1":              `{serviceAccounts: {names: ["web'"]}}`,
					"F2":              `{serviceAccounts: {names: ["x' } || all() || a in {'y"]}}`,
					"F3 by selector":  `{serviceAccounts: {selector: "role = 'a'"}}`,
					"F3 beside names": `{serviceAccounts: {names: [web], selector: "role = 'a'"}}`,
					"F3 empty":        `{serviceAccounts: {}}`,
					"F6":              `{serviceAccounts: {selector: "role != 'a'"}}`,
					"F6 all":          `{serviceAccounts: {selector: "all()"}}`,
					"F7":              `{selector: "!has(pcsa.role)"}`,
					"F8":              `{serviceAccounts: {selector: "` + strings.Repeat("(", 65) + `a == 'b'` + strings.Repeat(")", 65) + `"}}`,
					"F9 selector":     `{selector: "app = 'a'"}`,
					"F9 notSelector":  `{notSelector: "app = 'a'"}`,
					"F9 namespaces":   `{namespaceSelector: "app = 'a'"}`,
				} {
					policy := fmt.Sprintf("kind: NetworkPolicy\nspec: {%s: [{action: Allow, %s: %s}]}\n", direction, end, entity)
					if err := refused(tn.create(t.Context(), tn.client, gv, policy, true), fmt.Sprintf("spec.%s[0].%s", direction, end)); err != nil {
						t.Errorf("%s in %s %s: %v", name, direction, end, err)
					}
				}
			}
		}
		for name, policy := range map[string]string{
			"F3 of the subject":       "kind: NetworkPolicy\nspec: {serviceAccountSelector: \"role = 'a'\"}",
			"F3 of a global subject":  "kind: GlobalNetworkPolicy\nspec: {serviceAccountSelector: \"role = 'a'\"}",
			"F4":                      "kind: GlobalNetworkPolicy\nspec: {ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}}}]}",
			"F4 staged":               "kind: StagedGlobalNetworkPolicy\nspec: {ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}}}]}",
			"F5 of a set":             "kind: NetworkSet\nmetadata: {name: p, labels: {pcsa.role: a}}\nspec: {nets: [10.0.0.0/8]}",
			"F5 of a global set":      "kind: GlobalNetworkSet\nmetadata: {name: p, labels: {projectcalico.org/serviceaccount: web}}\nspec: {nets: [10.0.0.0/8]}",
			"F5 of a host":            "kind: HostEndpoint\nmetadata: {name: p, labels: {pcsa.role: a}}\nspec: {node: node-1, interfaceName: eth0}",
			"F5 of a host by profile": "kind: HostEndpoint\nspec: {node: node-1, interfaceName: eth0, profiles: [ksa.prod.web]}",
			"F9 of the subject":       "kind: NetworkPolicy\nspec: {selector: \"role = 'a'\"}",
		} {
			if err := refused(tn.create(t.Context(), tn.client, gv, policy, true)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// The mirror: the same fields, well written.
		for _, policy := range []string{
			allow("{serviceAccounts: {names: [web], selector: role == 'a'}, selector: app == 'x', notSelector: app == 'y'}"),
			"kind: GlobalNetworkPolicy\nspec: {ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}, namespaceSelector: all()}}]}",
			"kind: NetworkSet\nmetadata: {name: p, labels: {role: a}}\nspec: {nets: [10.0.0.0/8]}",
			"kind: HostEndpoint\nspec: {node: node-1, interfaceName: eth0, profiles: [projectcalico-default-allow]}",
		} {
			tn.eventually("the grants", func(ctx context.Context) error { return tn.create(ctx, tn.client, gv, policy, true) })
		}
	})
}

// Calico's API server writes in its store what it has had judged before: its account is exempt by the guard, by exact name.
func TestCalicosOwnAccountsAreExemptByName(t *testing.T) {
	tn := newTenant(t)
	const server = "system:serviceaccount:calico-system:calico-apiserver"
	tn.user = server // who is granted plain RBAC on Calico's objects
	tn.grant("", rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{groups[0].Group, groups[1].Group}, Resources: []string{"*"}})
	client := tn.as(server)
	policy := allow("{serviceAccounts: {names: [web]}}")
	tn.eventually("a denial of the account that is not exempt", func(ctx context.Context) error {
		return refused(tn.create(ctx, client, groups[1], policy, true), "serviceaccounts/web")
	})
	tn.guard(fmt.Sprintf(`"policies":{"references":"Enforce","precedence":"Enforce","hygiene":"Enforce"},"exempt":{"users":[%q]}`, server))
	tn.eventually("the exemption", func(ctx context.Context) error { return tn.create(ctx, client, groups[1], policy, true) })
	tn.user = "somebody-else"
	tn.grant("", rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{groups[0].Group, groups[1].Group}, Resources: []string{"*"}})
	somebody := tn.as(tn.user)
	tn.eventually("a denial of somebody else", func(ctx context.Context) error {
		return refused(tn.create(ctx, somebody, groups[1], policy, true), "serviceaccounts/web")
	})
}

// Updates of metadata and of status are not sent: the count of decisions stands still.
func TestUpdatesThatSayNothingNewAreNotJudged(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		tn := newTenant(t)
		tn.existing(gv, allow("{serviceAccounts: {names: [web]}}"))
		obj := tn.object(gv, allow("{}"))
		total := func() float64 {
			n, err := shared.Counter(t.Context(), "saguard_admission_decisions_total", nil)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := total()
		for _, patch := range []string{`{"metadata":{"labels":{"a":"b"}}}`, `{"metadata":{"finalizers":["example.com/x"]}}`, `{"metadata":{"finalizers":null}}`} {
			if _, err := resource(tn.client, gv, obj).Patch(t.Context(), obj.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Errorf("%s: %v", patch, err)
			}
		}
		if after := total(); after != before {
			t.Errorf("%v decisions", after-before)
		}
		_, err := resource(tn.client, gv, obj).Patch(t.Context(), obj.GetName(), types.MergePatchType, []byte(`{"spec":{"order":5}}`), metav1.PatchOptions{})
		if err := refused(err, "serviceaccounts/web"); err != nil {
			t.Error(err)
		}
		if after := total(); after == before {
			t.Error("the counter does not count")
		}
	})
}

// Defaults are written where the owner of the policy says nothing, and server-side apply goes on without conflicts: for the
// owner, again and with a change, and for another applier of another field.
func TestDefaultsLiveWithServerSideApply(t *testing.T) {
	tn := newTenant(t)
	gv := groups[0]
	everybody := tn.namespace + "-everybody"
	tn.band(everybody, "default", `"order":{"min":1000,"max":2000},"default":true,"defaultOrder":1500`)
	obj := tn.object(gv, "kind: NetworkPolicy\nspec: {selector: app == 'x', egress: [{action: Allow}]}")
	apply := func(ctx context.Context, manager string, spec map[string]any, dry bool) (map[string]any, error) {
		body, err := json.Marshal(map[string]any{"apiVersion": gv.String(), "kind": obj.GetKind(), "metadata": map[string]any{"name": obj.GetName(), "namespace": tn.namespace}, "spec": spec})
		if err != nil {
			return nil, err
		}
		o := metav1.PatchOptions{FieldManager: manager}
		if dry {
			o.DryRun = []string{metav1.DryRunAll}
		}
		got, err := resource(tn.client, gv, obj).Patch(ctx, obj.GetName(), types.ApplyPatchType, body, o)
		if err != nil {
			return nil, err
		}
		out, _, err := unstructured.NestedMap(got.Object, "spec")
		return out, err
	}
	defaulted := func(spec map[string]any) error {
		text, err := json.Marshal([]any{spec["tier"], spec["order"], spec["types"]})
		if err != nil {
			return err
		}
		if want := `["default",1500,["Egress"]]`; string(text) != want {
			return fmt.Errorf("tier, order and types %s, want %s", text, want)
		}
		return nil
	}
	own := func() map[string]any {
		return map[string]any{"selector": "app == 'x'", "egress": []any{map[string]any{"action": "Allow"}}}
	}
	tn.eventually("the band", func(ctx context.Context) error {
		spec, err := apply(ctx, "owner", own(), true)
		if err != nil {
			return err
		}
		return defaulted(spec)
	})
	for range 2 {
		spec, err := apply(t.Context(), "owner", own(), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := defaulted(spec); err != nil {
			t.Error(err)
		}
	}
	changed := own()
	changed["selector"] = "app == 'y'"
	spec, err := apply(t.Context(), "owner", changed, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := defaulted(spec); err != nil || spec["selector"] != "app == 'y'" {
		t.Error(err, spec)
	}
	// Another applier owns one field and takes nothing from the owner.
	if spec, err = apply(t.Context(), "other", map[string]any{"performanceHints": []any{"AssumeNeededOnEveryNode"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := defaulted(spec); err != nil {
		t.Error(err)
	}
	if spec, err = apply(t.Context(), "owner", own(), false); err != nil {
		t.Fatal(err)
	}
	if err := defaulted(spec); err != nil || spec["performanceHints"] == nil {
		t.Error(err, spec)
	}
	// The owner may say otherwise.
	changed["order"] = 1700
	if spec, err = apply(t.Context(), "owner", changed, false); err != nil || fmt.Sprint(spec["order"]) != "1700" {
		t.Error(err, spec["order"])
	}
}

// 1,000 rules of selectors that ask for as much as they can are answered by a denial, well within the webhook's timeout.
func TestHostilePolicyIsAnsweredInTime(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		tn := newTenant(t)
		var rules []string
		for i := range 1000 {
			var values []string
			for j := range 60 {
				values = append(values, fmt.Sprintf("'v%d-%d'", i, j))
			}
			rules = append(rules, fmt.Sprintf(`{"action":"Allow","source":{"serviceAccounts":{"selector":%q}}}`, strings.Repeat("!!(", 60)+"role in {"+strings.Join(values, ",")+"}"+strings.Repeat(")", 60)))
		}
		policy := `{"kind":"NetworkPolicy","spec":{"ingress":[` + strings.Join(rules, ",") + `]}}`
		started := time.Now()
		err := tn.create(t.Context(), tn.client, gv, policy, true)
		took := time.Since(started)
		if err := refused(err, "you may not"); err != nil {
			t.Fatal(err)
		}
		t.Logf("answered in %v", took)
		if took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if status, ok := errors.AsType[*apierrors.StatusError](err); !ok || len(status.ErrStatus.Message) > 16<<10 {
			t.Error("the message is too long to read")
		}
	})
}
