package rbac

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// role is a Role's or ClusterRole's resource rules, trimmed to what decides. It is immutable and shares nothing with the object.
type role struct {
	// verbs is the union of the rules' verbs: most roles are passed over by it without looking at a rule.
	verbs []string
	rules []rule
}

type rule struct {
	index                           int
	verbs, groups, resources, names []string
}

// compileRole copies rules. Rules about non-resource URLs have no resources, so they answer no question and are left out.
func compileRole(rules []rbacv1.PolicyRule) *role {
	r := &role{}
	for i := range rules {
		in := &rules[i]
		if len(in.Verbs) == 0 || len(in.APIGroups) == 0 || len(in.Resources) == 0 {
			continue
		}
		r.rules = append(r.rules, rule{
			index: i, verbs: slices.Clone(in.Verbs), groups: slices.Clone(in.APIGroups),
			resources: slices.Clone(in.Resources), names: slices.Clone(in.ResourceNames),
		})
		r.verbs = append(r.verbs, in.Verbs...)
	}
	slices.Sort(r.verbs)
	r.verbs = slices.Clip(slices.Compact(r.verbs))
	return r
}

func (r *role) equal(o *role) bool {
	return slices.EqualFunc(r.rules, o.rules, func(a, b rule) bool {
		return a.index == b.index && slices.Equal(a.verbs, b.verbs) && slices.Equal(a.groups, b.groups) &&
			slices.Equal(a.resources, b.resources) && slices.Equal(a.names, b.names)
	})
}

// allows returns the index of the first rule that allows q.
func (r *role) allows(q *Question) (int, bool) {
	if !holds(r.verbs, q.Verb) {
		return 0, false
	}
	for i := range r.rules {
		if r.rules[i].allows(q) {
			return r.rules[i].index, true
		}
	}
	return 0, false
}

// allows follows VerbMatches, APIGroupMatches, ResourceMatches and ResourceNameMatches of
// k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go.
func (r *rule) allows(q *Question) bool {
	return holds(r.verbs, q.Verb) && holds(r.groups, q.Group) && r.hasResource(q) && r.hasName(q)
}

// holds reports that list has "*" (rbacv1.VerbAll and APIGroupAll) or s.
func holds(list []string, s string) bool {
	for _, l := range list {
		if l == s || l == "*" {
			return true
		}
	}
	return false
}

// hasResource accepts "*", the exact RESOURCE or RESOURCE/SUBRESOURCE, and "*/SUBRESOURCE". "RESOURCE/*" is no wildcard to RBAC.
func (r *rule) hasResource(q *Question) bool {
	for _, have := range r.resources {
		if have == rbacv1.ResourceAll {
			return true
		}
		if q.Subresource == "" {
			if have == q.Resource {
				return true
			}
			continue
		}
		cut := len(have) - len(q.Subresource) - 1
		if cut < 0 || have[cut] != '/' || have[cut+1:] != q.Subresource {
			continue
		}
		if of := have[:cut]; of == "*" || of == q.Resource {
			return true
		}
	}
	return false
}

func (r *rule) hasName(q *Question) bool {
	if len(r.names) == 0 {
		return true
	}
	for _, n := range r.names {
		if q.Name.Matches(n) {
			return true
		}
	}
	return false
}
