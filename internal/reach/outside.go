package reach

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// addOutside adds the addresses that are no pod's, as far as rules or IP versions tell them apart. The prefixes of all
// worlds together make the finest division that any of them asks for.
func (a *analysis) addOutside() {
	pods := map[netip.Prefix]bool{}
	prefixes := map[netip.Prefix]bool{}
	families := map[uint8]bool{}
	for _, w := range a.worlds {
		for _, s := range w.sheets {
			for prefix, addr := range s.Addresses {
				prefixes[prefix] = true
				if len(s.Identities[addr.Identity].Pods) > 0 {
					pods[prefix] = true
					families[familyOf(prefix.Addr())] = true
				}
			}
		}
	}
	var open, sorted []netip.Prefix
	for p := range prefixes {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(x, y netip.Prefix) int {
		return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
	})
	// left is how many addresses of a prefix are in no longer one.
	left := map[netip.Prefix]*big.Int{}
	for _, p := range sorted {
		for len(open) > 0 && !around(open[len(open)-1], p) {
			open = open[:len(open)-1]
		}
		left[p] = size(p)
		if n := len(open); n > 0 {
			left[open[n-1]].Sub(left[open[n-1]], size(p))
		}
		open = append(open, p)
	}
	found := map[string]*party{}
	for _, p := range sorted {
		if pods[p] || left[p].Sign() == 0 || !families[familyOf(p.Addr())] {
			continue
		}
		a.addRegion(found, p)
	}
	var parties []*party
	for _, key := range slices.Sorted(maps.Keys(found)) {
		parties = append(parties, found[key])
	}
	nameOutside(parties)
	slices.SortStableFunc(parties, func(x, y *party) int { return cmp.Compare(x.Name, y.Name) })
	a.parties = append(a.parties, parties...)
}

func (a *analysis) addRegion(found map[string]*party, prefix netip.Prefix) {
	var names []string
	m := &member{facts: map[string]string{}}
	for _, w := range a.worlds {
		in := w.nets(prefix)
		names = append(names, in...)
		m.kinds = append(m.kinds, a.outsideKind(w, prefix))
		m.fact(factFamily, fmt.Sprintf("IPv%d", familyOf(prefix.Addr())))
		m.fact(factNets, inNets(in))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	key := strings.Join(names, "\n")
	p := found[key]
	if p == nil {
		p = &party{Party: Party{Outside: true}}
		for _, n := range names {
			if strings.Contains(n, "Set ") { // nets are named by their prefixes
				p.Sets = append(p.Sets, n)
			}
		}
		found[key] = p
	}
	p.Nets = append(p.Nets, prefix)
	p.members = append(p.members, m)
}

// nameOutside names parties by their network sets, or else by their prefixes; where that is not enough, by both.
func nameOutside(parties []*party) {
	const most = 3
	nets := func(p *party) string {
		var out []string
		for _, n := range p.Nets[:min(len(p.Nets), most)] {
			out = append(out, n.String())
		}
		if n := len(p.Nets) - most; n > 0 {
			out = append(out, fmt.Sprintf("%d more", n))
		}
		return strings.Join(out, ", ")
	}
	count := map[string]int{}
	for _, p := range parties {
		if p.Name = strings.Join(p.Sets, " + "); p.Name == "" {
			p.Name = nets(p)
		}
		count[p.Name]++
	}
	for _, p := range parties {
		if count[p.Name] > 1 && len(p.Sets) > 0 {
			p.Name += " (" + nets(p) + ")"
		}
	}
	seen := map[string]int{}
	for _, p := range parties {
		if seen[p.Name]++; seen[p.Name] > 1 {
			p.Name += fmt.Sprintf(" #%d", seen[p.Name])
		}
	}
}

// around reports whether p lies in outer; both are masked.
func around(outer, p netip.Prefix) bool { return outer.Bits() <= p.Bits() && outer.Contains(p.Addr()) }

func size(p netip.Prefix) *big.Int {
	return new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
}
