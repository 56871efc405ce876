package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/identity"
)

// Snapshot is everything a verdict depends on, at one revision. It is immutable, and so is what it points to.
type Snapshot struct {
	Rev       uint64
	Semantics Semantics
	// Tiers are in order of evaluation, each with its policies in order of evaluation. The default tier is always there,
	// a tier that policies merely name comes last.
	Tiers []OrderedTier
	// Workloads and NetworkSets are in order of their Refs.
	Workloads   []*Workload
	NetworkSets []*NetworkSet

	namespaces map[string]*Namespace
	accounts   map[identity.ServiceAccount]*ServiceAccount
	workloads  map[Ref]*Workload
	addresses  map[netip.Addr][]*Workload
}

// OrderedTier is a tier with its policies, in order of evaluation.
type OrderedTier struct {
	*Tier
	Policies []*Policy
}

// NewSnapshot orders and indexes resources, of which there may be one for each Ref: of more, the last counts. The order
// of resources with different Refs carries no meaning. nil resources are skipped.
func NewSnapshot(rev uint64, sem Semantics, resources []Resource) *Snapshot {
	s := &Snapshot{
		Rev: rev, Semantics: sem,
		namespaces: map[string]*Namespace{},
		accounts:   map[identity.ServiceAccount]*ServiceAccount{},
		workloads:  map[Ref]*Workload{},
		addresses:  map[netip.Addr][]*Workload{},
	}
	byRef := make(map[Ref]Resource, len(resources))
	for _, r := range resources {
		if r != nil {
			byRef[r.Ref()] = r
		}
	}
	tiers := map[string]*Tier{DefaultTier: {Name: DefaultTier, Order: DefaultTierOrder}}
	var policies []*Policy
	for ref, r := range byRef {
		switch r := r.(type) {
		case *Namespace:
			s.namespaces[r.Name] = r
		case *ServiceAccount:
			if id, err := identity.NewServiceAccount(r.Namespace, r.Name); err == nil {
				s.accounts[id] = r
			}
		case *Workload:
			s.Workloads = append(s.Workloads, r)
			s.workloads[ref] = r
		case *NetworkSet:
			s.NetworkSets = append(s.NetworkSets, r)
		case *Tier:
			tiers[r.Name] = r
		case *Policy:
			policies = append(policies, r)
		}
	}
	slices.SortFunc(s.Workloads, func(a, b *Workload) int { return a.Ref().Compare(b.Ref()) })
	slices.SortFunc(s.NetworkSets, func(a, b *NetworkSet) int { return a.ID.Compare(b.ID) })
	for _, w := range s.Workloads {
		for _, a := range w.Addresses {
			if !slices.Contains(s.addresses[a], w) {
				s.addresses[a] = append(s.addresses[a], w)
			}
		}
	}
	s.order(tiers, policies)
	return s
}

func (s *Snapshot) order(tiers map[string]*Tier, policies []*Policy) {
	byTier := map[string][]*Policy{}
	for _, p := range policies {
		if tiers[p.Tier] == nil {
			tiers[p.Tier] = &Tier{Name: p.Tier, Order: last(nil), Missing: true}
		}
		byTier[p.Tier] = append(byTier[p.Tier], p)
	}
	for name, t := range tiers {
		in := byTier[name]
		slices.SortFunc(in, func(a, b *Policy) int {
			if a.Less(b) {
				return -1
			}
			return 1
		})
		s.Tiers = append(s.Tiers, OrderedTier{Tier: t, Policies: in})
	}
	slices.SortFunc(s.Tiers, func(a, b OrderedTier) int {
		if a.less(b.Tier) {
			return -1
		}
		return 1
	})
}

// Namespace returns the namespace, nil if there is no such object.
func (s *Snapshot) Namespace(name string) *Namespace { return s.namespaces[name] }

// ServiceAccount returns the account's object, nil if there is none.
func (s *Snapshot) ServiceAccount(id identity.ServiceAccount) *ServiceAccount { return s.accounts[id] }

// Workload returns the pod if it is an endpoint, else nil.
func (s *Snapshot) Workload(namespace, name string) *Workload {
	return s.workloads[Ref{Kind: KindPod, Namespace: namespace, Name: name}]
}

// At returns the endpoints that claim address a, in order of their Refs: none, one, or while an address changes hands
// several.
func (s *Snapshot) At(a netip.Addr) []*Workload { return s.addresses[a.Unmap()] }

// Labels is what selectors see of a pod.
func (s *Snapshot) Labels(w *Workload) EndpointLabels {
	return EndpointLabels{Own: w.Labels, Namespace: s.namespaces[w.Namespace], Account: s.accounts[w.Account]}
}

// SetLabels is what selectors see of a network set: its own labels, and those of its namespace.
func (s *Snapshot) SetLabels(n *NetworkSet) EndpointLabels {
	return EndpointLabels{Own: n.Labels, Namespace: s.namespaces[n.ID.Namespace]}
}

// Selects reports whether policy p applies to pod w in direction d.
func (s *Snapshot) Selects(p *Policy, w *Workload, d Direction) bool {
	return p.Applies(d) && (p.Selector.IsAll() || p.Selector.Matches(s.Labels(w)))
}

// Contains reports whether a is in the set, by the set's reading where that is uncertain.
func (s *Snapshot) Contains(set *Set, a netip.Addr) bool {
	a = a.Unmap()
	pod := func(w *Workload) bool { return set.Selector.Matches(s.Labels(w)) }
	if s.claimed(a, set.Reading, pod) {
		return true
	}
	for _, n := range s.NetworkSets {
		if set.Selector.Matches(s.SetLabels(n)) && s.covers(set, n, a) {
			return true
		}
	}
	return false
}

// ContainsPort reports whether a is the address of a pod in set, or of any pod if set is nil, with that named port.
// Network sets have no ports.
func (s *Snapshot) ContainsPort(set *Set, reading Reading, port NamedPort, a netip.Addr) bool {
	return s.claimed(a.Unmap(), reading, func(w *Workload) bool {
		return w.HasPort(port) && (set == nil || set.Selector.Matches(s.Labels(w)))
	})
}

// claimed reports whether the pods at a satisfy member: all of them in the certain reading, else one.
func (s *Snapshot) claimed(a netip.Addr, reading Reading, member func(*Workload) bool) bool {
	pods := s.addresses[a]
	if reading == ReadingCertain && s.Semantics.strict(rowSharedAddress) {
		return len(pods) > 0 && !slices.ContainsFunc(pods, func(w *Workload) bool { return !member(w) })
	}
	return slices.ContainsFunc(pods, member)
}

// covers reports whether network set n, which the set's selector selects, puts a into the set.
func (s *Snapshot) covers(set *Set, n *NetworkSet, a netip.Addr) bool {
	if set.Reading == ReadingCertain && set.Accounts && s.Semantics.strict(rowAccountSets) {
		return false
	}
	if set.Reading == ReadingPossible && n.Unparsed && s.Semantics.strict(rowNetworkSetNets) {
		return true
	}
	return slices.ContainsFunc(n.Nets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// String lists tiers and policies in order of evaluation, for failure texts.
func (s *Snapshot) String() string {
	var b strings.Builder
	for _, t := range s.Tiers {
		b.WriteString("tier " + t.Name + " end " + t.DefaultAction.String() + "\n")
		for _, p := range t.Policies {
			b.WriteString("  " + p.ID.String() + " on " + p.Selector.String() + "\n")
		}
	}
	return b.String()
}
