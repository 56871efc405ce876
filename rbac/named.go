package rbac

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
)

// Named is what an Index grants by the name of the verb: to whom, and whether to anybody. Grants of every verb ("*") do not count, because
// they say nothing about saguard's permissions, and neither do those to the control plane's own users and groups. It is immutable.
type Named struct{ rules []namedRule }

type namedRule struct {
	namespace string // "" holds everywhere
	rule      *rule
}

// Named returns the grants of the verbs.
func (x *Index) Named(verbs ...string) *Named {
	out := &Named{}
	if x == nil || x.subjects == nil {
		return out
	}
	type place struct {
		slot      int
		namespace string
	}
	seen := map[place]bool{}
	for each := x.subjects.Iterator(); !each.Done(); {
		key, list, _ := each.Next()
		if isControlPlane(key) {
			continue
		}
		for _, b := range list {
			at := place{b.slot, key.namespace}
			r := x.roles.Get(b.slot)
			if r == nil || seen[at] {
				continue
			}
			seen[at] = true
			for i := range r.rules {
				if slices.ContainsFunc(r.rules[i].verbs, func(v string) bool { return slices.Contains(verbs, v) }) {
					out.rules = append(out.rules, namedRule{key.namespace, &r.rules[i]})
				}
			}
		}
	}
	return out
}

// isControlPlane reports a user or group of the control plane itself: all that Kubernetes names "system:", but for service accounts and
// for those that stand for everybody.
func isControlPlane(k subjectKey) bool {
	if !strings.HasPrefix(k.name, "system:") {
		return false
	}
	if k.kind == groupSubject {
		return k.name != "system:authenticated" && k.name != "system:unauthenticated" && k.name != identity.AllServiceAccounts &&
			!strings.HasPrefix(k.name, identity.AllServiceAccounts+":")
	}
	return k.name != "system:anonymous" && !strings.HasPrefix(k.name, "system:serviceaccount:")
}

// Anybody reports whether some subject is granted q by the name of its verb.
func (n *Named) Anybody(q Question) bool {
	for i := range n.rules {
		g := &n.rules[i]
		if (g.namespace == "" || g.namespace == q.Namespace) && slices.Contains(g.rule.verbs, q.Verb) && g.rule.allows(&q) {
			return true
		}
	}
	return false
}

// Review implements [Reviewer] for a subject that stands for everybody at once: what is granted to anybody is allowed.
func (n *Named) Review(_ context.Context, _ identity.Subject, a Attributes) (bool, string, error) {
	q := Question{Verb: a.Verb, Group: a.Group, Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: Exact(a.Name)}
	return n.Anybody(q), "", nil
}

// MayBeGrantedToGroups reports whether a group other than those given, and than system:masters, is granted q: a subject of whom only
// these groups are known may be in it.
func (x *Index) MayBeGrantedToGroups(q Question, known []string) bool {
	return slices.ContainsFunc(x.WhoCan(q), func(h Holder) bool {
		return h.Subject.Kind == rbacv1.GroupKind && h.Subject.Name != identity.SystemMasters && !slices.Contains(known, h.Subject.Name)
	})
}
