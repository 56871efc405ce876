package policy

import (
	"net/netip"
	"slices"

	"github.com/saguard/saguard/policy/selector"
)

// AllClaimants reports whether an address that several pods claim belongs to a set, or has a named port, only if all of
// the pods do (row shared-address); else one is enough.
func (s Semantics) AllClaimants(reading Reading) bool {
	return reading == ReadingCertain && s.strict(rowSharedAddress)
}

// NetworkSets reports whether network sets that the set's selector selects add their addresses to it (row account-sets).
func (s Semantics) NetworkSets(set *Set) bool {
	return !(set.Reading == ReadingCertain && set.Accounts && s.strict(rowAccountSets))
}

// Everywhere reports whether network set n, which the set's selector selects, puts every address into the set, because
// nobody knows which it was to hold (row network-set-nets).
func (s Semantics) Everywhere(set *Set, n *NetworkSet) bool {
	return s.NetworkSets(set) && set.Reading == ReadingPossible && n.Unparsed && s.strict(rowNetworkSetNets)
}

// Membership is one address, prepared for many questions: labels are put together once, and network sets that have no say
// are left out. It is immutable.
type Membership struct {
	sem  Semantics
	pods []*selector.Set
	nets []networkMembership
}

type networkMembership struct {
	set      *NetworkSet
	labels   *selector.Set
	contains bool
}

// Membership prepares address a.
func (s *Snapshot) Membership(a netip.Addr) *Membership {
	a = a.Unmap()
	m := &Membership{sem: s.Semantics}
	for _, w := range s.addresses[a] {
		m.pods = append(m.pods, selector.NewSet(s.Labels(w).Map()))
	}
	for _, n := range s.NetworkSets {
		contains := slices.ContainsFunc(n.Nets, func(p netip.Prefix) bool { return p.Contains(a) })
		if contains || n.Unparsed {
			m.nets = append(m.nets, networkMembership{set: n, labels: selector.NewSet(s.SetLabels(n).Map()), contains: contains})
		}
	}
	return m
}

// In is [Snapshot.Contains] of the address.
func (m *Membership) In(set *Set) bool {
	if m.claimed(set) {
		return true
	}
	for i := range m.nets {
		n := &m.nets[i]
		if (n.contains && m.sem.NetworkSets(set) || m.sem.Everywhere(set, n.set)) && set.Selector.Matches(n.labels) {
			return true
		}
	}
	return false
}

func (m *Membership) claimed(set *Set) bool {
	if len(m.pods) == 1 {
		return set.Selector.Matches(m.pods[0])
	}
	in := 0
	for _, labels := range m.pods {
		if set.Selector.Matches(labels) {
			in++
		}
	}
	if m.sem.AllClaimants(set.Reading) {
		return in > 0 && in == len(m.pods)
	}
	return in > 0
}
