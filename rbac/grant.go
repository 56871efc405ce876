package rbac

import (
	"cmp"
	"strconv"

	"github.com/saguard/saguard/internal/identity"
)

// Kinds of RBAC objects, as in their manifests.
const (
	KindRole               = "Role"
	KindClusterRole        = "ClusterRole"
	KindRoleBinding        = "RoleBinding"
	KindClusterRoleBinding = "ClusterRoleBinding"
)

// Grant names what allowed a question: a binding, the role it refers to and the first rule of the role that allows. It is
// comparable, and canonical: of several grants the Index returns the first in the order ClusterRoleBinding before RoleBinding,
// binding name, rule; whatever the order of events or of the subject's groups.
type Grant struct {
	// Group is set to system:masters if the API server authorizes the subject before RBAC is asked; the rest is empty then.
	Group string

	BindingKind      string
	BindingNamespace string
	BindingName      string
	// RoleKind and RoleName are the binding's roleRef; a Role is in the binding's namespace.
	RoleKind string
	RoleName string
	// Rule is the index in the role's rules, from 0.
	Rule int
}

// IsMasters reports that membership of system:masters allowed, not a binding.
func (g Grant) IsMasters() bool { return g.Group == identity.SystemMasters }

// String returns for example "RoleBinding prod/interns of ClusterRole labels-intern rule 0", "ClusterRoleBinding ops of
// ClusterRole cluster-admin rule 0", "Group system:masters", or "" for the zero Grant.
func (g Grant) String() string {
	if g.Group != "" {
		return "Group " + g.Group
	}
	if g.BindingKind == "" {
		return ""
	}
	name := g.BindingName
	if g.BindingNamespace != "" {
		name = g.BindingNamespace + "/" + name
	}
	return g.BindingKind + " " + name + " of " + g.RoleKind + " " + g.RoleName + " rule " + strconv.Itoa(g.Rule)
}

// binding is the part of a binding that a subject's entry points at. It is immutable.
type binding struct {
	kind, namespace, name string
	roleKind, roleName    string
	// slot is the place of the referenced role in the Index's roles; it is there whether the role exists or not.
	slot int
}

// compareBindings is the canonical order of Grant, for bindings that can meet in one answer: those of one namespace and
// ClusterRoleBindings. Namespace is compared only to make it total.
func compareBindings(a, b *binding) int {
	if a.kind != b.kind {
		if a.kind == KindClusterRoleBinding {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.namespace, b.namespace))
}

func (b *binding) grant(rule int) Grant {
	return Grant{
		BindingKind: b.kind, BindingNamespace: b.namespace, BindingName: b.name,
		RoleKind: b.roleKind, RoleName: b.roleName, Rule: rule,
	}
}
