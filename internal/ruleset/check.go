package ruleset

import (
	"errors"
	"fmt"
	"net/netip"
)

// Check reports whatever no ruleset of a compiler may have: references to what is not there, parts that nothing refers
// to, rows whose segments overlap or leave something out.
func (r *Ruleset) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	identities, subjects, programs := map[IdentityID]bool{}, map[SubjectID]bool{}, map[ProgramID]bool{}
	rows, rules, strangers := map[RowID]bool{}, map[RuleID]bool{}, map[SubjectID]bool{}
	for prefix, a := range r.Addresses {
		identities[a.Identity] = true
		if i, ok := r.Identities[a.Identity]; !ok || i.Family != family(prefix.Addr()) || prefix != prefix.Masked() {
			bad("address %s has identity %d, which is missing or of the other IP version, or is not masked", prefix, a.Identity)
		}
		if a.Strangers == 0 {
			continue
		}
		subjects[a.Strangers] = true
		if len(strangers) > 0 && !strangers[a.Strangers] || prefix.IsSingleIP() {
			bad("address %s judges strangers as subject %d, and is of full length, or others do as another", prefix, a.Strangers)
		}
		strangers[a.Strangers] = true
		for _, id := range []ProgramID{r.Subjects[a.Strangers].Ingress, r.Subjects[a.Strangers].Egress} {
			if p := r.Programs[id]; p != nil && len(p.Rows) > 0 {
				bad("program %d of strangers has rows", id)
			}
		}
	}
	for _, all := range []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		if _, ok := r.Addresses[all]; !ok {
			bad("no address %s", all)
		}
	}
	for addr, e := range r.Endpoints {
		subjects[e.Subject] = true
		if _, ok := r.Addresses[netip.PrefixFrom(addr, addr.BitLen())]; !ok {
			bad("endpoint %s has no address", addr)
		}
	}
	for _, s := range r.Subjects {
		programs[s.Ingress], programs[s.Egress] = true, true
		for want, id := range map[Direction]ProgramID{Ingress: s.Ingress, Egress: s.Egress} {
			if p := r.Programs[id]; p == nil || p.Direction != want {
				bad("a subject has %s program %d", want, id)
			}
		}
	}
	for id, p := range r.Programs {
		rows[p.Default4], rows[p.Default6] = true, true
		for identity, row := range p.Rows {
			rows[row] = true
			if i, ok := r.Identities[identity]; !ok || row == p.Default(i.Family) {
				bad("program %d has row %d for identity %d, which is missing or has the default", id, row, identity)
			}
		}
	}
	for id, row := range r.Rows {
		if err := row.check(); err != nil {
			bad("row %d: %w", id, err)
		}
		for _, s := range row {
			rules[s.Rule] = true
			if s.Log != 0 {
				rules[s.Log] = true
			}
		}
	}
	errs = append(errs, used("identity", identities, r.Identities), used("subject", subjects, r.Subjects),
		used("program", programs, r.Programs), used("row", rows, r.Rows), used("rule", rules, r.Rules))
	return errors.Join(errs...)
}

// used compares what is referred to with what is there.
func used[K ~uint32, V any](what string, refs map[K]bool, have map[K]V) error {
	var errs []error
	for id := range refs {
		if _, ok := have[id]; !ok || id == 0 {
			errs = append(errs, fmt.Errorf("%s %d is missing", what, id))
		}
	}
	for id := range have {
		if !refs[id] {
			errs = append(errs, fmt.Errorf("%s %d is not used", what, id))
		}
	}
	return errors.Join(errs...)
}

// check counts: disjoint segments that lie in a block and have its size cover it.
func (r Row) check() error {
	covered := map[uint8]uint64{}
	for i, s := range r {
		if s.First > s.Last || s.SourceFirst > s.SourceLast {
			return fmt.Errorf("segment %+v is reversed", s)
		}
		covered[s.Protocol] += (uint64(s.Last-s.First) + 1) * (uint64(s.SourceLast-s.SourceFirst) + 1)
		for _, t := range r[:i] {
			if s.Protocol == t.Protocol && s.First <= t.Last && t.First <= s.Last && s.SourceFirst <= t.SourceLast && t.SourceFirst <= s.SourceLast {
				return fmt.Errorf("segments %+v and %+v overlap", t, s)
			}
		}
	}
	if covered[AnyProtocol] == 0 {
		return errors.New("no segment for other protocols")
	}
	for protocol, n := range covered {
		if n != 1<<32 {
			return fmt.Errorf("protocol %d is not covered", protocol)
		}
	}
	return nil
}
