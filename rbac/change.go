package rbac

import (
	"cmp"
	"slices"

	"github.com/benbjohnson/immutable"
	rbacv1 "k8s.io/api/rbac/v1"
)

// change gathers the edits of one Store update, so that however many objects it covers each list is copied once and one
// snapshot is published. It is used under the Store's lock.
type change struct {
	*Store
	roles   *immutable.List[*role]
	touched map[subjectKey][]*binding // owned copies; nil until something changes
}

func (c *change) setRole(key roleKey, rules []rbacv1.PolicyRule) {
	r := compileRole(rules)
	s := c.slot(key)
	if s.role != nil && s.role.equal(r) {
		return
	}
	s.role = r
	c.roles = c.roles.Set(s.id, r)
}

func (c *change) deleteRole(key roleKey) {
	s := c.slots[key]
	if s == nil || s.role == nil {
		return
	}
	s.role = nil
	c.roles = c.roles.Set(s.id, nil)
	c.release(key, s)
}

func (c *change) keepRoles(kind string, keep map[roleKey]bool) {
	for key := range c.slots {
		if key.kind == kind && !keep[key] {
			c.deleteRole(key)
		}
	}
}

// slot returns the role's place, made if need be.
func (c *change) slot(key roleKey) *slot {
	if s := c.slots[key]; s != nil {
		return s
	}
	s := &slot{}
	if n := len(c.free); n > 0 {
		s.id, c.free = c.free[n-1], c.free[:n-1]
	} else {
		s.id, c.roles = c.roles.Len(), c.roles.Append(nil)
	}
	c.slots[key] = s
	return s
}

// release gives the place back once nothing needs it. The entry is nil by then, and older snapshots keep their own list.
func (c *change) release(key roleKey, s *slot) {
	if s.references == 0 && s.role == nil {
		delete(c.slots, key)
		c.free = append(c.free, s.id)
	}
}

// roleOf returns the key of the role that a binding refers to; ok is false if the binding can grant nothing.
// It follows GetRoleReferenceRules of k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go.
func roleOf(key bindingKey, ref rbacv1.RoleRef) (roleKey, bool) {
	if key.kind == KindRoleBinding && key.namespace == "" {
		return roleKey{}, false // it would else be taken for cluster-wide
	}
	switch ref.Kind {
	case KindClusterRole:
		return roleKey{kind: KindClusterRole, name: ref.Name}, true
	case KindRole:
		return roleKey{kind: KindRole, namespace: key.namespace, name: ref.Name}, key.kind == KindRoleBinding
	default:
		return roleKey{}, false
	}
}

func (c *change) setBinding(key bindingKey, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
	of, ok := roleOf(key, ref)
	if !ok {
		c.deleteBinding(key)
		return
	}
	keys := subjectKeys(subjects, key.namespace)
	held := c.bindings[key]
	if held != nil && (held.roleKind != of.kind || held.roleName != of.name) {
		c.deleteBinding(key)
		held = nil
	}
	if held == nil {
		s := c.slot(of)
		s.references++
		held = &heldBinding{binding: &binding{
			kind: key.kind, namespace: key.namespace, name: key.name, roleKind: of.kind, roleName: of.name, slot: s.id,
		}}
		c.bindings[key] = held
	}
	for _, k := range held.subjects {
		if _, still := slices.BinarySearchFunc(keys, k, compareSubjectKeys); !still {
			c.remove(k, held.binding)
		}
	}
	for _, k := range keys {
		if _, already := slices.BinarySearchFunc(held.subjects, k, compareSubjectKeys); !already {
			c.insert(k, held.binding)
		}
	}
	held.subjects = keys
}

func (c *change) deleteBinding(key bindingKey) {
	held := c.bindings[key]
	if held == nil {
		return
	}
	for _, k := range held.subjects {
		c.remove(k, held.binding)
	}
	delete(c.bindings, key)
	of := roleKey{kind: held.roleKind, name: held.roleName}
	if of.kind == KindRole {
		of.namespace = held.namespace
	}
	s := c.slots[of]
	s.references--
	c.release(of, s)
}

func (c *change) keepBindings(kind string, keep map[bindingKey]bool) {
	for key := range c.bindings {
		if key.kind == kind && !keep[key] {
			c.deleteBinding(key)
		}
	}
}

func (c *change) insert(key subjectKey, b *binding) {
	list := c.edit(key)
	at, _ := slices.BinarySearchFunc(list, b, compareBindings)
	c.touched[key] = slices.Insert(list, at, b)
}

func (c *change) remove(key subjectKey, b *binding) {
	list := c.edit(key)
	if at, found := slices.BinarySearchFunc(list, b, compareBindings); found {
		c.touched[key] = slices.Delete(list, at, at+1)
	}
}

// edit returns a list of the subject's bindings that this change owns.
func (c *change) edit(key subjectKey) []*binding {
	if list, ok := c.touched[key]; ok {
		return list
	}
	if c.touched == nil {
		c.touched = map[subjectKey][]*binding{}
	}
	published, _ := c.current.Load().subjects.Get(key)
	// Room for one more, since most changes are one binding; never the published slice itself.
	list := append(make([]*binding, 0, len(published)+1), published...)
	c.touched[key] = list
	return list
}

func (c *change) editedSubjects(m *immutable.Map[subjectKey, []*binding]) *immutable.Map[subjectKey, []*binding] {
	for key, list := range c.touched {
		if len(list) == 0 {
			m = m.Delete(key)
			continue
		}
		m = m.Set(key, list)
	}
	return m
}

func compareSubjectKeys(a, b subjectKey) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.namespace, b.namespace))
}
