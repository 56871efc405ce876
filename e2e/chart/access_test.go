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
			for _, resource := range []string{"networkpolicies", "globalnetworkpolicies", "tiers"} {
				want[verb+" "+resource+"."+group] = true
			}
		}
	}
	for _, verb := range []string{"update", "patch"} {
		want[verb+" serviceaccountguards/status.saguard.io"] = true
		want[verb+" policybands/status.saguard.io"] = true
	}

	withoutScan := maps.Clone(cases)
	withoutScan["no-scan"] = `{webhook: {scan: {interval: 0s}}}`
	for name, values := range withoutScan {
		if name == "nothing-optional" {
			continue
		}
		rendered := render(t, values)
		want := maps.Clone(want)
		if name != "no-scan" {
			maps.Copy(want, scanPermissions(name == "everything"))
		}
		if secret := selfRotating(t, rendered); secret != "" {
			maps.Copy(want, selfRotatingPermissions(secret))
		}
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

// scanPermissions are those of the background scan, with the custom workloads of the case "everything" or without.
func scanPermissions(custom bool) map[string]bool {
	out := map[string]bool{}
	resources := []string{
		"podtemplates.", "replicationcontrollers.", "controllerrevisions.apps", "daemonsets.apps", "deployments.apps", "replicasets.apps",
		"statefulsets.apps", "cronjobs.batch", "jobs.batch",
	}
	for _, group := range []string{"projectcalico.org", "crd.projectcalico.org"} {
		for _, resource := range []string{"stagednetworkpolicies", "stagedglobalnetworkpolicies", "networksets", "globalnetworksets", "hostendpoints"} {
			resources = append(resources, resource+"."+group)
		}
	}
	if custom {
		resources = append(resources, "rollouts.argoproj.io", "jobsets.jobset.x-k8s.io")
	}
	for _, resource := range resources {
		out["get "+resource], out["list "+resource] = true, true
	}
	for _, verb := range []string{"get", "list", "create", "update", "delete"} {
		out[verb+" reports.openreports.io"], out[verb+" clusterreports.openreports.io"] = true, true
	}
	return out
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

// TestAgentsPodsViolateExactlyThisOfThePodSecurityStandards: the README of the chart says why of each.
func TestAgentsPodsViolateExactlyThisOfThePodSecurityStandards(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const (
		network = "host namespaces"
		path    = "hostPath volumes" // of restricted: the next
		volume  = "restricted volume types"
		port    = "hostPort"
		probe   = "probe or lifecycle host"  // on loopback, so that nobody else reads the health endpoint
		ability = "non-default capabilities" // of restricted: the next
		drop    = "unrestricted capabilities"
		root    = "runAsNonRoot != true"
		uid     = "runAsUser=0"
	)
	tests := map[string]struct{ baseline, restricted []string }{
		"agent":            {baseline: []string{ability, network, path, port, probe}, restricted: []string{drop, network, port, probe, root, uid, volume}},
		"agent-nft":        {baseline: []string{ability, network, port, probe}, restricted: []string{drop, network, port, probe, root, uid}},
		"agent-everything": {baseline: []string{ability, network, path, port, probe}, restricted: []string{drop, network, port, probe, root, uid, volume}},
	}
	for name, test := range tests {
		template := one[*appsv1.DaemonSet](t, render(t, agentCases[name])).Spec.Template
		for level, want := range map[api.Level][]string{api.LevelPrivileged: nil, api.LevelBaseline: test.baseline, api.LevelRestricted: test.restricted} {
			var got []string
			for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &template.ObjectMeta, &template.Spec) {
				if !result.Allowed {
					got = append(got, result.ForbiddenReason)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s: violates\n%q\nwant\n%q", name, level, got, want)
			}
		}
	}
}
