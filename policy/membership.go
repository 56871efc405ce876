package policy

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
