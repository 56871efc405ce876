package cli

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
)

// indexOf is the engine's index of the objects.
func indexOf(o *rbacObjects) *rbac.Index {
	s := rbac.NewStore()
	s.ReplaceClusterRoles(o.ClusterRoles)
	s.ReplaceRoles(o.Roles)
	s.ReplaceClusterRoleBindings(o.ClusterRoleBindings)
	s.ReplaceRoleBindings(o.RoleBindings)
	return s.Snapshot()
}

// dangling returns a sentence for each binding whose role is not there: it grants nothing here, and maybe something in a cluster.
func dangling(o *rbacObjects) []string {
	known := map[string]bool{}
	for i := range o.Roles {
		known[rbac.KindRole+"/"+o.Roles[i].Namespace+"/"+o.Roles[i].Name] = true
	}
	for i := range o.ClusterRoles {
		known[rbac.KindClusterRole+"//"+o.ClusterRoles[i].Name] = true
	}
	var out []string
	note := func(kind string, meta *metav1.ObjectMeta, ref rbacv1.RoleRef) {
		namespace := ""
		if ref.Kind == rbac.KindRole {
			namespace = meta.Namespace
		}
		if !known[ref.Kind+"/"+namespace+"/"+ref.Name] {
			name := meta.Name
			if meta.Namespace != "" {
				name = meta.Namespace + "/" + name
			}
			out = append(out, fmt.Sprintf("%s %s refers to %s %s, which is not there: what it grants is unknown", kind, name, ref.Kind, ref.Name))
		}
	}
	for i := range o.ClusterRoleBindings {
		note(rbac.KindClusterRoleBinding, &o.ClusterRoleBindings[i].ObjectMeta, o.ClusterRoleBindings[i].RoleRef)
	}
	for i := range o.RoleBindings {
		note(rbac.KindRoleBinding, &o.RoleBindings[i].ObjectMeta, o.RoleBindings[i].RoleRef)
	}
	slices.Sort(out)
	return out
}
