package policy

// Before reports whether t is evaluated before o. It is the order of [Snapshot.Tiers].
func (t *Tier) Before(o *Tier) bool { return t.less(o) }

// TieBreak decides the order of policies of one tier with equal orders, by its bytes; see [Policy.Less].
func (p *Policy) TieBreak() string { return p.tieBreak() }

// FindTier returns the tier that a policy names: obj if there is such an object, else the default tier as it always
// exists, else one that is marked as missing.
func FindTier(name string, obj *Tier) *Tier {
	switch {
	case obj != nil:
		return obj
	case name == DefaultTier:
		return &Tier{Name: DefaultTier, Order: DefaultTierOrder}
	}
	return &Tier{Name: name, Order: last(nil), Missing: true}
}
