package nft

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// world makes rulesets at random out of a small stock of addresses and ports, so that things meet. Each step gives the next
// ruleset, and the delta is what differs, so that IDs that were given back come again.
type world struct {
	*rand.Rand
	now    *ruleset.Ruleset
	lastID uint32
	// strangers is the subject of all prefixes that have one.
	strangers ruleset.SubjectID
}

func newWorld(seed uint64) *world {
	return &world{Rand: rand.New(rand.NewPCG(seed, 7)), now: ruleset.New()}
}

func one[T any](w *world, from ...T) T { return from[w.IntN(len(from))] }

// free returns an ID that m does not have; it may have had it before.
func free[K ~uint32, V any](m map[K]V) K {
	for id := K(1); ; id++ {
		if _, ok := m[id]; !ok {
			return id
		}
	}
}

func anyOf[K ~uint32, V any](w *world, m map[K]V) K {
	return one(w, slices.Sorted(maps.Keys(m))...)
}

func (w *world) addr() netip.Addr {
	return netip.MustParseAddr(one(w, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "10.0.1.255", "255.255.255.255", "0.0.0.0", "192.0.2.1",
		"fd00::1", "fd00::2", "fd00:1::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"))
}

func (w *world) prefix() netip.Prefix {
	a := w.addr()
	return netip.PrefixFrom(a, one(w, 1, 8, 16, 24, 31, 32, a.BitLen(), a.BitLen()-1, w.IntN(a.BitLen()))).Masked()
}

func (w *world) port() uint16 {
	return one[uint16](w, 0, 1, 22, 52, 53, 54, 80, 443, 768, 2048, 2049, 8080, 32767, 65534, 65535)
}

func (w *world) protocol() uint8 { return one[uint8](w, 1, 6, 6, 6, 17, 17, 47, 58, 132, 136) }

// cuts splits 0 to 65535 into spans.
func (w *world) cuts(most int) []span {
	starts := []uint16{0}
	for range w.IntN(most + 1) {
		starts = append(starts, w.port())
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	out := make([]span, 0, len(starts))
	for i, first := range starts {
		last := uint16(65535)
		if i+1 < len(starts) {
			last = starts[i+1] - 1
		}
		out = append(out, span{first, last})
	}
	return out
}

func (w *world) row() ruleset.Row {
	protocols := []uint8{ruleset.AnyProtocol}
	for range w.IntN(4) {
		protocols = append(protocols, w.protocol())
	}
	slices.Sort(protocols)
	var out ruleset.Row
	for _, p := range slices.Compact(protocols) {
		ports, sources := []span{{0, 65535}}, []span{{0, 65535}}
		if p != ruleset.AnyProtocol {
			ports = w.cuts(one(w, 2, 4, 12))
		}
		if p != ruleset.AnyProtocol && w.IntN(4) == 0 {
			sources = w.cuts(2)
		}
		for _, to := range ports {
			for _, from := range sources {
				s := ruleset.Segment{
					Protocol: p, First: to.first, Last: to.last, SourceFirst: from.first, SourceLast: from.last,
					Allow: w.IntN(2) == 0, Rule: anyOf(w, w.now.Rules),
				}
				if w.IntN(6) == 0 {
					s.Log = anyOf(w, w.now.Rules)
				}
				out = append(out, s)
			}
		}
	}
	return out
}

// step makes the next ruleset and returns what is different in it.
func (w *world) step(changes int) *ruleset.Delta {
	before := clone(w.now)
	w.now.Revision++
	for len(w.now.Rules) < 6 {
		w.now.Rules[free(w.now.Rules)] = ruleset.Rule{Tier: "default", Policy: "p", Index: w.IntN(1 << 30)}
	}
	for _, all := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
		if _, ok := w.now.Addresses[all]; !ok {
			w.now.Addresses[all] = ruleset.Address{Identity: w.identity(familyOf(all.Addr()))}
		}
	}
	for range changes {
		w.change()
	}
	w.estrange()
	w.sweep()
	return difference(before, w.now)
}

