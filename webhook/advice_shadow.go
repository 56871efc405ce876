package webhook

import (
	"fmt"
	"math"
	"strconv"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
)

const (
	// maxMentions is how much of what a policy names is looked up.
	maxMentions = 128
	// maxNobody is how much of it is told that is not there.
	maxNobody = 4
)

// gatherAdvice looks up, in memory, what advise speaks of. It is for requests that are allowed: whoever is refused must not learn
// what there is.
func (h *Handler) gatherAdvice(f *Facts) {
	if f.Policy == nil || f.SamePolicy || !f.Policy.readable || len(f.Policy.misfits) > 0 {
		return
	}
	if object, ok := f.Policy.enforced(f.Request.Namespace); ok {
		f.Others = h.world.Others(f.Request.Namespace)
		if o, ok := f.Others.Get(); ok && len(o.Own)+len(o.Global) > 0 {
			f.Shadow = shadow.Candidate(object)
		}
	}
	for _, m := range reference.Mentions(f.Policy.policy, maxMentions) {
		if len(f.Nobody) > maxNobody {
			return
		}
		if tellsOwn(f, m.Namespaces) && h.nobody(m) {
			f.Nobody = append(f.Nobody, m)
		}
	}
}

// tellsOwn: who writes a policy of a namespace is told about accounts of that namespace; about those of others, only who
// writes policy for the whole cluster.
func tellsOwn(f *Facts, namespaces []string) bool {
	return f.Request.Namespace == "" || len(namespaces) == 1 && namespaces[0] == f.Request.Namespace
}

// nobody reports that what is mentioned is known not to be in any of its namespaces.
func (h *Handler) nobody(m reference.Mention) bool {
	namespaces := m.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, ns := range namespaces {
		if any, known := h.world.AnyAccount(ns, m.Grant).Get(); any || !known {
			return false
		}
	}
	return true
}

// enforced returns the policy as package policy reads it; ok is false for staged ones.
func (v *policyView) enforced(namespace string) (o policy.Object, ok bool) {
	switch p := v.object.(type) {
	case *v3.NetworkPolicy:
		c := *p
		c.Namespace = namespace
		return policy.Object{Value: &c, CRD: p.GroupVersionKind().Group == groupStore}, true
	case *v3.GlobalNetworkPolicy:
		return policy.Object{Value: p, CRD: p.GroupVersionKind().Group == groupStore}, true
	default:
		return policy.Object{}, false
	}
}

// adviseShadowed says which direction of the policy can never match, where that is proven.
func adviseShadowed(f *Facts) []string {
	others, ok := f.Others.Get()
	if !ok {
		return nil
	}
	found := shadow.Find(f.Shadow, others)
	if len(found) == 2 && found[0].By == found[1].By {
		return []string{clip("ingress and egress never match, because " + position(found[0].By) + " decides first")}
	}
	var out []string
	for _, one := range found {
		out = append(out, clip(one.Direction.String()+" never matches, because "+position(one.By)+" decides first"))
	}
	return out
}

func position(p *shadow.Policy) string {
	if math.IsInf(p.Order, 1) {
		return p.Name() + " (without order)"
	}
	return p.Name() + " (order " + strconv.FormatFloat(p.Order, 'f', -1, 64) + ")"
}

// adviseNobody says what the policy names and no account is or has, which may be a slip of the pen.
func adviseNobody(f *Facts) []string {
	var out []string
	for i, m := range f.Nobody {
		if i == maxNobody {
			return append(out, "none today: more of what the policy names")
		}
		where := " in any namespace"
		switch len(m.Namespaces) {
		case 0:
		case 1:
			where = " in namespace " + m.Namespaces[0]
		default:
			where = fmt.Sprintf(" in %s and %d more namespaces", m.Namespaces[0], len(m.Namespaces)-1)
		}
		out = append(out, clip("none today: "+m.Grant.String()+where+" ("+m.Field.String()+")"))
	}
	return out
}
