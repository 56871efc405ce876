package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// An element that goes to a chain makes the kernel walk every chain and verdict map of the table before it commits, which
// takes milliseconds for 10,000 pods; an element of a plain set does not. So an address that comes or changes is first put
// into plain sets that spell the number of its identity in digits, which chains made beforehand follow digit by digit. When
// there are maxRecent of them, or when the kernel has to walk the table anyway, they move to the verdict map.
//
// Until then the verdict map may have an older identity of the address: the plain sets are looked at before it.
const (
	slotBase   = 16
	slotDigits = 3
	slots      = slotBase * slotBase * slotBase
	// defaultRecent is small enough for one message and large enough to make the walks rare.
	defaultRecent = 256
)

// recentSet is the set of all recent addresses of an IP version, or of those with a digit.
func recentSet(family uint8) string { return fmt.Sprintf("recent%d", family) }
func recentDigit(family uint8, place, digit int) string {
	return fmt.Sprintf("%s_%d_%d", recentSet(family), place, digit)
}

// recentChain is the chain in which the digits up to here are known.
func (s side) recentChain(known ...int) string {
	name := s.String() + "_recent"
	for _, d := range known {
		name += fmt.Sprintf("_%d", d)
	}
	return name
}

func digitsOf(slot int) [slotDigits]int {
	return [slotDigits]int{slot / (slotBase * slotBase), slot / slotBase % slotBase, slot % slotBase}
}

// recents is what the lowering knows of recent addresses.
type recents struct {
	most int
	// slots are the numbers of the identities, of each IP version its own; one without has no place here.
	slots map[ruleset.IdentityID]int
	taken map[uint8][]ruleset.IdentityID // by slot, 0 if free
	// addresses are those in the plain sets. leaving are those that were, and are in the sets of their digits for the packets
	// that found them in the first set.
	addresses map[netip.Addr]spelled
	leaving   map[netip.Addr]left
	dirty     map[uint8]map[int]bool
	// fresh are the identities that got their number since the last commit: the kernel has no chains for it yet.
	fresh map[ruleset.IdentityID]bool
	// promoted says that the verdict maps have the addresses too.
	promoted bool
}

// spelled is the identity of an address in the plain sets, and the number that its digits there spell: the identity may be gone,
// and its number given back, before the address leaves them.
type spelled struct {
	identity ruleset.IdentityID
	slot     int
}

// left says which digits an address had, until which epoch.
type left struct{ slot, epoch int }

func newRecents(most int) recents {
	return recents{
		most: most, slots: map[ruleset.IdentityID]int{}, taken: map[uint8][]ruleset.IdentityID{},
		addresses: map[netip.Addr]spelled{}, leaving: map[netip.Addr]left{}, dirty: map[uint8]map[int]bool{4: {}, 6: {}}, fresh: map[ruleset.IdentityID]bool{},
	}
}

// takeSlot gives an identity a number.
func (r *recents) takeSlot(family uint8, id ruleset.IdentityID) {
	if _, ok := r.slots[id]; ok {
		return
	}
	slot := slices.Index(r.taken[family], 0)
	if slot < 0 {
		if slot = len(r.taken[family]); slot == slots {
			return
		}
		r.taken[family] = append(r.taken[family], 0)
	}
	r.taken[family][slot], r.slots[id], r.fresh[id] = id, slot, true
	r.dirty[family][slot] = true
}

func (r *recents) giveSlot(family uint8, id ruleset.IdentityID) {
	if slot, ok := r.slots[id]; ok {
		r.taken[family][slot] = 0
		r.dirty[family][slot] = true
		delete(r.slots, id)
	}
}

// putRecent puts an address into the sets of its identity's digits. It reports false if it does not belong there: if the
// identity has no number or a new one, or the address has digits of another.
func (l *lowering) putRecent(a netip.Addr, id ruleset.IdentityID) bool {
	slot, ok := l.recents.slots[id]
	if have, is := l.recents.addresses[a]; is && ok && have == (spelled{id, slot}) {
		return true
	}
	l.removeRecent(a)
	if _, leaving := l.recents.leaving[a]; !ok || leaving || l.recents.fresh[id] {
		return false
	}
	family := familyOf(a)
	l.put(recentSet(family), addressKey(a), element{})
	for place, digit := range digitsOf(slot) {
		l.put(recentDigit(family, place, digit), addressKey(a), element{})
	}
	l.recents.addresses[a] = spelled{id, slot}
	return true
}

// removeRecent takes an address out of the plain sets. Its digits go later.
func (l *lowering) removeRecent(a netip.Addr) {
	have, ok := l.recents.addresses[a]
	if !ok {
		return
	}
	l.remove(recentSet(familyOf(a)), addressKey(a))
	delete(l.recents.addresses, a)
	l.recents.leaving[a] = left{slot: have.slot, epoch: l.epoch}
}

