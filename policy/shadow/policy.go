package shadow

import (
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// maxRules is how many rules of one direction are kept and compared. What decides before others is short: a deny for a
// group, an allow for monitoring.
const maxRules = 32

// Policy is what proofs need of an enforced policy; the rest is not kept. It is immutable.
type Policy struct {
	// ID is the same for both API groups that hold the policy.
	ID policy.Ref
	// Tier is never empty.
	Tier string
	// Order is +Inf where the policy has none.
	Order float64

	selector *selector.Selector
	ingress  half
	egress   half
	// unclear says that what the policy does is not the same in both semantics, or not known: it proves nothing, and may
	// pass traffic out of its tier.
	unclear bool
	// forwards says that it also judges what hosts forward, which policies for pods do not.
	forwards bool
}

// half is one direction of a policy.
type half struct {
	applies bool
	rules   []policy.Rule
	// more says that rules are missing here.
	more bool
	// passes says that some rule, here or not, is a Pass.
	passes bool
}

// New returns nil for what is no enforced policy of pods: other kinds, staged policies, policies of hosts alone.
func New(o policy.Object) *Policy {
	p, problems := read(o)
	if p == nil {
		return nil
	}
	p.unclear = p.unclear || len(problems) > 0
	p.ingress.trim()
	p.egress.trim()
	return p
}

// Unreadable returns a policy of which nothing is known but that it is there.
func Unreadable(id policy.Ref) *Policy {
	return &Policy{ID: id, Tier: policy.DefaultTier, unclear: true}
}

// Candidate is New for a policy that may be shadowed itself. Of one with many rules only some are read.
func Candidate(o policy.Object) *Policy {
	var ingress, egress int
	cut := func(rules []v3.Rule, n *int) []v3.Rule {
		*n = len(rules)
		return rules[:min(*n, maxRules)]
	}
	switch in := o.Value.(type) {
	case *v3.NetworkPolicy:
		c := *in
		c.Spec.Ingress, c.Spec.Egress = cut(in.Spec.Ingress, &ingress), cut(in.Spec.Egress, &egress)
		o.Value = &c
	case *v3.GlobalNetworkPolicy:
		c := *in
		c.Spec.Ingress, c.Spec.Egress = cut(in.Spec.Ingress, &ingress), cut(in.Spec.Egress, &egress)
		o.Value = &c
	default:
		return nil
	}
	p := New(o)
	if p != nil {
		p.ingress.more, p.egress.more = p.ingress.more || ingress > maxRules, p.egress.more || egress > maxRules
	}
	return p
}

func read(o policy.Object) (*Policy, []policy.Problem) {
	out := &Policy{}
	switch in := o.Value.(type) {
	case *v3.NetworkPolicy:
		out.unclear = emptyAccounts(in.Spec.Ingress) || emptyAccounts(in.Spec.Egress)
	case *v3.GlobalNetworkPolicy:
		out.unclear = emptyAccounts(in.Spec.Ingress) || emptyAccounts(in.Spec.Egress)
		out.forwards = in.Spec.ApplyOnForward
	default:
		return nil, nil
	}
	resource, problems := policy.Parse(o, policy.Strict)
	p, ok := resource.(*policy.Policy)
	if !ok {
		return nil, nil // of hosts alone
	}
	out.ID, out.Tier, out.Order, out.selector = p.ID, p.Tier, p.Order, p.Selector
	out.ingress = half{applies: p.AppliesIngress, rules: p.Ingress}
	out.egress = half{applies: p.AppliesEgress, rules: p.Egress}
	return out, problems
}

// emptyAccounts: what serviceAccounts: {} means depends on the semantics, and no problem tells (hole F3).
func emptyAccounts(rules []v3.Rule) bool {
	empty := func(e *v3.EntityRule) bool {
		return e.ServiceAccounts != nil && e.ServiceAccounts.Selector == "" && len(e.ServiceAccounts.Names) == 0
	}
	for i := range rules {
		if empty(&rules[i].Source) || empty(&rules[i].Destination) {
			return true
		}
	}
	return false
}

// trim keeps what is compared, in a slice of its own.
func (h *half) trim() {
	for i := range h.rules {
		h.passes = h.passes || h.rules[i].Action == policy.ActionPass
	}
	h.more = h.more || len(h.rules) > maxRules
	kept := make([]policy.Rule, min(len(h.rules), maxRules))
	copy(kept, h.rules)
	for i := range kept {
		for _, e := range []*policy.Entity{&kept[i].Source, &kept[i].Destination} {
			e.AccountNames, e.AccountSelector, e.NamespaceSelector = nil, nil, nil
		}
	}
	h.rules = kept
}

func (p *Policy) half(d policy.Direction) *half {
	if d == policy.Egress {
		return &p.egress
	}
	return &p.ingress
}

// Name is "TIER/NAME", and "TIER/NAMESPACE/NAME" of a namespaced policy. Calico has policies of other tiers than the default
// one carry the tier in their names, which is not said twice.
func (p *Policy) Name() string {
	name := strings.TrimPrefix(p.ID.Name, p.Tier+".")
	if p.ID.Namespace != "" {
		name = p.ID.Namespace + "/" + name
	}
	return p.Tier + "/" + name
}
