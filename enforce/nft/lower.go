package nft

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// maxGroupRules is how many different rows an identity may have on a side before a verdict map by the endpoint's address
// takes the place of one rule per row.
const maxGroupRules = 8

// program is a program of the ruleset and the endpoints that run it.
type program struct {
	ruleset.ProgramChange
	cells   map[ruleset.IdentityID]ruleset.RowID
	members map[netip.Addr]bool
	groups  map[string]bool // names of the group sets that have the program's members
}

// group is the set of the endpoints of several programs: those that have a row of some identity in common.
type group struct {
	side     side
	programs []ruleset.ProgramID
}

// column is an identity as one direction sees it: the row in each program that has one for it.
type column map[ruleset.ProgramID]ruleset.RowID

type identity struct {
	family  uint8
	columns [2]column // by direction
}

// lowering keeps a model equal to a ruleset. It is pure: what the kernel is to do is what the model notes.
type lowering struct {
	*model
	recents  recents
	names    registry
	logGroup uint16
	// loading says that everything is new.
	loading bool

	rows       map[ruleset.RowID]ruleset.Row
	programs   map[ruleset.ProgramID]*program
	identities map[ruleset.IdentityID]*identity
	subjects   map[ruleset.SubjectID]ruleset.Subject
	users      map[ruleset.SubjectID]map[netip.Addr]bool
	endpoints  map[netip.Addr]ruleset.SubjectID
	hosts      map[netip.Addr]ruleset.IdentityID
	nets       map[netip.Prefix]ruleset.IdentityID
	strangers  map[netip.Prefix]ruleset.SubjectID

	// placed is what the model holds of each endpoint.
	placed map[netip.Addr]ruleset.Subject
	// outcomes are those that have chains, by rule; they stay as long as the rule does, for their counters.
	outcomes map[ruleset.RuleID]map[outcome]bool

	groups     map[string]*group // by name
	groupNames map[string]string // by what they hold
	groupCount int

	// together says that rules and the identities of addresses may change at the same time: that has to be one change for each
	// packet. moved are the addresses for which it is, and those that the verdict maps have with another identity.
	together bool
	moved    map[netip.Addr]bool

	dirtyEndpoints map[netip.Addr]bool
	dirtyColumns   map[ruleset.IdentityID]bool
	dirtyHosts     map[netip.Addr]bool
	dirtyNets      map[uint8]bool
	dirtyStrangers map[uint8]bool
}

// newLowering returns the lowering of a ruleset without endpoints.
func newLowering(logGroup uint16) *lowering {
	l := &lowering{
		model: newModel(), recents: newRecents(defaultRecent), names: newRegistry(), logGroup: logGroup,
		rows: map[ruleset.RowID]ruleset.Row{}, programs: map[ruleset.ProgramID]*program{},
		identities: map[ruleset.IdentityID]*identity{}, subjects: map[ruleset.SubjectID]ruleset.Subject{},
		users: map[ruleset.SubjectID]map[netip.Addr]bool{}, endpoints: map[netip.Addr]ruleset.SubjectID{},
		hosts: map[netip.Addr]ruleset.IdentityID{}, nets: map[netip.Prefix]ruleset.IdentityID{}, strangers: map[netip.Prefix]ruleset.SubjectID{},
		placed: map[netip.Addr]ruleset.Subject{}, outcomes: map[ruleset.RuleID]map[outcome]bool{},
		groups: map[string]*group{}, groupNames: map[string]string{}, moved: map[netip.Addr]bool{},
	}
	l.clean()
	l.frame()
	return l
}

func (l *lowering) clean() {
	l.dirtyEndpoints, l.dirtyHosts = map[netip.Addr]bool{}, map[netip.Addr]bool{}
	l.dirtyColumns, l.dirtyNets, l.dirtyStrangers = map[ruleset.IdentityID]bool{}, map[uint8]bool{}, map[uint8]bool{}
}

