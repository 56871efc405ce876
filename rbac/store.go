package rbac

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/benbjohnson/immutable"
	rbacv1 "k8s.io/api/rbac/v1"
)

// serviceAccountUserPrefix begins the user name of a service account (k8s.io/apiserver/pkg/authentication/serviceaccount).
const serviceAccountUserPrefix = "system:serviceaccount:"

// Store keeps the Index current. Every Set, Delete and Replace publishes a new snapshot before it returns; Snapshot takes no
// lock. What the Index answers depends on the objects held, not on the order in which they came. Writers may call from
// several goroutines; they are let in one at a time. Objects are copied, and only what decides is kept.
//
// The Store takes what an API server has validated, and is safe with what none has: a RoleBinding without namespace, a subject
// without a name or of an unknown kind, and a reference to an unknown kind of role grant nothing (fails closed).
type Store struct {
	current atomic.Pointer[Index]

	mu       sync.Mutex
	slots    map[roleKey]*slot
	free     []int
	bindings map[bindingKey]*heldBinding
}

type roleKey struct{ kind, namespace, name string }

type bindingKey struct{ kind, namespace, name string }

// slot is a role's place in Index.roles, held for as long as the role exists or a binding refers to it.
type slot struct {
	id, references int
	role           *role // nil while the role does not exist
}

type heldBinding struct {
	*binding
	subjects []subjectKey // sorted, distinct
}

// NewStore returns a Store with no objects.
func NewStore() *Store { return newStore(keyHasher{seed: maphash.MakeSeed()}) }

func newStore(hasher immutable.Hasher[subjectKey]) *Store {
	s := &Store{slots: map[roleKey]*slot{}, bindings: map[bindingKey]*heldBinding{}}
	s.current.Store(&Index{subjects: immutable.NewMap[subjectKey, []*binding](hasher), roles: immutable.NewList[*role]()})
	return s
}

// Snapshot returns the newest Index; it is never nil.
func (s *Store) Snapshot() *Index { return s.current.Load() }

// SetRole adds or changes a Role.
func (s *Store) SetRole(r *rbacv1.Role) {
	s.update(func(c *change) { c.setRole(roleKey{KindRole, r.Namespace, r.Name}, r.Rules) })
}

// DeleteRole removes a Role; removing what is not there does nothing.
func (s *Store) DeleteRole(namespace, name string) {
	s.update(func(c *change) { c.deleteRole(roleKey{KindRole, namespace, name}) })
}

// ReplaceRoles makes roles all the Roles there are, in one snapshot.
func (s *Store) ReplaceRoles(roles []rbacv1.Role) {
	keep := map[roleKey]bool{}
	s.update(func(c *change) {
		for i := range roles {
			r := &roles[i]
			key := roleKey{KindRole, r.Namespace, r.Name}
			keep[key] = true
			c.setRole(key, r.Rules)
		}
		c.keepRoles(KindRole, keep)
	})
}

// SetClusterRole adds or changes a ClusterRole. Its rules count as they stand: the cluster's controller fills those of an
// aggregated ClusterRole in; for files see Aggregate.
func (s *Store) SetClusterRole(r *rbacv1.ClusterRole) {
	s.update(func(c *change) { c.setRole(roleKey{kind: KindClusterRole, name: r.Name}, r.Rules) })
}

// DeleteClusterRole removes a ClusterRole.
func (s *Store) DeleteClusterRole(name string) {
	s.update(func(c *change) { c.deleteRole(roleKey{kind: KindClusterRole, name: name}) })
}

// ReplaceClusterRoles makes roles all the ClusterRoles there are, in one snapshot.
func (s *Store) ReplaceClusterRoles(roles []rbacv1.ClusterRole) {
	keep := map[roleKey]bool{}
	s.update(func(c *change) {
		for i := range roles {
			key := roleKey{kind: KindClusterRole, name: roles[i].Name}
			keep[key] = true
			c.setRole(key, roles[i].Rules)
		}
		c.keepRoles(KindClusterRole, keep)
	})
}

