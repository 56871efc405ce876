//go:build linux

package bpf

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// change is what has to be done to the maps: what nothing refers to yet is written at any time, then the elements, then the
// generation is raised, and only then what is gone is deleted.
type change struct {
	generation uint64

	rules    []ruleset.RuleID // new: their hits start from nothing
	segments []placed
	subjects []placedSubject

	hosts    []hostValue
	cells    []cellValue
	prefixes []prefixChange

	goneHosts    []addressKey
	goneCells    []cellKey
	gonePrefixes []prefixKey
}

type placed struct {
	first    uint32
	segments []segment
}

type placedSubject struct {
	place uint32
	value subjectValue
}

type prefixChange struct {
	key   prefixKey
	value prefixValue
}

// planner carries tables through deltas and remembers what was in force before, by element.
type planner struct {
	*tables
	out      change
	hosts    map[netip.Addr]host
	prefixes map[netip.Prefix]host
	cells    map[cellKey]rowRef

	// refresh says that endpoints may have other subjects; left are those that are no endpoints any more.
	refresh  bool
	left     []netip.Addr
	goneRows []placedRow
}

// plan changes t to what it is after the deltas, and returns what the kernel has to be told. After an error t is not to be
// used any more.
func (t *tables) plan(deltas []*ruleset.Delta) (*change, error) {
	p := &planner{
		tables:   t,
		hosts:    map[netip.Addr]host{},
		prefixes: map[netip.Prefix]host{},
		cells:    map[cellKey]rowRef{},
	}
	t.generation++
	p.out.generation = t.generation
	for _, d := range deltas {
		if err := p.add(d); err != nil {
			return nil, fmt.Errorf("plan delta to revision %d: %w", d.Revision, err)
		}
	}
	released, err := p.refreshEndpoints()
	if err != nil {
		return nil, err
	}
	p.concludeHosts()
	p.concludeCells()
	p.concludePrefixes()
	// Whoever reads the rows and subjects that are given back here is judged again: their places are written to in the next
	// generation at the earliest.
	for _, r := range p.goneRows {
		t.segments.give(r.ref.First, r.size)
	}
	for _, place := range released {
		t.places.give(place, 1)
	}
	return &p.out, nil
}

func (p *planner) add(d *ruleset.Delta) error {
	for _, c := range d.Rules {
		if uint32(c.ID) >= p.ruleLimit {
			return fmt.Errorf("rule %d: %w", c.ID, errFull)
		}
		p.rules[c.ID] = c.Rule
		p.out.rules = append(p.out.rules, c.ID)
	}
	for _, c := range d.Rows {
		if err := p.addRow(c); err != nil {
			return err
		}
	}
	for _, c := range d.Programs {
		one := p.programs[c.ID]
		if one == nil {
			one = &program{cells: map[ruleset.IdentityID]ruleset.RowID{}}
			p.programs[c.ID] = one
		}
		one.default4, one.default6 = c.Default4, c.Default6
	}
	for _, c := range d.Cells {
		one := p.programs[c.Program]
		if one == nil {
			return fmt.Errorf("cell of program %d, which is missing", c.Program)
		}
		p.touchCell(c.Program, c.Identity)
		if c.Row == 0 {
			delete(one.cells, c.Identity)
		} else {
			one.cells[c.Identity] = c.Row
		}
	}
	for _, c := range d.Subjects {
		p.subjects[c.ID] = c.Subject
	}
	for _, c := range d.Addresses {
		p.setAddress(c.Prefix, c.Address.Identity, c.Address.Strangers)
	}
	for _, c := range d.Endpoints {
		p.endpoints[c.Addr] = c.Endpoint.Subject
	}
	for _, a := range d.GoneEndpoints {
		delete(p.endpoints, a)
		p.left = append(p.left, a)
	}
	for _, prefix := range d.GoneAddresses {
		p.setAddress(prefix, 0, 0)
	}
	for _, id := range d.GoneSubjects {
		delete(p.subjects, id)
	}
	for _, id := range d.GonePrograms {
		if one := p.programs[id]; one != nil {
			for identity := range one.cells {
				p.touchCell(id, identity)
			}
		}
		delete(p.programs, id)
	}
	for _, id := range d.GoneRows {
		p.goneRows = append(p.goneRows, p.rows[id])
		delete(p.rows, id)
	}
	for _, id := range d.GoneRules {
		delete(p.rules, id)
	}
	p.refresh = p.refresh || len(d.Programs)+len(d.Subjects)+len(d.Endpoints)+len(d.GoneEndpoints)+len(d.GonePrograms) > 0
	return nil
}