// Masks of conntrack states (NF_CT_STATE_BIT).
const (
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
	stateNew         = 1 << 3
)

// frame makes what is there whatever the ruleset is. What is no endpoint's and no stranger's is not judged. What is goes
// through a side's chains, and passes only if it is accepted there: a packet that finds a chain empty, because it came before
// the commit that made it, comes back, and fails closed.
func (l *lowering) frame() {
	for _, family := range []uint8{4, 6} {
		for _, name := range []string{endpointSet(family), recentSet(family)} {
			l.makeSet(name, setSpec{key: side{family: family}.key()})
			l.pinSet(name)
		}
		l.makeSet(strangerSet(family), setSpec{key: side{family: family}.key(), intervals: true})
	}
	judged := map[ruleset.Direction][]rule{ruleset.Egress: nil, ruleset.Ingress: nil}
	for _, s := range sides() {
		l.frameSide(s)
		judged[s.direction] = append(judged[s.direction],
			rule{family: s.family, setField: s.own(), set: endpointSet(s.family), verdict: jump, chain: s.String()},
			rule{family: s.family, setField: s.own(), set: endpointSet(s.family), counted: true, verdict: drop},
			rule{family: s.family, setField: s.own(), set: strangerSet(s.family), verdict: jump, chain: s.strangers()},
			rule{family: s.family, setField: s.own(), set: strangerSet(s.family), counted: true, verdict: drop})
	}
	for d, rules := range judged {
		l.setChain(d.String(), append([]rule{
			{reply: true, states: stateEstablished | stateRelated, verdict: accept},
			// Related is also what conntrack's helpers announce, a connection like any other: only ICMP errors pass.
			{states: stateRelated, hasProtocol: true, protocol: unix.IPPROTO_ICMP, verdict: accept},
			{states: stateRelated, hasProtocol: true, protocol: unix.IPPROTO_ICMPV6, verdict: accept},
		}, rules...)...)
		l.pin(d.String())
	}
}

func (l *lowering) frameSide(s side) {
	l.makeSet(s.defaults(), setSpec{key: s.key(), verdicts: true})
	l.makeSet(s.peers(), setSpec{key: s.key(), verdicts: true})
	l.makeSet(s.moved(), setSpec{key: s.key(), verdicts: true})
	l.makeSet(s.nets(), setSpec{key: s.key(), verdicts: true, intervals: true})
	l.setChain(s.strangers(), l.strangerRule(s, 0))
	l.setChain(s.defaults(),
		rule{family: s.family, setField: s.own(), set: s.defaults(), isMap: true},
		rule{counted: true, verdict: drop})
	l.buildDigit(s, nil, func(int) string { return "" })
	l.setChain(s.String(),
		rule{family: s.family, setField: s.peer(), set: s.moved(), isMap: true},
		rule{family: s.family, setField: s.peer(), set: recentSet(s.family), verdict: goTo, chain: s.recentChain()},
		rule{family: s.family, setField: s.peer(), set: s.peers(), isMap: true},
		rule{family: s.family, setField: s.peer(), set: s.nets(), isMap: true},
		rule{counted: true, verdict: drop})
}

// load brings an empty lowering to r.
func (l *lowering) load(r *ruleset.Ruleset) error {
	l.loading = true
	defer func() {
		l.loading = false
		clear(l.recents.fresh)
	}()
	return l.apply(wholeOf(r))
}