// clearDigits takes the digits of addresses away that no packet finds any more.
func (l *lowering) clearDigits() {
	for a, left := range l.recents.leaving {
		if left.epoch+1 >= l.epoch {
			continue
		}
		for place, digit := range digitsOf(left.slot) {
			if name := recentDigit(familyOf(a), place, digit); l.sets[name] != nil {
				l.remove(name, addressKey(a))
			}
		}
		delete(l.recents.leaving, a)
	}
}

// promote gives the verdict maps what the plain sets have. The sets keep it until the next commit ([lowering.settle]), so that a
// packet on its way through the chains finds the address in one of the two.
func (l *lowering) promote() {
	for a := range l.recents.addresses {
		l.placePeer(a)
	}
	l.recents.promoted = true
}

// promoteIfDue promotes if there are enough, or if it costs nothing more.
func (l *lowering) promoteIfDue() {
	if n := len(l.recents.addresses); n > l.recents.most || n > 0 && l.walks() {
		l.promote()
	}
}

// settleMoved gives the verdict maps the addresses that moved, while the maps of those still hide them; it reports whether there
// are any.
func (l *lowering) settleMoved() bool {
	if len(l.moved) == 0 {
		return false
	}
	for a := range l.moved {
		l.removeRecent(a)
		l.placePeer(a)
	}
	if l.together {
		l.promote()
	}
	return true
}

// settle empties the plain sets after a promotion, and the maps of addresses that moved; it reports whether there is
// something to commit.
func (l *lowering) settle() bool {
	clear(l.recents.fresh)
	if !l.recents.promoted && len(l.moved) == 0 {
		return false
	}
	for a := range l.moved {
		for _, s := range sides() {
			if s.family == familyOf(a) {
				l.remove(s.moved(), addressKey(a))
			}
		}
	}
	clear(l.moved)
	if l.recents.promoted {
		for a := range l.recents.addresses {
			l.removeRecent(a)
		}
	}
	l.recents.promoted = false
	return true
}

// buildSlots makes the chains that follow the digits of the numbers that changed hands.
func (l *lowering) buildSlots(family uint8) {
	dirty := l.recents.dirty[family]
	if len(dirty) == 0 {
		return
	}
	ids := l.recents.taken[family]
	for _, s := range sides() {
		if s.family != family {
			continue
		}
		leaves, nodes := map[[2]int]bool{}, map[int]bool{}
		for slot := range dirty {
			d := digitsOf(slot)
			leaves[[2]int{d[0], d[1]}], nodes[d[0]] = true, true
		}
		for leaf := range leaves {
			l.buildDigit(s, leaf[:], func(digit int) string {
				if slot := (leaf[0]*slotBase+leaf[1])*slotBase + digit; slot < len(ids) && ids[slot] != 0 {
					return l.identityChain(s, ids[slot])
				}
				return ""
			})
		}
		next := func(known ...int) string {
			name := s.recentChain(known...)
			if c := l.chains[name]; c == nil || len(c.rules) == 0 {
				return "" // an empty one would lead back to the caller, and that allows
			}
			return name
		}
		for node := range nodes {
			l.buildDigit(s, []int{node}, func(digit int) string { return next(node, digit) })
		}
		l.buildDigit(s, nil, func(digit int) string { return next(digit) })
	}
	clear(dirty)
}

// buildDigit makes one chain: from the digits known to where each next one leads. One without any that leads on goes away,
// but the first. A packet whose next digit is missing is on its way through a commit: it fails closed.
func (l *lowering) buildDigit(s side, known []int, to func(digit int) string) {
	var rules []rule
	for digit := range slotBase {
		chain := to(digit)
		if chain == "" {
			continue
		}
		name := recentDigit(s.family, len(known), digit)
		l.makeSet(name, setSpec{key: s.key()})
		rules = append(rules, rule{family: s.family, setField: s.peer(), set: name, verdict: goTo, chain: chain})
	}
	name := s.recentChain(known...)
	if len(rules) == 0 && len(known) > 0 {
		if l.chains[name] != nil {
			l.setChain(name)
			l.unpin(name)
		}
		return
	}
	l.setChain(name, append(rules, rule{counted: true, verdict: drop})...)
}

// walks reports whether the next commit makes the kernel walk the table.
func (m *model) walks() bool {
	for name, was := range m.wasChain {
		if now := m.chains[name]; now != nil && (was == nil || !slices.Equal(*was, now.rules)) {
			return true
		}
	}
	for name, noted := range m.wasElement {
		s := m.sets[name]
		if s == nil || !s.verdicts {
			continue
		}
		for key, was := range noted {
			if now, ok := s.elements[key]; ok && (was == nil || *was != now) {
				return true
			}
		}
	}
	return false
}
