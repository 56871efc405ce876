package shadow

import (
	"math"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
)

// maxCandidates bounds the earlier policies that are compared with one; beyond that nothing is said.
const maxCandidates = 4096

// Tiers are all tiers there are, by name.
type Tiers map[string]policy.Tier

// Others are the policies among which one stands.
type Others struct {
	// Own are all policies of its namespace, nil for a global one; Global are all global ones. Neither is changed.
	Own, Global []*Policy
	// Tiers decide between policies of different tiers. Where they are not Known nothing is said about those.
	Tiers decision.Fact[Tiers]
}

// Finding says that no rule of a policy for one direction can ever match.
type Finding struct {
	Direction policy.Direction
	// By is the policy that decides first: of several the first in order.
	By *Policy
}

// Find returns what can be proven about p: at most one finding for a direction, ingress first. A policy of p's own ID among
// the others does not count: it is p as it was.
func Find(p *Policy, others Others) []Finding {
	if p == nil || p.unclear || p.forwards || len(others.Own)+len(others.Global) > maxCandidates {
		return nil
	}
	f := finder{p: p, others: others}
	f.tiers, f.knowsTiers = others.Tiers.Get()
	if p.ID.Namespace == "" {
		// What policies of namespaces pass out of an earlier tier is not known here.
		f.knowsTiers = false
	}
	var out []Finding
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		if !p.half(d).applies {
			continue
		}
		if by := f.first(d); by != nil {
			out = append(out, Finding{Direction: d, By: by})
		}
	}
	return out
}

type finder struct {
	p          *Policy
	others     Others
	tiers      Tiers
	knowsTiers bool
	// passings and clear are made when first asked for.
	passings map[place]passing
	clear    bool
}

// first returns the first policy that decides all of direction d, nil if none provably does.
func (f *finder) first(d policy.Direction) *Policy {
	var best *Policy
	for _, list := range [][]*Policy{f.others.Own, f.others.Global} {
		for _, q := range list {
			if (best == nil || f.before(q, best)) && f.decides(q, d) {
				best = q
			}
		}
	}
	return best
}

// before is for the choice among findings alone.
func (f *finder) before(a, b *Policy) bool {
	if a.Tier != b.Tier {
		return f.earlierTier(a.Tier, b.Tier)
	}
	if a.Order != b.Order {
		return a.Order < b.Order
	}
	return a.ID.Compare(b.ID) < 0
}

// decides proves that q leaves nothing of direction d for p.
func (f *finder) decides(q *Policy, d policy.Direction) bool {
	p := f.p
	h := q.half(d)
	if q.unclear || !h.applies || q.ID == p.ID {
		return false
	}
	same := q.Tier == p.Tier
	switch {
	case same && !(q.Order < p.Order): // equal orders are told apart by names, and not by all versions alike
		return false
	case !same && !(f.knowsTiers && f.earlierTier(q.Tier, p.Tier)):
		return false
	case !q.selector.Contains(p.selector):
		return false
	case same:
		return f.ends(h.rules, p.half(d), true)
	case !f.passesBefore(q, d) && f.ends(untilPass(h.rules), p.half(d), false):
		return true
	default:
		// Whatever q does not decide, the end of its tier does.
		return f.tiers[q.Tier].DefaultAction == policy.ActionDeny && !f.passesAtAll(q.Tier, d)
	}
}

// ends proves that the rules decide whatever those of h match. In the same tier a Pass decides, too: it skips p.
func (f *finder) ends(rules []policy.Rule, h *half, same bool) bool {
	deciding := func(r *policy.Rule) bool {
		return r.Action == policy.ActionAllow || r.Action == policy.ActionDeny || same && r.Action == policy.ActionPass
	}
	for i := range rules {
		if deciding(&rules[i]) && decidesAlways(&rules[i]) {
			return true
		}
	}
	if h.more || len(h.rules) == 0 {
		return false
	}
	for i := range h.rules {
		covered := false
		for j := range rules {
			covered = covered || deciding(&rules[j]) && covers(&rules[j], &h.rules[i])
		}
		if !covered {
			return false
		}
	}
	return true
}

// untilPass returns the rules that nothing of the same policy passes by.
func untilPass(rules []policy.Rule) []policy.Rule {
	for i := range rules {
		if rules[i].Action == policy.ActionPass {
			return rules[:i]
		}
	}
	return rules
}

// passing is where a tier may pass traffic on in one direction: the lowest order of a policy that does, and the lowest of any
// other policy.
type passing struct {
	order, second float64
	id            policy.Ref
	any           bool
}

func (s *passing) add(p *Policy) {
	switch {
	case !s.any:
		*s = passing{order: p.Order, second: math.Inf(1), id: p.ID, any: true}
	case p.ID == s.id:
		s.order = min(s.order, p.Order)
	case p.Order < s.order:
		s.order, s.second, s.id = p.Order, s.order, p.ID
	default:
		s.second = min(s.second, p.Order)
	}
}

// passesBefore reports whether another policy of q's tier may pass traffic out of the tier before q is asked.
func (f *finder) passesBefore(q *Policy, d policy.Direction) bool {
	s, clear := f.passing(q.Tier, d)
	lowest := s.order
	if s.id == q.ID {
		lowest = s.second
	}
	return !clear || s.any && lowest <= q.Order
}

// passesAtAll reports whether some policy of the tier may pass traffic out of it.
func (f *finder) passesAtAll(tier string, d policy.Direction) bool {
	s, clear := f.passing(tier, d)
	return !clear || s.any
}

// passing looks through the policies once for each tier and direction. clear is false if one of them cannot be read, which may
// then be in any tier and place.
func (f *finder) passing(tier string, d policy.Direction) (s passing, clear bool) {
	if f.passings == nil {
		f.passings, f.clear = map[place]passing{}, true
		for _, list := range [][]*Policy{f.others.Own, f.others.Global} {
			for _, o := range list {
				f.clear = f.clear && !o.unclear
				for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
					if o.half(d).passes {
						at := place{tier: o.Tier, direction: d}
						s := f.passings[at]
						s.add(o)
						f.passings[at] = s
					}
				}
			}
		}
	}
	return f.passings[place{tier: tier, direction: d}], f.clear
}

// place is one direction of a tier.
type place struct {
	tier      string
	direction policy.Direction
}

// earlierTier reports that the tiers are there and a comes strictly before b. The default tier always is.
func (f *finder) earlierTier(a, b string) bool {
	ta, ok := f.tier(a)
	tb, also := f.tier(b)
	return ok && also && ta.Order < tb.Order
}

func (f *finder) tier(name string) (policy.Tier, bool) {
	t, ok := f.tiers[name]
	if !ok && name == policy.DefaultTier {
		return policy.Tier{Name: name, Order: policy.DefaultTierOrder}, true
	}
	return t, ok
}