// SetRoleBinding adds or changes a RoleBinding.
func (s *Store) SetRoleBinding(b *rbacv1.RoleBinding) {
	s.update(func(c *change) { c.setBinding(bindingKey{KindRoleBinding, b.Namespace, b.Name}, b.RoleRef, b.Subjects) })
}

// DeleteRoleBinding removes a RoleBinding.
func (s *Store) DeleteRoleBinding(namespace, name string) {
	s.update(func(c *change) { c.deleteBinding(bindingKey{KindRoleBinding, namespace, name}) })
}

// ReplaceRoleBindings makes bindings all the RoleBindings there are, in one snapshot.
func (s *Store) ReplaceRoleBindings(bindings []rbacv1.RoleBinding) {
	keep := map[bindingKey]bool{}
	s.update(func(c *change) {
		for i := range bindings {
			b := &bindings[i]
			key := bindingKey{KindRoleBinding, b.Namespace, b.Name}
			keep[key] = true
			c.setBinding(key, b.RoleRef, b.Subjects)
		}
		c.keepBindings(KindRoleBinding, keep)
	})
}

// SetClusterRoleBinding adds or changes a ClusterRoleBinding.
func (s *Store) SetClusterRoleBinding(b *rbacv1.ClusterRoleBinding) {
	s.update(func(c *change) {
		c.setBinding(bindingKey{kind: KindClusterRoleBinding, name: b.Name}, b.RoleRef, b.Subjects)
	})
}

// DeleteClusterRoleBinding removes a ClusterRoleBinding.
func (s *Store) DeleteClusterRoleBinding(name string) {
	s.update(func(c *change) { c.deleteBinding(bindingKey{kind: KindClusterRoleBinding, name: name}) })
}

// ReplaceClusterRoleBindings makes bindings all the ClusterRoleBindings there are, in one snapshot.
func (s *Store) ReplaceClusterRoleBindings(bindings []rbacv1.ClusterRoleBinding) {
	keep := map[bindingKey]bool{}
	s.update(func(c *change) {
		for i := range bindings {
			key := bindingKey{kind: KindClusterRoleBinding, name: bindings[i].Name}
			keep[key] = true
			c.setBinding(key, bindings[i].RoleRef, bindings[i].Subjects)
		}
		c.keepBindings(KindClusterRoleBinding, keep)
	})
}

func (s *Store) update(do func(*change)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.current.Load()
	c := &change{Store: s, roles: before.roles}
	do(c)
	if c.touched == nil && c.roles == before.roles {
		return
	}
	s.current.Store(&Index{subjects: c.editedSubjects(before.subjects), roles: c.roles})
}

// subjectKeys returns where a binding's subjects are looked up, sorted and distinct. It follows appliesToUser of
// k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go: only ServiceAccount subjects have a namespace, and take the
// RoleBinding's if it is left out; API groups of subjects are not looked at.
func subjectKeys(subjects []rbacv1.Subject, namespace string) []subjectKey {
	keys := make([]subjectKey, 0, len(subjects))
	for i := range subjects {
		sub := &subjects[i]
		if sub.Name == "" {
			continue
		}
		switch sub.Kind {
		case rbacv1.UserKind:
			keys = append(keys, subjectKey{userSubject, sub.Name, namespace})
		case rbacv1.GroupKind:
			keys = append(keys, subjectKey{groupSubject, sub.Name, namespace})
		case rbacv1.ServiceAccountKind:
			of := sub.Namespace
			if of == "" {
				of = namespace
			}
			if of == "" {
				continue
			}
			keys = append(keys, subjectKey{userSubject, serviceAccountUserPrefix + of + ":" + sub.Name, namespace})
		}
	}
	slices.SortFunc(keys, compareSubjectKeys)
	return slices.Compact(keys)
}
