package cli

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/saguard/saguard/internal/hollow"
	"github.com/saguard/saguard/rbac"
)

// autoupdate is the annotation that, set to "false", keeps the API server from restoring a default role when it starts
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation).
const autoupdate = "rbac.authorization.kubernetes.io/autoupdate"

// hollowRoles are the ClusterRoles that come with Kubernetes, are meant for tenants and hold powers that admission never sees.
func hollowRoles() []string { return []string{"edit", "admin"} }

// closingRoles returns the ClusterRoles, changed so that edit and admin let nobody impersonate, that close the hole for every binding of
// these at once: not edit and admin themselves, whose rules the cluster's controller writes, but what they aggregate.
func closingRoles(o *rbacObjects) []rbacv1.ClusterRole {
	impersonate := hasImpersonation()
	var out []rbacv1.ClusterRole
	for _, r := range aggregatedBy(o.ClusterRoles, hollowRoles()) {
		closed := rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: rbac.KindClusterRole},
			ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: r.Labels, Annotations: map[string]string{autoupdate: "false"}},
		}
		changed := false
		for _, rule := range r.Rules {
			if hollow.IsWildcard(&rule) || len(impersonate.GrantedBy(&rule)) == 0 {
				closed.Rules = append(closed.Rules, rule)
				continue
			}
			changed = true
			rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return strings.HasPrefix(v, "impersonate") })
			if len(rule.Verbs) > 0 {
				closed.Rules = append(closed.Rules, rule)
			}
		}
		if changed {
			out = append(out, closed)
		}
	}
	return out
}

// aggregatedBy returns the ClusterRoles with rules of their own that end up in the named ones, these included, sorted by name.
func aggregatedBy(all []rbacv1.ClusterRole, names []string) []rbacv1.ClusterRole {
	seen := map[string]bool{}
	var out []rbacv1.ClusterRole
	var visit func(r *rbacv1.ClusterRole)
	visit = func(r *rbacv1.ClusterRole) {
		if seen[r.Name] {
			return
		}
		seen[r.Name] = true
		if r.AggregationRule == nil {
			out = append(out, *r)
			return
		}
		for _, s := range r.AggregationRule.ClusterRoleSelectors {
			selector, err := metav1.LabelSelectorAsSelector(&s)
			if err != nil {
				continue // the controller aggregates nothing by it
			}
			for i := range all {
				if selector.Matches(labels.Set(all[i].Labels)) {
					visit(&all[i])
				}
			}
		}
	}
	for i := range all {
		if slices.Contains(names, all[i].Name) {
			visit(&all[i])
		}
	}
	slices.SortFunc(out, func(a, b rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// hollowNotes says what edit and admin do to a guard, and who has them.
func hollowNotes(o *rbacObjects) []string {
	if len(closingRoles(o)) == 0 {
		return nil
	}
	bound := 0
	for _, b := range o.Bindings() {
		if b.Role.Kind == rbac.KindClusterRole && slices.Contains(hollowRoles(), b.Role.Name) {
			bound += len(b.Subjects)
		}
	}
	return []string{
		fmt.Sprintf("the built-in ClusterRoles %s let their holders impersonate every service account of the namespace, which admission never sees: "+
			"for them a guard is hollow (subjects bound to one of them here: %d)", strings.Join(hollowRoles(), " and "), bound),
		"to close that, for all bindings at once: kubectl saguard lint --fix | kubectl apply -f -",
	}
}

// fixNotes says what else it takes.
func fixNotes(closed []rbacv1.ClusterRole) []string {
	if len(closed) == 0 {
		return []string{"nothing to close: edit and admin let nobody impersonate"}
	}
	var names []string
	for i := range closed {
		names = append(names, closed[i].Name)
	}
	return []string{
		fmt.Sprintf("annotation %s=false keeps the API server from undoing this; an upgrade of Kubernetes then no longer adds its new rules to %s: compare them after one",
			autoupdate, strings.Join(names, ", ")),
		"edit and admin keep pods/exec, serviceaccounts/token and secrets: a ServiceAccountGuard with workloads.connect and workloads.tokens Enforce judges those",
		"they also read Secrets: delete those of type kubernetes.io/service-account-token, which hold tokens that never expire",
	}
}
