package rbac

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Aggregate returns a copy of roles, in their order, in which every ClusterRole with an aggregationRule has the rules of the
// ClusterRoles its selectors choose, as the cluster's clusterrole-aggregation controller would write them: for manifests that
// no controller has seen. The rules such a role came with are dropped, as the controller drops them. Roles may aggregate
// aggregated roles, also in a circle: the result is the least set of rules that satisfies every aggregationRule.
//
// A selector that does not parse is an error (a field.ErrorList, paths "roles[NAME].aggregationRule.clusterRoleSelectors[i]")
// and leaves its role without rules (fails closed); all others are computed.
func Aggregate(roles []rbacv1.ClusterRole) ([]rbacv1.ClusterRole, error) {
	out := make([]rbacv1.ClusterRole, len(roles))
	for i := range roles {
		roles[i].DeepCopyInto(&out[i])
	}
	// The controller lists the selected roles by name.
	byName := make([]*rbacv1.ClusterRole, len(out))
	for i := range out {
		byName[i] = &out[i]
	}
	slices.SortStableFunc(byName, func(a, b *rbacv1.ClusterRole) int { return cmp.Compare(a.Name, b.Name) })

	var errs field.ErrorList
	sources := map[*rbacv1.ClusterRole][]*rbacv1.ClusterRole{}
	for _, r := range byName {
		if r.AggregationRule == nil {
			continue
		}
		r.Rules = nil
		chosen, err := aggregationSources(r, byName)
		errs = append(errs, err...)
		if len(err) == 0 {
			sources[r] = chosen
		}
	}
	// Each pass only adds rules, so the number of rules tells when nothing is left to add.
	for grown := true; grown; {
		grown = false
		for _, r := range byName {
			if rules := unionRules(sources[r]); len(rules) > len(r.Rules) {
				r.Rules, grown = rules, true
			}
		}
	}
	// Once more, now that all are complete: the order of the rules must not depend on the passes it took.
	ordered := map[*rbacv1.ClusterRole][]rbacv1.PolicyRule{}
	for r, from := range sources {
		ordered[r] = unionRules(from)
	}
	for r, rules := range ordered {
		r.Rules = rules
	}
	return out, errs.ToAggregate()
}

func aggregationSources(r *rbacv1.ClusterRole, byName []*rbacv1.ClusterRole) ([]*rbacv1.ClusterRole, field.ErrorList) {
	var errs field.ErrorList
	var chosen []*rbacv1.ClusterRole
	path := field.NewPath("roles").Key(r.Name).Child("aggregationRule", "clusterRoleSelectors")
	for i := range r.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&r.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			errs = append(errs, field.Invalid(path.Index(i), r.AggregationRule.ClusterRoleSelectors[i], err.Error()))
			continue
		}
		for _, other := range byName {
			if other.Name != r.Name && selector.Matches(labels.Set(other.Labels)) {
				chosen = append(chosen, other)
			}
		}
	}
	return chosen, errs
}

// unionRules joins the roles' rules in order, each once.
func unionRules(roles []*rbacv1.ClusterRole) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	seen := map[string]bool{}
	for _, r := range roles {
		for i := range r.Rules {
			key := ruleKey(&r.Rules[i])
			if !seen[key] {
				seen[key] = true
				rules = append(rules, *r.Rules[i].DeepCopy())
			}
		}
	}
	return rules
}

// ruleKey is equal for rules that are equal as the controller compares them: an absent list is an empty one, order counts.
func ruleKey(r *rbacv1.PolicyRule) string {
	var b strings.Builder
	for _, list := range [][]string{r.Verbs, r.APIGroups, r.Resources, r.ResourceNames, r.NonResourceURLs} {
		fmt.Fprintf(&b, "%d;", len(list))
		for _, s := range list {
			b.WriteString(strconv.Quote(s))
		}
	}
	return b.String()
}
