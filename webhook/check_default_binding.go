package webhook

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// CheckDefaultBinding is the ID of check default-binding: whoever grants rights to an account named "default", by its name or
// through a group that contains it, grants them to every pod that names no account, and needs "bind" of that account. Only
// subjects that are new in the binding count.
const CheckDefaultBinding = "default-binding"

func defaultBinding() Check { return Check{ID: CheckDefaultBinding, Run: runDefaultBinding} }

func runDefaultBinding(f *Facts) ([]Finding, error) {
	mode := f.Guards.DefaultBindings()
	if mode == v1alpha1.ModeOff || f.Binding == nil {
		return nil, nil
	}
	var before []bindingSubject
	if f.OldBinding != nil && f.OldBinding.RoleRef == f.Binding.RoleRef {
		before = f.OldBinding.Subjects
	}
	var out []Finding
	for i, s := range f.Binding.Subjects {
		grantee, ok := s.reachesDefault(f.Request.Namespace)
		if !ok || slices.Contains(before, s) {
			continue
		}
		need := rbac.Ask(rbac.BindAccount(grantee.namespace, defaultAccount))
		out = append(out, Finding{Mode: mode, Field: field.NewPath("subjects").Index(i), Need: &need, Attempt: "grant rights to " + grantee.words})
	}
	return out, nil
}

// grantee is what a subject of a binding comes to.
type grantee struct {
	// namespace of the account "default"; "" if it is that of every namespace.
	namespace string
	words     string
}

// reachesDefault reports whether a subject is, or contains, an account named "default". namespace is the binding's, which a
// ServiceAccount without one takes (k8s.io/kubernetes pkg/registry/rbac/validation).
func (s *bindingSubject) reachesDefault(namespace string) (grantee, bool) {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return defaultOf(namespace), s.Name == defaultAccount && namespace != ""
	case rbacv1.UserKind:
		if s.Name == "system:anonymous" {
			return grantee{words: "user system:anonymous, which every pod can be"}, true
		}
		a, err := identity.ParseUsername(s.Name)
		return defaultOf(a.Namespace()), err == nil && a.Name() == defaultAccount
	case rbacv1.GroupKind:
		if ns, ok := strings.CutPrefix(s.Name, identity.AllServiceAccounts+":"); ok {
			return grantee{namespace: ns, words: "group " + s.Name + ", which contains service account " + ns + "/" + defaultAccount}, ns != ""
		}
		switch s.Name {
		case identity.AllServiceAccounts, "system:authenticated", "system:unauthenticated":
			return grantee{words: "group " + s.Name + ", which every pod is or can be in"}, true
		}
	}
	return grantee{}, false
}

func defaultOf(namespace string) grantee {
	return grantee{namespace: namespace, words: "service account " + namespace + "/" + defaultAccount}
}
