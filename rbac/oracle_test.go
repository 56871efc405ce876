package rbac_test

import (
	"cmp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// oracle decides by walking all objects, as the rules of RBAC are written down. It shares no code with the package but
// Name.Candidates, which is tested against nameCandidates below.
type oracle struct{ world rbactest.World }

func (o oracle) authorize(s identity.Subject, q rbac.Question) (rbac.Grant, bool) {
	if slices.Contains(s.Groups, "system:masters") {
		return rbac.Grant{Group: "system:masters"}, true
	}
	clusterBindings := slices.Clone(o.world.ClusterRoleBindings)
	slices.SortFunc(clusterBindings, func(a, b rbacv1.ClusterRoleBinding) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range clusterBindings {
		if b.RoleRef.Kind != "ClusterRole" || !boundTo(s, b.Subjects, "") {
			continue
		}
		if rule, ok := ruleThatAllows(o.rules(b.RoleRef, ""), q); ok {
			return rbac.Grant{
				BindingKind: "ClusterRoleBinding", BindingName: b.Name, RoleKind: b.RoleRef.Kind, RoleName: b.RoleRef.Name, Rule: rule,
			}, true
		}
	}
	if q.Namespace == "" {
		return rbac.Grant{}, false
	}
	bindings := slices.Clone(o.world.RoleBindings)
	slices.SortFunc(bindings, func(a, b rbacv1.RoleBinding) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range bindings {
		if b.Namespace != q.Namespace || !boundTo(s, b.Subjects, b.Namespace) {
			continue
		}
		if rule, ok := ruleThatAllows(o.rules(b.RoleRef, b.Namespace), q); ok {
			return rbac.Grant{
				BindingKind: "RoleBinding", BindingNamespace: b.Namespace, BindingName: b.Name,
				RoleKind: b.RoleRef.Kind, RoleName: b.RoleRef.Name, Rule: rule,
			}, true
		}
	}
	return rbac.Grant{}, false
}

func (o oracle) rules(ref rbacv1.RoleRef, namespace string) []rbacv1.PolicyRule {
	for _, r := range o.world.ClusterRoles {
		if ref.Kind == "ClusterRole" && r.Name == ref.Name {
			return r.Rules
		}
	}
	for _, r := range o.world.Roles {
		if ref.Kind == "Role" && r.Name == ref.Name && r.Namespace == namespace {
			return r.Rules
		}
	}
	return nil
}

func boundTo(s identity.Subject, subjects []rbacv1.Subject, namespace string) bool {
	return slices.ContainsFunc(subjects, func(b rbacv1.Subject) bool {
		switch b.Kind {
		case "User":
			return b.Name == s.User
		case "Group":
			return slices.Contains(s.Groups, b.Name)
		case "ServiceAccount":
			if b.Namespace == "" {
				b.Namespace = namespace
			}
			return b.Namespace != "" && s.User == "system:serviceaccount:"+b.Namespace+":"+b.Name
		default:
			return false
		}
	})
}

func ruleThatAllows(rules []rbacv1.PolicyRule, q rbac.Question) (int, bool) {
	for i, r := range rules {
		for _, name := range q.Name.Candidates() {
			if ruleAllows(r, q, name) {
				return i, true
			}
		}
	}
	return 0, false
}

func ruleAllows(r rbacv1.PolicyRule, q rbac.Question, name string) bool {
	resource, wildcard := q.Resource, "*"
	if q.Subresource != "" {
		resource, wildcard = q.Resource+"/"+q.Subresource, "*/"+q.Subresource
	}
	hasAny := func(list []string, wanted ...string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(list, w) })
	}
	return hasAny(r.Verbs, "*", q.Verb) && hasAny(r.APIGroups, "*", q.Group) && hasAny(r.Resources, "*", resource, wildcard) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, name))
}

// nameCandidates is what answers a label, written out.
func nameCandidates(account, key, value string) []string {
	list := []string{key + "=" + value, key + "=*"}
	if prefix, _, ok := strings.Cut(key, "/"); ok && prefix != "" {
		list = append(list, prefix+"/*")
	}
	if account != "" {
		for _, n := range slices.Clone(list) {
			list = append(list, account+":"+n)
		}
		list = append(list, account+":*")
	}
	return list
}
