package ruleset

import "net/netip"

// Delta is the difference between two rulesets of one compiler. Whoever cannot apply it at once applies what is set in
// the order of the fields, and then what is gone in the order of the fields: then no element ever refers to one that is
// missing, and an address has the rows of its new identity before it gets it. In between, an address that changed its
// identity in the same delta in which that identity's rows changed may be judged as neither ruleset would: who cannot
// apply a delta at once should take events one by one, or switch between two sets of maps. An address that is a stranger's before
// or after (see [Address.Strangers]) has to change in one step: between its Addresses and its Endpoints nobody would judge it.
type Delta struct {
	// Revision is that of the ruleset after the change.
	Revision uint64

	// What is new or has changed. Rules, rows and identities never change, they only come and go.
	Rules      []RuleChange
	Rows       []RowChange
	Identities []IdentityChange
	Programs   []ProgramChange
	Cells      []Cell
	Subjects   []SubjectChange
	Addresses  []AddressChange
	Endpoints  []EndpointChange

	GoneEndpoints  []netip.Addr
	GoneAddresses  []netip.Prefix
	GoneSubjects   []SubjectID
	GonePrograms   []ProgramID // with their cells
	GoneIdentities []IdentityID
	GoneRows       []RowID
	GoneRules      []RuleID
}

// The changes of a [Delta].
type (
	RuleChange struct {
		ID   RuleID
		Rule Rule
	}
	RowChange struct {
		ID  RowID
		Row Row
	}
	IdentityChange struct {
		ID       IdentityID
		Identity Identity
	}
	// ProgramChange is a program without its rows, which stay.
	ProgramChange struct {
		ID                 ProgramID
		Direction          Direction
		Policies           []string
		Default4, Default6 RowID
	}
	// Cell is the row of one identity in one program; 0 is the program's default from now on.
	Cell struct {
		Program  ProgramID
		Identity IdentityID
		Row      RowID
	}
	SubjectChange struct {
		ID      SubjectID
		Subject Subject
	}
	AddressChange struct {
		Prefix  netip.Prefix
		Address Address
	}
	EndpointChange struct {
		Addr     netip.Addr
		Endpoint Endpoint
	}
)

// Len returns the number of changes.
func (d *Delta) Len() int {
	return len(d.Rules) + len(d.Rows) + len(d.Identities) + len(d.Programs) + len(d.Cells) + len(d.Subjects) +
		len(d.Addresses) + len(d.Endpoints) + len(d.GoneEndpoints) + len(d.GoneAddresses) + len(d.GoneSubjects) +
		len(d.GonePrograms) + len(d.GoneIdentities) + len(d.GoneRows) + len(d.GoneRules)
}

// Apply changes r in place to the ruleset after the delta, which has to be the one that follows r.
func (r *Ruleset) Apply(d *Delta) {
	r.Revision = d.Revision
	for _, c := range d.Rules {
		r.Rules[c.ID] = c.Rule
	}
	for _, c := range d.Rows {
		r.Rows[c.ID] = c.Row
	}
	for _, c := range d.Identities {
		r.Identities[c.ID] = c.Identity
	}
	for _, c := range d.Programs {
		p := r.Programs[c.ID]
		if p == nil {
			p = &Program{Rows: map[IdentityID]RowID{}}
			r.Programs[c.ID] = p
		}
		p.Direction, p.Policies, p.Default4, p.Default6 = c.Direction, c.Policies, c.Default4, c.Default6
	}
	for _, c := range d.Cells {
		if c.Row == 0 {
			delete(r.Programs[c.Program].Rows, c.Identity)
		} else {
			r.Programs[c.Program].Rows[c.Identity] = c.Row
		}
	}
	for _, c := range d.Subjects {
		r.Subjects[c.ID] = c.Subject
	}
	for _, c := range d.Addresses {
		r.Addresses[c.Prefix] = c.Address
	}
	for _, c := range d.Endpoints {
		r.Endpoints[c.Addr] = c.Endpoint
	}
	remove(r.Endpoints, d.GoneEndpoints)
	remove(r.Addresses, d.GoneAddresses)
	remove(r.Subjects, d.GoneSubjects)
	remove(r.Programs, d.GonePrograms)
	remove(r.Identities, d.GoneIdentities)
	remove(r.Rows, d.GoneRows)
	remove(r.Rules, d.GoneRules)
}

func remove[K comparable, V any](m map[K]V, keys []K) {
	for _, k := range keys {
		delete(m, k)
	}
}