func (w *world) change() {
	r := w.now
	switch w.IntN(10) {
	case 0, 1:
		p := w.prefix()
		r.Addresses[p] = ruleset.Address{Identity: w.identity(familyOf(p.Addr()))}
	case 2:
		for p := range r.Addresses {
			if _, endpoint := r.Endpoints[p.Addr()]; p.Bits() > 0 && !(endpoint && p.IsSingleIP()) {
				delete(r.Addresses, p)
				break
			}
		}
	case 3, 4:
		a := w.addr()
		r.Endpoints[a] = ruleset.Endpoint{Subject: w.subject()}
		if own := netip.PrefixFrom(a, a.BitLen()); r.Addresses[own].Identity == 0 {
			r.Addresses[own] = ruleset.Address{Identity: w.identity(familyOf(a))}
		}
	case 5:
		delete(r.Endpoints, w.addr())
	case 6:
		if len(r.Programs) > 0 {
			p := r.Programs[anyOf(w, r.Programs)]
			p.Default4, p.Default6 = w.rowID(), w.rowID()
		}
	case 7:
		if len(r.Subjects) > 0 {
			r.Subjects[anyOf(w, r.Subjects)] = ruleset.Subject{Ingress: w.program(ruleset.Ingress), Egress: w.program(ruleset.Egress)}
		}
	default:
		if len(r.Programs) > 0 {
			p := r.Programs[anyOf(w, r.Programs)]
			p.Rows[anyOf(w, r.Identities)] = w.rowID()
		}
	}
}

// estrange lets some prefix say what strangers in it are judged as, or not any more.
func (w *world) estrange() {
	r := w.now
	if _, ok := r.Subjects[w.strangers]; !ok {
		w.strangers = free(r.Subjects)
		r.Subjects[w.strangers] = ruleset.Subject{}
	}
	s := r.Subjects[w.strangers]
	for p, a := range r.Addresses {
		if p.IsSingleIP() {
			continue
		}
		if w.IntN(8) == 0 {
			a.Strangers = one(w, 0, w.strangers)
		} else if a.Strangers != 0 {
			a.Strangers = w.strangers
		}
		r.Addresses[p] = a
	}
	for _, d := range []ruleset.Direction{ruleset.Ingress, ruleset.Egress} {
		id := &s.Ingress
		if d == ruleset.Egress {
			id = &s.Egress
		}
		if r.Programs[*id] == nil || w.IntN(10) == 0 {
			w.lastID++
			*id = ruleset.ProgramID(w.lastID)
			r.Programs[*id] = &ruleset.Program{Direction: d, Default4: w.rowID(), Default6: w.rowID()}
		}
		r.Programs[*id].Rows = map[ruleset.IdentityID]ruleset.RowID{} // they have none
	}
	r.Subjects[w.strangers] = s
}

func (w *world) identity(family uint8) ruleset.IdentityID {
	for id, i := range w.now.Identities {
		if i.Family == family && w.IntN(4) > 0 {
			return id
		}
	}
	id := free(w.now.Identities)
	w.now.Identities[id] = ruleset.Identity{Family: family}
	return id
}

func (w *world) rowID() ruleset.RowID {
	if len(w.now.Rows) > 0 && w.IntN(3) > 0 {
		return anyOf(w, w.now.Rows)
	}
	id := free(w.now.Rows)
	w.now.Rows[id] = w.row()
	return id
}

func (w *world) program(d ruleset.Direction) ruleset.ProgramID {
	for id, p := range w.now.Programs {
		if p.Direction == d && w.IntN(3) > 0 {
			return id
		}
	}
	w.lastID++ // a program's ID does not come back with the other direction
	id := ruleset.ProgramID(w.lastID)
	w.now.Programs[id] = &ruleset.Program{Direction: d, Default4: w.rowID(), Default6: w.rowID(), Rows: map[ruleset.IdentityID]ruleset.RowID{}}
	return id
}

func (w *world) subject() ruleset.SubjectID {
	if len(w.now.Subjects) > 0 && w.IntN(3) > 0 {
		return anyOf(w, w.now.Subjects)
	}
	id := free(w.now.Subjects)
	w.now.Subjects[id] = ruleset.Subject{Ingress: w.program(ruleset.Ingress), Egress: w.program(ruleset.Egress)}
	return id
}

// sweep takes out what nothing refers to, as a compiler does.
func (w *world) sweep() {
	r := w.now
	keep := func() (s map[ruleset.SubjectID]bool, p map[ruleset.ProgramID]bool, i map[ruleset.IdentityID]bool, rows map[ruleset.RowID]bool, rules map[ruleset.RuleID]bool) {
		return map[ruleset.SubjectID]bool{}, map[ruleset.ProgramID]bool{}, map[ruleset.IdentityID]bool{}, map[ruleset.RowID]bool{}, map[ruleset.RuleID]bool{}
	}
	subjects, programs, identities, rows, rules := keep()
	for _, e := range r.Endpoints {
		subjects[e.Subject] = true
	}
	for _, a := range r.Addresses {
		subjects[a.Strangers] = true
	}
	retain(r.Subjects, subjects)
	for _, s := range r.Subjects {
		programs[s.Ingress], programs[s.Egress] = true, true
	}
	retain(r.Programs, programs)
	for _, a := range r.Addresses {
		identities[a.Identity] = true
	}
	retain(r.Identities, identities)
	for _, p := range r.Programs {
		for i, row := range p.Rows {
			if !identities[i] || row == p.Default(r.Identities[i].Family) {
				delete(p.Rows, i)
				continue
			}
			rows[row] = true
		}
		rows[p.Default4], rows[p.Default6] = true, true
	}
	retain(r.Rows, rows)
	for _, row := range r.Rows {
		for _, s := range row {
			rules[s.Rule], rules[s.Log] = true, true
		}
	}
	retain(r.Rules, rules)
}

