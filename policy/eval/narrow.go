package eval

import (
	"net/netip"
	"slices"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// Selecting returns a snapshot with no policies but those that apply to pod w in direction d: Judge says the same by it, and
// what it costs does not depend on the other policies.
func Selecting(s *policy.Snapshot, w *policy.Workload, d policy.Direction) *policy.Snapshot {
	out := *s
	out.Tiers = nil
	for _, tier := range s.Tiers {
		var kept []*policy.Policy
		for _, p := range tier.Policies {
			if s.Selects(p, w, d) {
				kept = append(kept, p)
			}
		}
		if len(kept) > 0 {
			out.Tiers = append(out.Tiers, policy.OrderedTier{Tier: tier.Tier, Policies: kept})
		}
	}
	return &out
}

// Between returns a snapshot by which Judge says the same as by s about every flow between the addresses of f, of its
// protocol, whatever the ports and the further condition; but for the Trace, and only in direction d. What it keeps of a rule
// is what can still differ. It costs about as much as judging one flow that no rule decides. keep is a further condition on
// rules that are not marked as unparsed; it may be nil.
func Between(s *policy.Snapshot, f Flow, d policy.Direction, keep func(*policy.Policy, *policy.Rule) bool) *policy.Snapshot {
	out := *s
	out.Tiers, out.NetworkSets = nil, covering(s, f)
	n := narrowing{s: &out, f: &f, d: d, keep: keep, source: map[policy.SetKey]bool{}, destination: map[policy.SetKey]bool{}}
	w := f.end(d).Workload
	if w == nil {
		return &out
	}
	for _, tier := range s.Tiers {
		var kept []*policy.Policy
		var last *policy.Policy
		for _, p := range tier.Policies {
			if !s.Selects(p, w, d) {
				continue
			}
			// Only the last policy of a tier has a meaning beyond its rules: it is named at the end of the tier.
			if last != nil && len(last.Rules(d)) > 0 {
				kept = append(kept, last)
			}
			last = n.remaining(p)
		}
		if last != nil {
			out.Tiers = append(out.Tiers, policy.OrderedTier{Tier: tier.Tier, Policies: append(kept, last)})
		}
	}
	return &out
}

// covering are the network sets that can matter to a flow: membership in the others is false whatever their labels.
func covering(s *policy.Snapshot, f Flow) []*policy.NetworkSet {
	source, destination := f.Source.Addr.Unmap(), f.Destination.Addr.Unmap()
	var out []*policy.NetworkSet
	for _, n := range s.NetworkSets {
		if n.Unparsed || slices.ContainsFunc(n.Nets, func(p netip.Prefix) bool { return p.Contains(source) || p.Contains(destination) }) {
			out = append(out, n)
		}
	}
	return out
}

// narrowing remembers which sets the two addresses are in: many rules ask for the same.
type narrowing struct {
	s    *policy.Snapshot
	f    *Flow
	d    policy.Direction
	keep func(*policy.Policy, *policy.Rule) bool

	source, destination map[policy.SetKey]bool
}

// remaining is p, which applies to the flow's end, with the rules that f can still match.
func (n *narrowing) remaining(p *policy.Policy) *policy.Policy {
	var kept []policy.Rule
	rules := p.Rules(n.d)
	for i := range rules {
		if !n.possible(&rules[i]) || n.keep != nil && !rules[i].Unparsed && !n.keep(p, &rules[i]) {
			continue
		}
		kept = append(kept, narrowed(&rules[i]))
	}
	out := withRules(p, n.d, kept, selector.All())
	return &out
}

// withRules is p, which applies to a pod, with other rules in direction d and none in the other; all is that selector.
func withRules(p *policy.Policy, d policy.Direction, rules []policy.Rule, all *selector.Selector) policy.Policy {
	out := policy.Policy{
		ID: p.ID, Tier: p.Tier, Order: p.Order, Selector: all, Unscoped: p.Unscoped,
		AppliesIngress: p.AppliesIngress, AppliesEgress: p.AppliesEgress,
	}
	if d == policy.Egress {
		out.Egress = rules
	} else {
		out.Ingress = rules
	}
	return out
}

// narrowed leaves the ports of a rule whose other conditions hold.
func narrowed(r *policy.Rule) policy.Rule {
	out := *r
	out.IPVersion, out.Protocol, out.NotProtocol = 0, 0, 0
	out.Source, out.Destination = portsOf(r.Source), portsOf(r.Destination)
	return out
}

// possible reports whether a rule matches, ports aside.
func (n *narrowing) possible(r *policy.Rule) bool {
	if r.Unparsed {
		return true
	}
	if !n.in(n.source, &r.Source, n.f.Source.Addr) || !n.in(n.destination, &r.Destination, n.f.Destination.Addr) {
		return false
	}
	return apartFromSets(n.f, r)
}

// in asks for the sets of one end.
func (n *narrowing) in(known map[policy.SetKey]bool, e *policy.Entity, a netip.Addr) bool {
	contains := func(set *policy.Set) bool {
		key := set.Key()
		in, ok := known[key]
		if !ok {
			in = n.s.Contains(set, a)
			known[key] = in
		}
		return in
	}
	return (e.Set == nil || contains(e.Set)) && (e.NotSet == nil || !contains(e.NotSet))
}

// portsOf leaves the ports of an end whose other conditions hold; with the set, which a named port is looked up in.
func portsOf(e policy.Entity) policy.Entity {
	out := policy.Entity{
		Ports: e.Ports, NotPorts: e.NotPorts,
		AccountNames: e.AccountNames, AccountSelector: e.AccountSelector, NamespaceSelector: e.NamespaceSelector,
	}
	named := func(p policy.Port) bool { return p.Name != "" }
	if slices.ContainsFunc(e.Ports, named) || slices.ContainsFunc(e.NotPorts, named) {
		out.Set = e.Set
	}
	return out
}
