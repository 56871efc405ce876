package helmtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/policy"
)

// granted are the atomic permissions of the chart's roles for an account: verb, resource and group.
func granted(t *testing.T, objects []*unstructured.Unstructured, name string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, object := range objects {
		if object.GetName() != name || !slices.Contains([]string{"ClusterRole", "Role"}, object.GetKind()) {
			continue
		}
		role := &rbacv1.ClusterRole{}
		object.SetKind("ClusterRole")
		convert(t, object, role)
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						out[verb+" "+strings.TrimSuffix(resource+"."+group, ".")] = true
					}
				}
			}
		}
	}
	return out
}

// TestPermissionsOfTheWebhookAreUsed compares what its role grants with what the API server's audit log says it asked for. What is
// asked only in need has its reason here. The other direction needs no test: the API server refuses what is not granted.
func TestPermissionsOfTheWebhookAreUsed(t *testing.T) {
	w := shared
	account, err := identity.NewServiceAccount(install.Namespace, "saguard")
	if err != nil {
		t.Fatal(err)
	}
	// Something for the webhook to look at, and to write: a guard whose status says so.
	for _, object := range w.rendered(t, "-set", "guard.create=true", "-set", "profile=audit-only") {
		if object.GetKind() == "ServiceAccountGuard" {
			w.apply(t, object)
		}
	}
	w.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "saguard.io/v1alpha1", "kind": "PolicyBand", "metadata": map[string]any{"name": "developer"},
		"spec": map[string]any{"tiers": []any{"default"}, "order": map[string]any{"min": int64(1), "max": int64(2)}},
	}})
	t.Cleanup(func() {
		if _, err := w.Kubectl(contextWithout(t), w.Admin, "delete", "serviceaccountguards,policybands", "--all"); err != nil {
			t.Error(err)
		}
	})
	// A permission that the index does not know of.
	w.must(t, "create", "clusterrole", "asker", "--verb=create", "--resource=deployments.apps")
	w.must(t, "create", "clusterrolebinding", "asker", "--clusterrole=asker", "--user=asker")
	asker, err := w.CP.Kubeconfig("asker")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the guard to be in force", func(ctx context.Context) error {
		_, err := w.Kubectl(ctx, asker, "create", "deployment", "asked", "--image=example.com/x", "--dry-run=server")
		return err
	})
	grants := slices.Sorted(maps.Keys(granted(t, w.rendered(t), "saguard")))
	eventually(t, "every permission to be used", func(context.Context) error {
		events, err := w.CP.AuditEvents(func(e *auditv1.Event) bool { return e.User.Username == account.Username() && e.ObjectRef != nil })
		if err != nil {
			return err
		}
		used := map[string]bool{}
		for i := range events {
			ref := events[i].ObjectRef
			resource := ref.Resource
			if ref.Subresource != "" {
				resource += "/" + ref.Subresource
			}
			used[events[i].Verb+" "+strings.TrimSuffix(resource+"."+ref.APIGroup, ".")] = true
		}
		unused := slices.DeleteFunc(slices.Clone(grants), func(permission string) bool { return used[permission] || onlyInNeed(permission, used) })
		if len(unused) > 0 {
			return fmt.Errorf("granted and not used: %q", unused)
		}
		return nil
	})
}

// onlyInNeed reports whether a permission goes with others that were used.
func onlyInNeed(permission string, used map[string]bool) bool {
	verb, resource, _ := strings.Cut(permission, " ")
	switch {
	case verb == "list" && used["watch "+resource]:
		return true // where the API server does not send a list as a watch
	case verb == "get" && (used["watch "+resource] || used["list "+resource]):
		return true // shows no more than the other, and asks for an object that is not known, or not any more
	case strings.Contains(resource, "/status") && (used["patch "+resource] || used["update "+resource]):
		return true // the one is granted with the other
	default:
		return strings.HasSuffix(resource, ".openreports.io") // where OpenReports is
	}
}

// TestPermissionsOfTheAgentAreThoseOfItsSources: it lists and watches what internal/watch follows, and nothing else.
func TestPermissionsOfTheAgentAreThoseOfItsSources(t *testing.T) {
	w := shared
	api, err := watch.NewPolicyAPI(w.CP.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"get nodes":                         true, // the owner of the Lease
		"create leases.coordination.k8s.io": true, // the state of the node
		"patch leases.coordination.k8s.io":  true,
		"list nodes":                        true, // spec.podCIDRs, where they are not given
		"watch nodes":                       true,
	}
	for _, source := range api.Policies(state.NewPolicies(policy.Strict, time.Now), nil) {
		for _, verb := range []string{"list", "watch"} {
			want[verb+" "+source.Name] = true
		}
		// Calico's API server shows policies of those tiers only that one may get, and asks for each tier by a resource of its own.
		resource, group, _ := strings.Cut(source.Name, ".")
		if strings.HasSuffix(group, "projectcalico.org") {
			want["get "+source.Name] = true
			if strings.HasSuffix(resource, "networkpolicies") {
				for _, verb := range []string{"get", "list", "watch"} {
					want[verb+" tier."+source.Name] = true
				}
			}
		}
	}
	got := granted(t, w.rendered(t, "-set", "agent.enabled=true"), "saguard-agent")
	if !maps.Equal(got, want) {
		t.Errorf("granted\n%q\nwant\n%q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
