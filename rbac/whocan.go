package rbac

import (
	"cmp"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
)

// Holder is a subject that a question is allowed to, and what grants it.
type Holder struct {
	// Subject is as a binding would name it. What bindings call a user "system:serviceaccount:NAMESPACE:NAME" is given
	// as that ServiceAccount.
	Subject rbacv1.Subject
	Grant   Grant
}

// WhoCan returns every subject that bindings allow q, each once with its canonical grant, and the group system:masters, sorted
// by kind, namespace and name. A group stands for its members, whom RBAC does not know. Other authorizers of the API server
// are not asked.
//
// A question for "*" is answered by those who hold the wildcard itself: Question{Verb: "*", Resource: "serviceaccounts",
// Namespace: ns} lists who may do anything to service accounts.
func (x *Index) WhoCan(q Question) []Holder {
	holders := []Holder{{
		Subject: rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: identity.SystemMasters},
		Grant:   Grant{Group: identity.SystemMasters},
	}}
	if x == nil || x.subjects == nil {
		return holders
	}
	type found struct {
		binding *binding
		rule    int
	}
	best := map[subjectKey]found{}
	for each := x.subjects.Iterator(); !each.Done(); {
		key, list, _ := each.Next()
		if key.namespace != "" && key.namespace != q.Namespace {
			continue
		}
		who := subjectKey{kind: key.kind, name: key.name}
		if who.kind == groupSubject && who.name == identity.SystemMasters {
			continue
		}
		before := best[who]
		if b, rule := x.first(list, &q, before.binding, before.rule); b != nil {
			best[who] = found{b, rule}
		}
	}
	for who, f := range best {
		holders = append(holders, Holder{Subject: who.subject(), Grant: f.binding.grant(f.rule)})
	}
	slices.SortFunc(holders, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Subject.Kind, b.Subject.Kind), cmp.Compare(a.Subject.Namespace, b.Subject.Namespace),
			cmp.Compare(a.Subject.Name, b.Subject.Name))
	})
	return holders
}

func (k subjectKey) subject() rbacv1.Subject {
	if k.kind == groupSubject {
		return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: k.name}
	}
	if a, err := identity.ParseUsername(k.name); err == nil {
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace(), Name: a.Name()}
	}
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: k.name}
}