// apply brings the model to the ruleset after d.
func (l *lowering) apply(d *ruleset.Delta) error {
	for _, c := range d.Rows {
		if old, ok := l.rows[c.ID]; ok && !slices.Equal(old, c.Row) {
			return fmt.Errorf("row %d changes", c.ID)
		}
		l.rows[c.ID] = c.Row
	}
	for _, c := range d.Identities {
		l.identity(c.ID).family = c.Identity.Family
	}
	if err := l.applyPrograms(d); err != nil {
		return err
	}
	for _, c := range d.Subjects {
		l.subjects[c.ID] = c.Subject
		for a := range l.users[c.ID] {
			l.dirtyEndpoints[a] = true
		}
		l.noteStrangers(func(id ruleset.SubjectID) bool { return id == c.ID })
	}
	for _, c := range d.Addresses {
		l.setAddress(c.Prefix, c.Address.Identity)
		if !c.Prefix.IsSingleIP() {
			l.setStrangers(c.Prefix, c.Address.Strangers)
		}
	}
	for _, c := range d.Endpoints {
		l.setEndpoint(c.Addr.Unmap(), c.Endpoint.Subject)
	}
	for _, a := range d.GoneEndpoints {
		l.setEndpoint(a.Unmap(), 0)
	}
	for _, p := range d.GoneAddresses {
		l.setAddress(p, 0)
		if !p.IsSingleIP() {
			l.setStrangers(p, 0)
		}
	}
	for _, id := range d.GoneSubjects {
		delete(l.subjects, id)
		for a := range l.users[id] {
			l.dirtyEndpoints[a] = true
		}
	}
	for _, id := range d.GonePrograms {
		l.dropCells(id)
	}
	l.flush()
	for _, id := range d.GoneIdentities {
		l.recents.giveSlot(l.identity(id).family, id)
	}
	l.buildSlots(4)
	l.buildSlots(6)
	for _, id := range d.GonePrograms {
		l.forgetProgram(id)
	}
	for _, id := range d.GoneIdentities {
		delete(l.identities, id)
		for _, s := range sides() {
			delete(l.names.identities, identityName{s, id})
			delete(l.names.identityRows, identityName{s, id})
		}
	}
	for _, id := range d.GoneRows {
		delete(l.rows, id)
		delete(l.names.rows, rowName{ruleset.Ingress, id})
		delete(l.names.rows, rowName{ruleset.Egress, id})
	}
	for _, id := range d.GoneRules {
		for o := range l.outcomes[id] {
			l.unpin(l.names.outcomes[o])
			delete(l.names.outcomes, o)
		}
		delete(l.outcomes, id)
	}
	return nil
}

// collectAll takes out what no packet can be on its way through.
func (l *lowering) collectAll() {
	l.clearDigits()
	for _, name := range l.collect() {
		l.forgetGroup(name)
	}
}

// forgetProgram forgets a program. The sets of groups that it was in are not for groups with the same IDs that come later.
func (l *lowering) forgetProgram(id ruleset.ProgramID) {
	p := l.programs[id]
	if p == nil {
		return
	}
	for name := range p.groups {
		l.forgetGroup(name)
	}
	delete(l.programs, id)
}

func (l *lowering) applyPrograms(d *ruleset.Delta) error {
	for _, c := range d.Programs {
		p := l.programs[c.ID]
		if p == nil {
			p = &program{cells: map[ruleset.IdentityID]ruleset.RowID{}, members: map[netip.Addr]bool{}, groups: map[string]bool{}}
			l.programs[c.ID] = p
		} else if p.Direction != c.Direction {
			return fmt.Errorf("program %d changes its direction", c.ID)
		}
		p.ProgramChange = c
		for a := range p.members {
			l.dirtyEndpoints[a] = true
		}
		l.noteStrangers(func(id ruleset.SubjectID) bool {
			return l.subjects[id].Ingress == c.ID || l.subjects[id].Egress == c.ID
		})
	}
	for _, c := range d.Cells {
		p := l.programs[c.Program]
		if p == nil {
			return fmt.Errorf("cell of program %d, which is missing", c.Program)
		}
		col := l.identity(c.Identity).columns[p.Direction]
		if c.Row == 0 {
			delete(p.cells, c.Identity)
			delete(col, c.Program)
		} else {
			p.cells[c.Identity], col[c.Program] = c.Row, c.Row
		}
		l.dirtyColumns[c.Identity] = true
	}
	return nil
}

