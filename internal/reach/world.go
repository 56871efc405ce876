package reach

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// world is one snapshot, compiled for all its pods.
type world struct {
	snapshot *policy.Snapshot
	// sheets: the ruleset of a node holds an address once, and lets pass what the policies of all pods that claim it let
	// pass. Here every pod counts for itself, so pods with an address in common are on different sheets. Nearly always
	// there is one sheet.
	sheets   []*sheet
	sheetOf  map[*policy.Workload]int
	kinds    map[string]*kind
	problems []policy.Problem
}

// sheet is a ruleset in which some of the pods are endpoints.
type sheet struct {
	*ruleset.Ruleset
	number  int // in the analysis, over all worlds
	classes map[ruleset.IdentityID]int
	tiles   map[ruleset.RowID][]tile[verdict]
}

// kind is addresses that are treated alike, at whichever end: same programs, same row in everybody's programs.
type kind struct {
	number int // in the analysis
	family uint8
	// sheet is where the programs are; nil outside of the cluster.
	sheet           *sheet
	egress, ingress *ruleset.Program
	// identities are one of the kind on each sheet.
	identities []ruleset.IdentityID
}

// Nodes of the sheets. Which node a pod really runs on makes no difference to its policies.
const (
	here      = "here"
	elsewhere = "elsewhere"
)

func (a *analysis) addWorld(s *policy.Snapshot) *world {
	w := &world{snapshot: s, sheetOf: map[*policy.Workload]int{}, kinds: map[string]*kind{}}
	taken := map[netip.Addr][]int{}
	sheets := 1
	for _, pod := range s.Workloads {
		n := 0
		for slices.ContainsFunc(pod.Addresses, func(addr netip.Addr) bool { return slices.Contains(taken[addr], n) }) {
			n++
		}
		for _, addr := range pod.Addresses {
			taken[addr] = append(taken[addr], n)
		}
		w.sheetOf[pod] = n
		sheets = max(sheets, n+1)
	}
	for n := range sheets {
		placed := *s // for the compiler alone, which reads the pods from Workloads
		placed.Workloads = make([]*policy.Workload, len(s.Workloads))
		for i, pod := range s.Workloads {
			moved := *pod
			moved.Node = elsewhere
			if w.sheetOf[pod] == n {
				moved.Node = here
			}
			placed.Workloads[i] = &moved
		}
		r, problems := compile.Compile(&placed, here)
		if n == 0 {
			w.problems = problems
		}
		w.sheets = append(w.sheets, &sheet{
			Ruleset: r, number: a.sheets, classes: identityClasses(r), tiles: map[ruleset.RowID][]tile[verdict]{},
		})
		a.sheets++
	}
	a.worlds = append(a.worlds, w)
	return w
}

// podKind is the kind of an address of a pod.
func (a *analysis) podKind(w *world, pod *policy.Workload, addr netip.Addr) *kind {
	s := w.sheets[w.sheetOf[pod]]
	subject := s.Subjects[s.Endpoints[addr].Subject]
	k := &kind{family: familyOf(addr), sheet: s, egress: s.Programs[subject.Egress], ingress: s.Programs[subject.Ingress]}
	key := binary.BigEndian.AppendUint32([]byte("p"), uint32(s.number))
	key = binary.BigEndian.AppendUint32(key, uint32(subject.Egress))
	key = binary.BigEndian.AppendUint32(key, uint32(subject.Ingress))
	return a.intern(w, k, key, netip.PrefixFrom(addr, addr.BitLen()))
}

// outsideKind is the kind of the addresses of a prefix that are in no longer one.
func (a *analysis) outsideKind(w *world, prefix netip.Prefix) *kind {
	return a.intern(w, &kind{family: familyOf(prefix.Addr())}, []byte("o"), prefix)
}

func (a *analysis) intern(w *world, k *kind, key []byte, prefix netip.Prefix) *kind {
	key = append(key, k.family)
	for _, s := range w.sheets {
		id := s.identity(prefix)
		k.identities = append(k.identities, id)
		key = strconv.AppendInt(append(key, '/'), int64(s.classes[id]), 10)
	}
	if known := w.kinds[string(key)]; known != nil {
		return known
	}
	k.number = a.kinds
	a.kinds++
	w.kinds[string(key)] = k
	return k
}

// identity is that of the longest prefix around p, or of p itself.
func (s *sheet) identity(p netip.Prefix) ruleset.IdentityID {
	for bits := p.Bits(); bits >= 0; bits-- {
		around, err := p.Addr().Prefix(bits)
		if err != nil {
			return 0
		}
		if found, ok := s.Addresses[around]; ok {
			return found.Identity
		}
	}
	return 0
}

// row is what a program says of the addresses of kind k.
func (s *sheet) row(p *ruleset.Program, w *world, k *kind) ruleset.RowID {
	id := k.identities[slices.Index(w.sheets, s)]
	if row, ok := p.Rows[id]; ok {
		return row
	}
	return p.Default(k.family)
}

func familyOf(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}