func (p *planner) addRow(c ruleset.RowChange) error {
	flat, err := flatten(c.Row)
	if err != nil {
		return fmt.Errorf("row %d: %w", c.ID, err)
	}
	size := uint32(len(flat.segments))
	first, err := p.segments.take(size)
	if err != nil {
		return fmt.Errorf("place row %d: %w", c.ID, err)
	}
	ref := flat.place(first)
	p.rows[c.ID] = placedRow{ref: ref, size: size, sum: p.sum(flat.segments)}
	p.out.segments = append(p.out.segments, placed{first: first, segments: flat.segments})
	return nil
}

// touchCell remembers what the cell was before the first delta.
func (p *planner) touchCell(id ruleset.ProgramID, identity ruleset.IdentityID) {
	key := cellKey{Program: uint32(id), Identity: uint32(identity)}
	if _, ok := p.cells[key]; !ok {
		p.cells[key] = p.cell(key)
	}
}

// cell returns the row of a cell as the tables have it now.
func (t *tables) cell(key cellKey) rowRef {
	one := t.programs[ruleset.ProgramID(key.Program)]
	if one == nil {
		return rowRef{}
	}
	row, ok := one.cells[ruleset.IdentityID(key.Identity)]
	if !ok {
		return rowRef{}
	}
	return t.rows[row].ref
}

func (p *planner) touchHost(a netip.Addr) {
	if _, ok := p.hosts[a]; !ok {
		p.hosts[a] = p.tables.hosts[a]
	}
}

func (p *planner) setHost(a netip.Addr, h host) {
	p.touchHost(a)
	if h == (host{}) {
		delete(p.tables.hosts, a)
	} else {
		p.tables.hosts[a] = h
	}
}

// setAddress sets the identity of a prefix, 0 removes it, and what strangers in it are judged as.
func (p *planner) setAddress(prefix netip.Prefix, identity ruleset.IdentityID, strangers ruleset.SubjectID) {
	if isHost(prefix) {
		h := p.tables.hosts[prefix.Addr()]
		h.identity = identity
		p.setHost(prefix.Addr(), h)
		return
	}
	h := p.tables.prefixes[prefix]
	h.identity = identity
	if _, had := p.strangers[prefix]; had || strangers != 0 {
		p.refresh = true
	}
	if strangers == 0 {
		delete(p.strangers, prefix)
		h.subject = 0
	} else {
		p.strangers[prefix] = strangers
	}
	p.setPrefix(prefix, h)
}

func (p *planner) setPrefix(prefix netip.Prefix, h host) {
	if _, ok := p.prefixes[prefix]; !ok {
		p.prefixes[prefix] = p.tables.prefixes[prefix]
	}
	if h == (host{}) {
		delete(p.tables.prefixes, prefix)
	} else {
		p.tables.prefixes[prefix] = h
	}
}

// refreshEndpoints gives every endpoint the subject that it has to have, and returns the places that are not used any more.
func (p *planner) refreshEndpoints() (released []uint32, err error) {
	if !p.refresh {
		return nil, nil
	}
	places := map[uint32]subjectValue{}
	for value, r := range p.records {
		places[r.place] = value
		r.refs = 0
	}
	for a, id := range p.endpoints {
		place, err := p.placeSubject(p.subjectOf(a, id))
		if err != nil {
			return nil, fmt.Errorf("place subject of %s: %w", a, err)
		}
		if h := p.tables.hosts[a]; h.subject != place {
			h.subject = place
			p.setHost(a, h)
		}
	}
	for prefix, id := range p.strangers {
		place, err := p.placeSubject(p.subjectOf(prefix.Addr(), id))
		if err != nil {
			return nil, fmt.Errorf("place subject of %s: %w", prefix, err)
		}
		if h := p.tables.prefixes[prefix]; h.subject != place {
			h.subject = place
			p.setPrefix(prefix, h)
		}
	}
	for _, a := range p.left {
		if _, back := p.endpoints[a]; !back {
			h := p.tables.hosts[a]
			h.subject = 0
			p.setHost(a, h)
		}
	}
	for place, value := range places {
		if p.records[value].refs == 0 {
			delete(p.records, value)
			released = append(released, place)
		}
	}
	return released, nil
}

