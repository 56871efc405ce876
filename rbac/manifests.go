package rbac

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Manifests are RBAC objects to be shown to somebody who may apply them. They have their TypeMeta.
type Manifests struct {
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// GrantManifests returns the least RBAC that allows subject every question: for each namespace a Role and RoleBinding, for the
// cluster-wide questions a ClusterRole and ClusterRoleBinding, all of the given name, sorted by namespace. Of a label the
// plain KEY=VALUE is granted, which is what Question.CanI asks for.
//
// It grants nothing: who applies the manifests must hold the rights or `escalate`, which the API server checks.
func GrantManifests(name string, subject rbacv1.Subject, questions []Question) (Manifests, error) {
	if name == "" {
		return Manifests{}, errors.New("make grant manifests: no name")
	}
	if subject.Name == "" || subject.Kind == rbacv1.ServiceAccountKind && subject.Namespace == "" {
		return Manifests{}, fmt.Errorf("make grant manifests: incomplete subject %s %q", subject.Kind, subject.Name)
	}
	byNamespace := map[string][]Question{}
	for _, q := range questions {
		if q.Verb == "" || q.Resource == "" {
			return Manifests{}, fmt.Errorf("make grant manifests: incomplete question %q", q)
		}
		byNamespace[q.Namespace] = append(byNamespace[q.Namespace], q)
	}
	var m Manifests
	for _, ns := range slices.Sorted(maps.Keys(byNamespace)) {
		rules := leastRules(byNamespace[ns])
		meta := metav1.ObjectMeta{Name: name, Namespace: ns}
		subjects := []rbacv1.Subject{subject}
		if ns == "" {
			m.ClusterRoles = append(m.ClusterRoles, rbacv1.ClusterRole{TypeMeta: typeMeta(KindClusterRole), ObjectMeta: meta, Rules: rules})
			m.ClusterRoleBindings = append(m.ClusterRoleBindings, rbacv1.ClusterRoleBinding{
				TypeMeta: typeMeta(KindClusterRoleBinding), ObjectMeta: meta, Subjects: subjects,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: KindClusterRole, Name: name},
			})
			continue
		}
		m.Roles = append(m.Roles, rbacv1.Role{TypeMeta: typeMeta(KindRole), ObjectMeta: meta, Rules: rules})
		m.RoleBindings = append(m.RoleBindings, rbacv1.RoleBinding{
			TypeMeta: typeMeta(KindRoleBinding), ObjectMeta: meta, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: KindRole, Name: name},
		})
	}
	return m, nil
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

// leastRules returns rules that allow the questions (of one namespace) and no others, sorted. Names are put together only
// under one verb and resource, and verbs only over equal names: anything wider would be a cross product.
func leastRules(questions []Question) []rbacv1.PolicyRule {
	type target struct{ group, resource string }
	type permission struct {
		target
		verb string
	}
	names := map[permission][]string{}
	for _, q := range questions {
		p := permission{target{q.Group, q.CombinedResource()}, q.Verb}
		names[p] = append(names[p], q.Name.String())
	}
	var rules []rbacv1.PolicyRule
	for p, list := range names {
		slices.Sort(list)
		list = slices.Compact(list)
		if list[0] == "" { // any name: the others are allowed by that
			list = nil
		}
		same := slices.IndexFunc(rules, func(r rbacv1.PolicyRule) bool {
			return r.APIGroups[0] == p.group && r.Resources[0] == p.resource && slices.Equal(r.ResourceNames, list)
		})
		if same >= 0 {
			rules[same].Verbs = append(rules[same].Verbs, p.verb)
			continue
		}
		rules = append(rules, rbacv1.PolicyRule{
			Verbs: []string{p.verb}, APIGroups: []string{p.group}, Resources: []string{p.resource}, ResourceNames: list,
		})
	}
	for i := range rules {
		slices.Sort(rules[i].Verbs)
	}
	slices.SortFunc(rules, func(a, b rbacv1.PolicyRule) int {
		return cmp.Or(strings.Compare(a.APIGroups[0], b.APIGroups[0]), strings.Compare(a.Resources[0], b.Resources[0]),
			slices.Compare(a.Verbs, b.Verbs), slices.Compare(a.ResourceNames, b.ResourceNames))
	})
	return rules
}
