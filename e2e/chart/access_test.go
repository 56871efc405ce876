package chart

import (
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// TestPermissionsAreExactlyThese spells out every atomic permission: a new one needs a line here and a reason in the role.
func TestPermissionsAreExactlyThese(t *testing.T) {
	read := []string{"get", "list", "watch"}
	want := map[string]bool{
		"ns: create leases.coordination.k8s.io":                 true,
		"ns: get leases.coordination.k8s.io/saguard-webhook":    true,
		"ns: update leases.coordination.k8s.io/saguard-webhook": true,
		"ns: patch leases.coordination.k8s.io/saguard-webhook":  true,
		"create subjectaccessreviews.authorization.k8s.io":      true,
	}
	for _, verb := range read {
		for _, resource := range []string{
			"namespaces.", "pods.", "serviceaccounts.",
			"roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
			"rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
			"serviceaccountguards.saguard.io", "policybands.saguard.io",
		} {
			want[verb+" "+resource] = true
		}
		for _, group := range []string{"projectcalico.org", "crd.projectcalico.org"} {
			for _, resource := range []string{"networkpolicies", "globalnetworkpolicies", "stagednetworkpolicies", "stagedglobalnetworkpolicies", "tiers"} {
				want[verb+" "+resource+"."+group] = true
			}
		}
	}
	for _, verb := range []string{"update", "patch"} {
		want[verb+" serviceaccountguards/status.saguard.io"] = true
		want[verb+" policybands/status.saguard.io"] = true
	}

	for name, values := range cases {
		if name == "nothing-optional" {
			continue
		}
		rendered := render(t, values)
		got := map[string]bool{}
		add(got, "", one[*rbacv1.ClusterRole](t, rendered).Rules)
		add(got, "ns: ", one[*rbacv1.Role](t, rendered).Rules)
		if !maps.Equal(got, want) {
			for permission := range got {
				if !want[permission] {
					t.Errorf("%s: grants %q, which the test does not list", name, permission)
				}
			}
			for permission := range want {
				if !got[permission] {
					t.Errorf("%s: does not grant %q", name, permission)
				}
			}
		}
		for _, subjects := range [][]rbacv1.Subject{
			one[*rbacv1.ClusterRoleBinding](t, rendered).Subjects, one[*rbacv1.RoleBinding](t, rendered).Subjects,
		} {
			account := one[*appsv1.Deployment](t, rendered).Spec.Template.Spec.ServiceAccountName
			if !slices.Equal(subjects, []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: "saguard-system"}}) {
				t.Errorf("%s: bound to %v, not to the pods' account %s alone", name, subjects, account)
			}
		}
	}
}

func add(to map[string]bool, prefix string, rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					permission := prefix + verb + " " + resource + "." + group
					if len(rule.ResourceNames) == 0 {
						to[permission] = true
					}
					for _, name := range rule.ResourceNames {
						to[permission+"/"+name] = true
					}
				}
			}
		}
		for _, url := range rule.NonResourceURLs {
			to[prefix+"URL "+url] = true
		}
	}
}

func TestPodsSatisfyThePodSecurityStandardRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, values := range cases {
		template := one[*appsv1.Deployment](t, render(t, values)).Spec.Template
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec))
		// The host's network is what the value hostNetwork asks for; nothing else may be in the way.
		if want := !template.Spec.HostNetwork; result.Allowed != want {
			t.Errorf("%s: allowed %v, want %v: %s", name, result.Allowed, want, result.ForbiddenDetail())
		}
		for _, container := range template.Spec.Containers {
			if c := container.SecurityContext; c == nil || c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem {
				t.Errorf("%s: container %s may write its root file system", name, container.Name)
			}
		}
	}
}
