// Package band says in which PolicyBands a policy lies. It is pure: no client, no clock.
package band

import (
	"math"
	"slices"
	"strconv"

	"github.com/saguard/saguard/api/v1alpha1"
)

// Position is where a policy stands among others. Lower order comes first; +Inf is that of a policy without order.
type Position struct {
	Tier  string
	Order float64
}

// String returns "tier default, order 5" or "tier default, without order".
func (p Position) String() string {
	if math.IsInf(p.Order, 1) {
		return "tier " + p.Tier + ", without order"
	}
	return "tier " + p.Tier + ", order " + strconv.FormatFloat(p.Order, 'f', -1, 64)
}

// Requirement is what somebody must hold to place a policy. The zero Requirement is not met but by who may use all bands.
type Requirement struct {
	// Placed says that the position lies in a band. One that does not, be it in a gap between the bands of its tier or in a
	// tier without any, is nobody's but who may use all bands: bands guard nothing if whoever goes past them is free.
	Placed bool
	// Bands are the names of those that it lies in and that are not everybody's, in order. Bands of one tier do not overlap;
	// where they do all the same, all count (fails closed).
	Bands []string
}

// Of returns what it takes to place a policy at p. bands must not be empty: without any the check is off.
func Of(bands []v1alpha1.PolicyBand, p Position) Requirement {
	var r Requirement
	for i := range bands {
		b := &bands[i]
		if !slices.Contains(b.Spec.Tiers, p.Tier) || !b.Spec.Order.Contains(p.Order) {
			continue
		}
		r.Placed = true
		if !b.Spec.Default {
			r.Bands = append(r.Bands, b.Name)
		}
	}
	slices.Sort(r.Bands)
	return r
}

// DefaultOrder returns the order that a policy without one is given in tier: the defaultOrder of the band that is
// everybody's there. ok is false where there is none, and where there are two, between which nobody chose.
func DefaultOrder(bands []v1alpha1.PolicyBand, tier string) (order float64, ok bool) {
	for i := range bands {
		b := &bands[i].Spec
		if !b.Default || b.DefaultOrder == nil || !slices.Contains(b.Tiers, tier) || !b.Order.Contains(*b.DefaultOrder) {
			continue
		}
		if ok {
			return 0, false
		}
		order, ok = *b.DefaultOrder, true
	}
	return order, ok
}
