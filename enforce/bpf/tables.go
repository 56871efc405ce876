//go:build linux

package bpf

import (
	"hash/maphash"
	"math"
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// tables is what was applied last, and where in the kernel it lies. It holds what is needed to turn a delta into changes of
// elements, and to notice somebody else's changes; not the ruleset's texts.
type tables struct {
	generation uint64
	rules      map[ruleset.RuleID]ruleset.Rule
	rows       map[ruleset.RowID]placedRow
	programs   map[ruleset.ProgramID]*program
	subjects   map[ruleset.SubjectID]ruleset.Subject
	endpoints  map[netip.Addr]ruleset.SubjectID
	hosts      map[netip.Addr]host // of pods and other addresses of full length
	prefixes   map[netip.Prefix]host
	// strangers are the prefixes that say what other addresses of them are judged as.
	strangers map[netip.Prefix]ruleset.SubjectID

	records  map[subjectValue]*record
	segments slots
	places   slots // of subjects
	// ruleLimit is the size of the map hits.
	ruleLimit uint32
	seed      maphash.Seed
}

type program struct {
	default4, default6 ruleset.RowID
	cells              map[ruleset.IdentityID]ruleset.RowID
}

func (p *program) fallback(family uint8) ruleset.RowID {
	if family == 6 {
		return p.default6
	}
	return p.default4
}

type placedRow struct {
	ref rowRef
	// size is the number of segments with the lists by source port; sum is their hash.
	size uint32
	sum  uint64
}

// host is the element of an address of full length or of a prefix: 0 in both is no element.
type host struct {
	identity ruleset.IdentityID
	subject  uint32
}

// record is an element of the map subjects, shared by all endpoints of the same family with these programs.
type record struct {
	place uint32
	refs  int
}

func newTables() *tables {
	return &tables{
		rules:     map[ruleset.RuleID]ruleset.Rule{},
		rows:      map[ruleset.RowID]placedRow{},
		programs:  map[ruleset.ProgramID]*program{},
		subjects:  map[ruleset.SubjectID]ruleset.Subject{},
		endpoints: map[netip.Addr]ruleset.SubjectID{},
		hosts:     map[netip.Addr]host{},
		prefixes:  map[netip.Prefix]host{},
		strangers: map[netip.Prefix]ruleset.SubjectID{},
		records:   map[subjectValue]*record{},
		segments:  newSlots(math.MaxInt32),
		places:    newSlots(math.MaxInt32),
		ruleLimit: math.MaxUint32,
		seed:      maphash.MakeSeed(),
	}
}

func (t *tables) sum(segments []segment) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, s := range segments {
		maphash.WriteComparable(&h, s)
	}
	return h.Sum64()
}

// subjectOf returns the element that an endpoint has to have, or the strangers of a prefix.
func (t *tables) subjectOf(a netip.Addr, id ruleset.SubjectID) subjectValue {
	subject := t.subjects[id]
	side := func(id ruleset.ProgramID) sideValue {
		p := t.programs[id]
		if p == nil {
			return sideValue{}
		}
		return sideValue{Program: uint32(id), Fallback: t.rows[p.fallback(family(a))].ref}
	}
	return subjectValue{Ingress: side(subject.Ingress), Egress: side(subject.Egress)}
}

// cellCount is the number of elements in cells.
func (t *tables) cellCount() int {
	n := 0
	for _, p := range t.programs {
		n += len(p.cells)
	}
	return n
}