// placeSubject finds the element, or makes it, and counts one reference more.
func (p *planner) placeSubject(value subjectValue) (uint32, error) {
	r := p.records[value]
	if r == nil {
		place, err := p.places.take(1)
		if err != nil {
			return 0, err
		}
		r = &record{place: place}
		p.records[value] = r
		p.out.subjects = append(p.out.subjects, placedSubject{place: place, value: value})
	}
	r.refs++
	return r.place, nil
}

func (p *planner) concludeHosts() {
	for a, was := range p.hosts {
		is := p.tables.hosts[a]
		if is == was {
			continue
		}
		p.out.hosts = append(p.out.hosts, hostValue{
			Key:      keyOf(a),
			Identity: uint32(is.identity), WasIdentity: uint32(was.identity),
			Subject: is.subject, WasSubject: was.subject,
			Generation: p.out.generation,
		})
		if is == (host{}) {
			p.out.goneHosts = append(p.out.goneHosts, keyOf(a))
		}
	}
}

func (p *planner) concludeCells() {
	for key, was := range p.cells {
		is := p.cell(key)
		if is == was {
			continue
		}
		p.out.cells = append(p.out.cells, cellValue{Key: key, Row: is, Was: was, Generation: p.out.generation})
		if is == (rowRef{}) {
			p.out.goneCells = append(p.out.goneCells, key)
		}
	}
}

// concludePrefixes: an element that comes or goes hides a shorter prefix, so for the time that it does not count it says
// what that says.
func (p *planner) concludePrefixes() {
	for prefix, was := range p.prefixes {
		is := p.tables.prefixes[prefix]
		if is == was {
			continue
		}
		gone := is == (host{})
		if was == (host{}) {
			was = p.shorter(prefix, true)
		}
		if gone {
			is = p.shorter(prefix, false)
		}
		key := keyOfPrefix(prefix)
		p.out.prefixes = append(p.out.prefixes, prefixChange{
			key: key,
			value: prefixValue{
				Identity: uint32(is.identity), WasIdentity: uint32(was.identity), Subject: is.subject, WasSubject: was.subject,
				Generation: p.out.generation,
			},
		})
		if gone {
			p.out.gonePrefixes = append(p.out.gonePrefixes, key)
		}
	}
}

// shorter returns what the longest prefix around prefix says, before or after the deltas.
func (p *planner) shorter(prefix netip.Prefix, before bool) host {
	for bits := prefix.Bits() - 1; bits >= 0; bits-- {
		around := netip.PrefixFrom(prefix.Addr(), bits).Masked()
		out := p.tables.prefixes[around]
		if was, touched := p.prefixes[around]; touched && before {
			out = was
		}
		if out != (host{}) {
			return out
		}
	}
	return host{}
}

// full returns the delta from nothing to r.
func full(r *ruleset.Ruleset) *ruleset.Delta {
	d := &ruleset.Delta{Revision: r.Revision}
	for id, rule := range r.Rules {
		d.Rules = append(d.Rules, ruleset.RuleChange{ID: id, Rule: rule})
	}
	for id, row := range r.Rows {
		d.Rows = append(d.Rows, ruleset.RowChange{ID: id, Row: row})
	}
	for id, p := range r.Programs {
		d.Programs = append(d.Programs, ruleset.ProgramChange{ID: id, Default4: p.Default4, Default6: p.Default6})
		for identity, row := range p.Rows {
			d.Cells = append(d.Cells, ruleset.Cell{Program: id, Identity: identity, Row: row})
		}
	}
	for id, s := range r.Subjects {
		d.Subjects = append(d.Subjects, ruleset.SubjectChange{ID: id, Subject: s})
	}
	for prefix, a := range r.Addresses {
		d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: prefix, Address: a})
	}
	for a, e := range r.Endpoints {
		d.Endpoints = append(d.Endpoints, ruleset.EndpointChange{Addr: a, Endpoint: e})
	}
	return d
}

// maxRule returns the largest ID of a rule: the map hits is by ID.
func (t *tables) maxRule() uint32 {
	out := uint32(0)
	for id := range t.rules {
		out = max(out, uint32(id))
	}
	return min(out, math.MaxInt32)
}