func (l *lowering) dropCells(id ruleset.ProgramID) {
	p := l.programs[id]
	if p == nil {
		return
	}
	for i := range p.cells {
		delete(l.identity(i).columns[p.Direction], id)
		l.dirtyColumns[i] = true
	}
	clear(p.cells)
}

func (l *lowering) identity(id ruleset.IdentityID) *identity {
	i := l.identities[id]
	if i == nil {
		i = &identity{columns: [2]column{{}, {}}}
		l.identities[id] = i
	}
	return i
}

// changesRules reports whether a delta changes what packets between known addresses meet: rows of identities that were there,
// defaults, or programs of endpoints. What is only new is not in the way of anything.
func (l *lowering) changesRules(d *ruleset.Delta) bool {
	return slices.ContainsFunc(d.Programs, func(c ruleset.ProgramChange) bool { return l.programs[c.ID] != nil }) ||
		slices.ContainsFunc(d.Subjects, func(c ruleset.SubjectChange) bool { _, ok := l.subjects[c.ID]; return ok }) ||
		slices.ContainsFunc(d.Endpoints, func(c ruleset.EndpointChange) bool {
			old, ok := l.endpoints[c.Addr.Unmap()]
			return ok && old != c.Endpoint.Subject
		}) ||
		slices.ContainsFunc(d.Cells, func(c ruleset.Cell) bool { return l.identities[c.Identity] != nil && l.programs[c.Program] != nil }) ||
		len(d.GonePrograms) > 0
}

// flush brings the model up to date with what was noted as dirty.
func (l *lowering) flush() {
	for _, a := range slices.SortedFunc(maps.Keys(l.dirtyEndpoints), netip.Addr.Compare) {
		l.placeEndpoint(a)
	}
	for _, id := range slices.Sorted(maps.Keys(l.dirtyColumns)) {
		i := l.identities[id]
		for _, dir := range []ruleset.Direction{ruleset.Ingress, ruleset.Egress} {
			if name := (identityName{side{dir, i.family}, id}); l.chains[l.names.identities[name]] != nil {
				l.buildIdentity(name)
			}
		}
	}
	for a := range l.dirtyHosts {
		l.placeHost(a)
	}
	for family := range l.dirtyNets {
		l.buildNets(family)
	}
	for family := range l.dirtyStrangers {
		l.placeStrangers(family)
	}
	l.clean()
}

// wholeOf is the delta from nothing to r.
func wholeOf(r *ruleset.Ruleset) *ruleset.Delta {
	d := &ruleset.Delta{Revision: r.Revision}
	for id, row := range r.Rows {
		d.Rows = append(d.Rows, ruleset.RowChange{ID: id, Row: row})
	}
	for id, i := range r.Identities {
		d.Identities = append(d.Identities, ruleset.IdentityChange{ID: id, Identity: i})
	}
	for id, p := range r.Programs {
		d.Programs = append(d.Programs, ruleset.ProgramChange{ID: id, Direction: p.Direction, Default4: p.Default4, Default6: p.Default6})
		for i, row := range p.Rows {
			d.Cells = append(d.Cells, ruleset.Cell{Program: id, Identity: i, Row: row})
		}
	}
	for id, s := range r.Subjects {
		d.Subjects = append(d.Subjects, ruleset.SubjectChange{ID: id, Subject: s})
	}
	for p, a := range r.Addresses {
		d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: p, Address: a})
	}
	for a, e := range r.Endpoints {
		d.Endpoints = append(d.Endpoints, ruleset.EndpointChange{Addr: a, Endpoint: e})
	}
	return d
}

// describe is the model for people, one line each.
func (m *model) describe() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.chains)) {
		fmt.Fprintf(&b, "chain %s\n", name)
		for _, r := range m.chains[name].rules {
			fmt.Fprintf(&b, "  %s\n", r)
		}
	}
	return b.String()
}
