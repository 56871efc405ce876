package rbac

import (
	"hash/maphash"
	"math/bits"

	"github.com/benbjohnson/immutable"

	"github.com/saguard/saguard/internal/identity"
)

// Index is an immutable snapshot of a cluster's RBAC, for any number of readers at once. It is made by a Store.
// A nil or zero Index allows nobody but system:masters.
type Index struct {
	// subjects maps a subject, in one namespace or cluster-wide, to its bindings in canonical order.
	subjects *immutable.Map[subjectKey, []*binding]
	// roles is indexed by binding.slot; an entry is nil while the role does not exist. Bindings reach their role through it
	// so that a changed role is one entry changed, however many bindings refer to it.
	roles *immutable.List[*role]
}

type subjectKind uint8

const (
	userSubject subjectKind = iota
	groupSubject
)

// subjectKey is a user or group and where its bindings apply: namespace "" is everywhere (ClusterRoleBindings). Subjects of
// kind ServiceAccount are kept as the user their tokens authenticate as.
type subjectKey struct {
	kind            subjectKind
	name, namespace string
}

// keyHasher hashes under a seed of its own Store, so that nobody can choose names that collide.
type keyHasher struct{ seed maphash.Seed }

func (h keyHasher) Hash(k subjectKey) uint32 {
	n := maphash.String(h.seed, k.name)
	ns := maphash.String(h.seed, k.namespace)
	x := n ^ bits.RotateLeft64(ns*0x9e3779b97f4a7c15, 31) ^ uint64(k.kind)*0xc2b2ae3d27d4eb4f
	return uint32(x ^ x>>32)
}

func (h keyHasher) Equal(a, b subjectKey) bool { return a == b }

// Authorize decides as the API server's RBAC authorizer does (k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac with
// pkg/registry/rbac/validation), for every literal name that q.Name stands for, and says what granted it. It passes
// system:masters first, as the API server does. A binding whose role does not exist grants nothing.
func (x *Index) Authorize(s identity.Subject, q Question) (Grant, bool) {
	if s.InGroup(identity.SystemMasters) {
		return Grant{Group: identity.SystemMasters}, true
	}
	if x == nil || x.subjects == nil {
		return Grant{}, false
	}
	best, rule := x.search(userSubject, s.User, &q, nil, 0)
	for _, g := range s.Groups {
		best, rule = x.search(groupSubject, g, &q, best, rule)
	}
	if best == nil {
		return Grant{}, false
	}
	return best.grant(rule), true
}

// search returns the first binding of one subject that allows q, or best if that comes before it.
func (x *Index) search(kind subjectKind, name string, q *Question, best *binding, bestRule int) (*binding, int) {
	if name == "" {
		return best, bestRule
	}
	best, bestRule = x.searchIn(subjectKey{kind: kind, name: name}, q, best, bestRule)
	// ClusterRoleBindings come first in the canonical order, so one of them cannot be bettered in a namespace.
	if q.Namespace == "" || best != nil && best.kind == KindClusterRoleBinding {
		return best, bestRule
	}
	return x.searchIn(subjectKey{kind: kind, name: name, namespace: q.Namespace}, q, best, bestRule)
}

func (x *Index) searchIn(key subjectKey, q *Question, best *binding, bestRule int) (*binding, int) {
	list, _ := x.subjects.Get(key)
	return x.first(list, q, best, bestRule)
}

func (x *Index) first(list []*binding, q *Question, best *binding, bestRule int) (*binding, int) {
	for _, b := range list {
		if best != nil && compareBindings(b, best) >= 0 {
			break
		}
		if r := x.roles.Get(b.slot); r != nil {
			if rule, ok := r.allows(q); ok {
				return b, rule
			}
		}
	}
	return best, bestRule
}
