package cli

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
)

// rbacObjects is the RBAC of a cluster, or of files.
type rbacObjects struct {
	roles               []rbacv1.Role
	roleBindings        []rbacv1.RoleBinding
	clusterRoles        []rbacv1.ClusterRole
	clusterRoleBindings []rbacv1.ClusterRoleBinding
}

func (o *rbacObjects) index() *rbac.Index {
	s := rbac.NewStore()
	s.ReplaceClusterRoles(o.clusterRoles)
	s.ReplaceRoles(o.roles)
	s.ReplaceClusterRoleBindings(o.clusterRoleBindings)
	s.ReplaceRoleBindings(o.roleBindings)
	return s.Snapshot()
}

// dangling returns a sentence for each binding whose role is not there: it grants nothing here, and maybe something in a cluster.
func (o *rbacObjects) dangling() []string {
	known := map[string]bool{}
	for i := range o.roles {
		known[rbac.KindRole+"/"+o.roles[i].Namespace+"/"+o.roles[i].Name] = true
	}
	for i := range o.clusterRoles {
		known[rbac.KindClusterRole+"//"+o.clusterRoles[i].Name] = true
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
	for i := range o.clusterRoleBindings {
		note(rbac.KindClusterRoleBinding, &o.clusterRoleBindings[i].ObjectMeta, o.clusterRoleBindings[i].RoleRef)
	}
	for i := range o.roleBindings {
		note(rbac.KindRoleBinding, &o.roleBindings[i].ObjectMeta, o.roleBindings[i].RoleRef)
	}
	slices.Sort(out)
	return out
}
