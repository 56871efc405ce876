package nft

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// interval is the addresses from first to the one before end; end is the zero Addr after the last address of all.
type interval struct {
	first, end netip.Addr
	identity   ruleset.IdentityID
}

// flatten turns nested prefixes of one IP version, of which the longest counts, into disjoint intervals. Prefixes are nested
// or disjoint, so a stack of those that are open is enough. Neighbours of one identity are joined.
func flatten(nets map[netip.Prefix]ruleset.IdentityID) []interval {
	sorted := slices.SortedFunc(maps.Keys(nets), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []interval
	var open []netip.Prefix
	var at netip.Addr // where the next interval starts; the zero Addr after the last address
	emit := func(end netip.Addr) {
		if len(open) == 0 || !at.IsValid() || at == end {
			return
		}
		identity := nets[open[len(open)-1]]
		if n := len(out); n > 0 && out[n-1].identity == identity && out[n-1].end == at {
			out[n-1].end = end
		} else {
			out = append(out, interval{first: at, end: end, identity: identity})
		}
		at = end
	}
	closeUntil := func(next netip.Prefix) {
		for len(open) > 0 && !open[len(open)-1].Contains(next.Addr()) {
			emit(lastOf(open[len(open)-1]).Next())
			open = open[:len(open)-1]
		}
	}
	for _, p := range sorted {
		closeUntil(p)
		emit(p.Addr())
		at, open = p.Addr(), append(open, p)
	}
	for ; len(open) > 0; open = open[:len(open)-1] {
		emit(lastOf(open[len(open)-1]).Next())
	}
	return out
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, ok := netip.AddrFromSlice(bytes)
	if !ok {
		return p.Addr()
	}
	return last
}
