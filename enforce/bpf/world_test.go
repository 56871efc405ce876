//go:build linux

package bpf

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// world makes random rulesets that follow from each other, with few addresses, ports and rules, so that they meet.
type world struct {
	rand   *rand.Rand
	is     *ruleset.Ruleset
	nextID map[string]uint32
}

func newWorld(seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), is: ruleset.New(), nextID: map[string]uint32{}}
	return w
}

// id returns an ID that is not in use: often one that was given back.
func id[K ~uint32, V any](w *world, m map[K]V) K {
	for n := K(1); ; n++ {
		if _, used := m[n]; !used && (w.rand.IntN(4) > 0) {
			return n
		}
	}
}

func pick[K ~uint32, V any](w *world, m map[K]V) K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys[w.rand.IntN(len(keys))]
}

func (w *world) addr() netip.Addr {
	if w.rand.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, 0, byte(w.rand.IntN(2)), byte(1 + w.rand.IntN(12))})
	}
	a := [16]byte{0: 0xfd, 14: byte(w.rand.IntN(2)), 15: byte(1 + w.rand.IntN(12))}
	return netip.AddrFrom16(a)
}

func (w *world) prefix() netip.Prefix {
	a := w.addr()
	if w.rand.IntN(3) == 0 {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.PrefixFrom(a, w.rand.IntN(a.BitLen()+1)).Masked()
}

func (w *world) port() uint16 {
	return []uint16{0, 1, 53, 80, 81, 443, 1024, 5000, 8 << 8, 128 << 8, 135 << 8, 65534, 65535}[w.rand.IntN(13)]
}

func (w *world) protocol() uint8 {
	return []uint8{0, 1, 2, 6, 6, 6, 17, 17, 47, 50, 58, 132, 136, 255}[w.rand.IntN(14)]
}

// cut splits 0..65535 at random places.
func (w *world) cut(most int) [][2]uint16 {
	cuts := []uint32{0}
	for range w.rand.IntN(most + 1) {
		cuts = append(cuts, uint32(w.port()))
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out [][2]uint16
	for i, c := range cuts {
		last := uint32(math.MaxUint16)
		if i+1 < len(cuts) {
			last = cuts[i+1] - 1
		}
		out = append(out, [2]uint16{uint16(c), uint16(last)})
	}
	return out
}

func (w *world) row() ruleset.Row {
	protocols := []uint8{0}
	for range w.rand.IntN(4) {
		protocols = append(protocols, w.protocol())
	}
	slices.Sort(protocols)
	var out ruleset.Row
	for _, p := range slices.Compact(protocols) {
		segment := func(first, last, sourceFirst, sourceLast uint16) {
			s := ruleset.Segment{
				Protocol: p, First: first, Last: last, SourceFirst: sourceFirst, SourceLast: sourceLast,
				Allow: w.rand.IntN(2) == 0, Rule: pick(w, w.is.Rules),
			}
			if w.rand.IntN(4) == 0 {
				s.Log = pick(w, w.is.Rules)
			}
			out = append(out, s)
		}
		switch w.rand.IntN(4) {
		case 0: // split by both
			for _, ports := range w.cut(4) {
				for _, sources := range w.cut(3) {
					segment(ports[0], ports[1], sources[0], sources[1])
				}
			}
		case 1: // rectangles that are not a grid: sources first
			for _, sources := range w.cut(2) {
				for _, ports := range w.cut(3) {
					segment(ports[0], ports[1], sources[0], sources[1])
				}
			}
		default:
			for _, ports := range w.cut(4) {
				segment(ports[0], ports[1], 0, math.MaxUint16)
			}
		}
	}
	return out
}

// step changes some things and returns the delta, in which nothing that is referred to goes.
func (w *world) step(changes int) *ruleset.Delta {
	d := &ruleset.Delta{Revision: w.is.Revision + 1}
	is := w.is
	if len(is.Rules) == 0 {
		changes += 40
		for range 6 {
			w.addRule(d)
		}
		for family := range uint8(2) {
			w.addIdentity(d, 4+2*family)
		}
		for range 6 {
			w.addRow(d)
		}
		w.addAddress(d, netip.MustParsePrefix("0.0.0.0/0"))
		w.addAddress(d, netip.MustParsePrefix("::/0"))
		w.addProgram(d, ruleset.Ingress)
		w.addProgram(d, ruleset.Egress)
		w.addSubject(d)
	}
	for range changes {
		switch w.rand.IntN(12) {
		case 0:
			w.addRule(d)
		case 1, 2:
			w.addRow(d)
		case 3:
			w.addIdentity(d, uint8(4+2*w.rand.IntN(2)))
		case 4:
			w.addProgram(d, ruleset.Direction(w.rand.IntN(2)))
		case 5:
			w.addSubject(d)
		case 6, 7:
			w.setCell(d)
		case 8, 9:
			w.addAddress(d, w.prefix())
		case 10:
			a := w.addr()
			w.addAddress(d, netip.PrefixFrom(a, a.BitLen()))
			e := ruleset.EndpointChange{Addr: a, Endpoint: ruleset.Endpoint{Subject: pick(w, is.Subjects)}}
			is.Endpoints[a] = e.Endpoint
			d.Endpoints = append(d.Endpoints, e)
		case 11: // changes in place
			w.changeInPlace(d)
		}
	}
	w.forget(d)
	is.Revision = d.Revision
	return d
}

func (w *world) addRule(d *ruleset.Delta) {
	n := id(w, w.is.Rules)
	if slices.Contains(d.GoneRules, n) {
		return
	}
	c := ruleset.RuleChange{ID: n, Rule: ruleset.Rule{Tier: "t", Policy: fmt.Sprint(w.rand.Uint64())}}
	w.is.Rules[n] = c.Rule
	d.Rules = append(d.Rules, c)
}

func (w *world) addRow(d *ruleset.Delta) {
	c := ruleset.RowChange{ID: id(w, w.is.Rows), Row: w.row()}
	w.is.Rows[c.ID] = c.Row
	d.Rows = append(d.Rows, c)
}

func (w *world) addIdentity(d *ruleset.Delta, family uint8) {
	c := ruleset.IdentityChange{ID: id(w, w.is.Identities), Identity: ruleset.Identity{Family: family}}
	w.is.Identities[c.ID] = c.Identity
	d.Identities = append(d.Identities, c)
}

func (w *world) addAddress(d *ruleset.Delta, p netip.Prefix) {
	for {
		i := pick(w, w.is.Identities)
		if w.is.Identities[i].Family != family(p.Addr()) {
			continue
		}
		c := ruleset.AddressChange{Prefix: p, Address: ruleset.Address{Identity: i}}
		if len(w.is.Subjects) > 0 && !p.IsSingleIP() && w.rand.IntN(3) == 0 {
			c.Address.Strangers = pick(w, w.is.Subjects)
		}
		w.is.Addresses[p] = c.Address
		d.Addresses = append(d.Addresses, c)
		return
	}
}

func (w *world) addProgram(d *ruleset.Delta, direction ruleset.Direction) {
	c := ruleset.ProgramChange{
		ID: id(w, w.is.Programs), Direction: direction, Default4: pick(w, w.is.Rows), Default6: pick(w, w.is.Rows),
	}
	w.is.Programs[c.ID] = &ruleset.Program{
		Direction: direction, Default4: c.Default4, Default6: c.Default6, Rows: map[ruleset.IdentityID]ruleset.RowID{},
	}
	d.Programs = append(d.Programs, c)
}

func (w *world) programOf(direction ruleset.Direction) ruleset.ProgramID {
	for {
		if n := pick(w, w.is.Programs); w.is.Programs[n].Direction == direction {
			return n
		}
	}
}

func (w *world) addSubject(d *ruleset.Delta) {
	w.setSubject(d, id(w, w.is.Subjects))
}

func (w *world) setSubject(d *ruleset.Delta, n ruleset.SubjectID) {
	c := ruleset.SubjectChange{ID: n, Subject: ruleset.Subject{Ingress: w.programOf(ruleset.Ingress), Egress: w.programOf(ruleset.Egress)}}
	w.is.Subjects[c.ID] = c.Subject
	d.Subjects = append(d.Subjects, c)
}

func (w *world) setCell(d *ruleset.Delta) {
	c := ruleset.Cell{Program: pick(w, w.is.Programs), Identity: pick(w, w.is.Identities)}
	p := w.is.Programs[c.Program]
	if w.rand.IntN(4) > 0 {
		c.Row = pick(w, w.is.Rows)
		p.Rows[c.Identity] = c.Row
	} else {
		delete(p.Rows, c.Identity)
	}
	d.Cells = append(d.Cells, c)
}

func (w *world) changeInPlace(d *ruleset.Delta) {
	if w.rand.IntN(2) == 0 {
		w.setSubject(d, pick(w, w.is.Subjects))
		return
	}
	n := pick(w, w.is.Programs)
	p := w.is.Programs[n]
	p.Default4, p.Default6 = pick(w, w.is.Rows), pick(w, w.is.Rows)
	d.Programs = append(d.Programs, ruleset.ProgramChange{ID: n, Direction: p.Direction, Default4: p.Default4, Default6: p.Default6})
}

// forget removes some endpoints and addresses, and then what nothing refers to; but nothing that came in the same delta.
func (w *world) forget(d *ruleset.Delta) {
	is := w.is
	for _, a := range sortedKeys(is.Endpoints) {
		if w.rand.IntN(20) == 0 && !slices.ContainsFunc(d.Endpoints, func(c ruleset.EndpointChange) bool { return c.Addr == a }) {
			delete(is.Endpoints, a)
			d.GoneEndpoints = append(d.GoneEndpoints, a)
		}
	}
	for p := range is.Addresses {
		_, endpoint := is.Endpoints[p.Addr()]
		fresh := slices.ContainsFunc(d.Addresses, func(c ruleset.AddressChange) bool { return c.Prefix == p })
		if p.Bits() > 0 && (!endpoint || !p.IsSingleIP()) && !fresh && w.rand.IntN(10) == 0 {
			delete(is.Addresses, p)
			d.GoneAddresses = append(d.GoneAddresses, p)
		}
	}
	subjects := map[ruleset.SubjectID]bool{pick(w, is.Subjects): true}
	for _, e := range is.Endpoints {
		subjects[e.Subject] = true
	}
	for _, a := range is.Addresses {
		subjects[a.Strangers] = true
	}
	for _, c := range d.Subjects {
		subjects[c.ID] = true
	}
	d.GoneSubjects = unused(is.Subjects, subjects)
	programs := map[ruleset.ProgramID]bool{}
	for _, s := range is.Subjects {
		programs[s.Ingress], programs[s.Egress] = true, true
	}
	for _, c := range d.Programs {
		programs[c.ID] = true
	}
	for _, c := range d.Cells {
		programs[c.Program] = true
	}
	d.GonePrograms = unused(is.Programs, programs)
	identities := map[ruleset.IdentityID]bool{}
	for _, a := range is.Addresses {
		identities[a.Identity] = true
	}
	rows := map[ruleset.RowID]bool{}
	for _, p := range is.Programs {
		rows[p.Default4], rows[p.Default6] = true, true
		for i, row := range p.Rows {
			rows[row], identities[i] = true, true
		}
	}
	for _, c := range d.Identities {
		identities[c.ID] = true
	}
	for _, c := range d.Cells {
		identities[c.Identity] = true
	}
	d.GoneIdentities = unused(is.Identities, identities)
	for _, c := range d.Rows {
		rows[c.ID] = true
	}
	for len(rows) < 6 && len(rows) < len(is.Rows) {
		rows[pick(w, is.Rows)] = true
	}
	d.GoneRows = unused(is.Rows, rows)
	rules := map[ruleset.RuleID]bool{}
	for _, row := range is.Rows {
		for _, s := range row {
			rules[s.Rule], rules[s.Log] = true, true
		}
	}
	for _, c := range d.Rules {
		rules[c.ID] = true
	}
	d.GoneRules = unused(is.Rules, rules)
}

func unused[K ~uint32, V any](m map[K]V, used map[K]bool) []K {
	var out []K
	for k := range m {
		if !used[k] {
			delete(m, k)
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func sortedKeys[V any](m map[netip.Addr]V) []netip.Addr {
	out := make([]netip.Addr, 0, len(m))
	for a := range m {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func (w *world) flow() ruleset.Flow {
	f := ruleset.Flow{Protocol: w.protocol()}
	for {
		f.Source, f.Destination = w.addr(), w.addr()
		if w.rand.IntN(2) == 0 && len(w.is.Endpoints) > 0 {
			all := sortedKeys(w.is.Endpoints)
			f.Destination = all[w.rand.IntN(len(all))]
		}
		if f.Source.Is4() == f.Destination.Is4() {
			break
		}
	}
	switch f.Protocol {
	case protocolICMP, protocolICMPv6:
		n := w.port()
		f.ICMPType, f.ICMPCode = uint8(n>>8), uint8(n)
	case protocolTCP, protocolUDP, protocolSCTP, protocolUDPLite:
		f.Port, f.SourcePort = w.port(), w.port()
	}
	return f
}

// packet is the flow's first packet, from the IP header on.
func packet(t testing.TB, f ruleset.Flow) []byte {
	t.Helper()
	var upper []byte
	switch f.Protocol {
	case protocolICMP, protocolICMPv6:
		upper = append([]byte{f.ICMPType, f.ICMPCode}, make([]byte, 6)...)
	case protocolTCP, protocolUDP, protocolSCTP, protocolUDPLite:
		upper = append([]byte{byte(f.SourcePort >> 8), byte(f.SourcePort), byte(f.Port >> 8), byte(f.Port)}, make([]byte, 16)...)
	default:
		upper = make([]byte, 8)
	}
	return ipPacket(f.Source, f.Destination, f.Protocol, upper)
}

func ipPacket(source, destination netip.Addr, protocol uint8, upper []byte) []byte {
	if source.Is4() {
		length := 20 + len(upper)
		h := []byte{0x45, 0, byte(length >> 8), byte(length), 0, 0, 0, 0, 64, protocol, 0, 0}
		h = append(append(h, source.AsSlice()...), destination.AsSlice()...)
		return append(h, upper...)
	}
	h := []byte{0x60, 0, 0, 0, byte(len(upper) >> 8), byte(len(upper)), protocol, 64}
	h = append(append(h, source.AsSlice()...), destination.AsSlice()...)
	return append(h, upper...)
}
