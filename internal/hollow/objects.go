package hollow

import rbacv1 "k8s.io/api/rbac/v1"

// Objects is the RBAC of a cluster, or of files. ClusterRoles are aggregated already.
type Objects struct {
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// ObjectName names an object of RBAC, or a subject; Namespace is "" for what has none.
type ObjectName struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String returns "KIND NAMESPACE/NAME", or "-" for nil.
func (n *ObjectName) String() string {
	switch {
	case n == nil:
		return "-"
	case n.Namespace != "":
		return n.Kind + " " + n.Namespace + "/" + n.Name
	default:
		return n.Kind + " " + n.Name
	}
}