func retain[K comparable, V any](m map[K]V, keep map[K]bool) {
	maps.DeleteFunc(m, func(k K, _ V) bool { return !keep[k] })
}

func clone(r *ruleset.Ruleset) *ruleset.Ruleset {
	out := *r
	out.Identities, out.Addresses, out.Endpoints = maps.Clone(r.Identities), maps.Clone(r.Addresses), maps.Clone(r.Endpoints)
	out.Subjects, out.Rows, out.Rules = maps.Clone(r.Subjects), maps.Clone(r.Rows), maps.Clone(r.Rules)
	out.Programs = map[ruleset.ProgramID]*ruleset.Program{}
	for id, p := range r.Programs {
		q := *p
		q.Rows = maps.Clone(p.Rows)
		out.Programs[id] = &q
	}
	return &out
}

// difference is the delta from a to b.
func difference(a, b *ruleset.Ruleset) *ruleset.Delta {
	d := &ruleset.Delta{Revision: b.Revision}
	whole := wholeOf(b)
	d.Rows, d.Identities = whole.Rows, whole.Identities
	d.Rows = slices.DeleteFunc(d.Rows, func(c ruleset.RowChange) bool { return slices.Equal(a.Rows[c.ID], c.Row) })
	d.Identities = slices.DeleteFunc(d.Identities, func(c ruleset.IdentityChange) bool { return a.Identities[c.ID].Family == c.Identity.Family })
	for id, r := range b.Rules {
		if a.Rules[id] != r {
			d.Rules = append(d.Rules, ruleset.RuleChange{ID: id, Rule: r})
		}
	}
	for id, p := range b.Programs {
		old := a.Programs[id]
		if old == nil || old.Default4 != p.Default4 || old.Default6 != p.Default6 {
			d.Programs = append(d.Programs, ruleset.ProgramChange{ID: id, Direction: p.Direction, Default4: p.Default4, Default6: p.Default6})
		}
		if old == nil {
			old = &ruleset.Program{}
		}
		for i, row := range p.Rows {
			if old.Rows[i] != row {
				d.Cells = append(d.Cells, ruleset.Cell{Program: id, Identity: i, Row: row})
			}
		}
		for i := range old.Rows {
			if p.Rows[i] == 0 {
				d.Cells = append(d.Cells, ruleset.Cell{Program: id, Identity: i})
			}
		}
	}
	d.Subjects = slices.DeleteFunc(whole.Subjects, func(c ruleset.SubjectChange) bool { return a.Subjects[c.ID] == c.Subject })
	d.Addresses = slices.DeleteFunc(whole.Addresses, func(c ruleset.AddressChange) bool { return a.Addresses[c.Prefix] == c.Address })
	d.Endpoints = slices.DeleteFunc(whole.Endpoints, func(c ruleset.EndpointChange) bool { return a.Endpoints[c.Addr] == c.Endpoint })
	d.GoneEndpoints, d.GoneAddresses = goneKeys(a.Endpoints, b.Endpoints), goneKeys(a.Addresses, b.Addresses)
	d.GoneSubjects, d.GonePrograms = goneKeys(a.Subjects, b.Subjects), goneKeys(a.Programs, b.Programs)
	d.GoneIdentities, d.GoneRows, d.GoneRules = goneKeys(a.Identities, b.Identities), goneKeys(a.Rows, b.Rows), goneKeys(a.Rules, b.Rules)
	return d
}

func goneKeys[K comparable, V any](a, b map[K]V) []K {
	var out []K
	for k := range a {
		if _, ok := b[k]; !ok {
			out = append(out, k)
		}
	}
	return out
}

// flow is a packet that is likely to meet something.
func (w *world) flow() ruleset.Flow {
	for {
		f := ruleset.Flow{Source: w.addr(), Destination: w.addr(), Protocol: one(w, w.protocol(), 50, 1, 6)}
		if f.Source.Is4() != f.Destination.Is4() {
			continue
		}
		near := func() uint16 { return w.port() + one[uint16](w, 0, 0, 1, 65535) }
		if isICMP(f.Protocol) {
			f.ICMPType, f.ICMPCode = uint8(near()>>8), uint8(near())
		} else {
			f.SourcePort, f.Port = near(), near()
		}
		return f
	}
}

// stepped is the world's ruleset after one step.
func stepped(w *world, changes int) *ruleset.Ruleset {
	w.step(changes)
	return w.now
}
