package reach

import (
	"encoding/binary"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// analysis is what maps and comparisons have in common: one world, or the one before and the one after.
type analysis struct {
	worlds        []*world
	sheets, kinds int
	parties       []*party

	rules       []*ruleset.Rule
	ruleNumbers map[ruleset.Rule]int
	ways        []Way
	wayNumbers  map[wayKey]int
	outcomes    map[outcomeKey]*outcome
	byTiles     map[string]*outcome

	vectors     [][]int // of ways, by number
	vectorIndex map[string]int
	blocks      map[string][]Block
	changes     map[string][]Change
}

func analyse(snapshots ...*policy.Snapshot) *analysis {
	a := &analysis{
		ruleNumbers: map[ruleset.Rule]int{}, wayNumbers: map[wayKey]int{}, outcomes: map[outcomeKey]*outcome{}, byTiles: map[string]*outcome{},
		vectorIndex: map[string]int{}, blocks: map[string][]Block{}, changes: map[string][]Change{},
	}
	a.ways = append(a.ways, Way{}) // of pairs that are not there
	absent := []tile[int]{{area: area{0, 0xffff, 0, 0xffff}}}
	a.outcomes[outcomeKey{}] = a.newOutcome(absent)
	for _, s := range snapshots {
		a.addWorld(s)
	}
	a.addAccounts()
	a.addOutside()
	for _, p := range a.parties {
		p.group()
	}
	return a
}

func (a *analysis) list() []Party {
	out := make([]Party, len(a.parties))
	for i, p := range a.parties {
		out[i] = p.Party
	}
	return out
}

// pair is two groups of two parties, with its outcome in each world.
type pair struct {
	from, to int
	outcomes []*outcome
}

// pairs are those of two parties: groups of one IP version, of which one at least is of pods.
func (a *analysis) pairs(from, to int) []pair {
	f, t := a.parties[from], a.parties[to]
	if f.Outside && t.Outside {
		return nil
	}
	var out []pair
	for i := range f.groups {
		for k := range t.groups {
			if f.Groups[i].IPVersion != t.Groups[k].IPVersion {
				continue
			}
			p := pair{from: i, to: k}
			for n, w := range a.worlds {
				p.outcomes = append(p.outcomes, a.outcome(w, f.groups[i][n], t.groups[k][n]))
			}
			out = append(out, p)
		}
	}
	return out
}

// layers puts pairs with the same outcomes together: the layers, one for each world and set of pairs, and of each pair
// the number of its set.
func (a *analysis) layers(pairs []pair) (layers [][]tile[int], set []int) {
	index := map[string]int{}
	for _, p := range pairs {
		var key []byte
		for _, o := range p.outcomes {
			key = binary.BigEndian.AppendUint32(key, uint32(o.number))
		}
		n, ok := index[string(key)]
		if !ok {
			n = len(index)
			index[string(key)] = n
			for _, o := range p.outcomes {
				layers = append(layers, o.tiles)
			}
		}
		set = append(set, n)
	}
	return layers, set
}

// vector numbers lists of ways.
func (a *analysis) vector(ways []int) int {
	var room [64]byte
	key := room[:0]
	for _, w := range ways {
		key = binary.BigEndian.AppendUint32(key, uint32(w))
	}
	n, ok := a.vectorIndex[string(key)]
	if !ok {
		n = len(a.vectors)
		a.vectors = append(a.vectors, slices.Clone(ways))
		a.vectorIndex[string(key)] = n
	}
	return n
}

// cellKey is the same for cells with the same content.
func cellKey(pairs []pair) string {
	var key []byte
	for _, p := range pairs {
		key = binary.BigEndian.AppendUint32(key, uint32(p.from))
		key = binary.BigEndian.AppendUint32(key, uint32(p.to))
		for _, o := range p.outcomes {
			key = binary.BigEndian.AppendUint32(key, uint32(o.number))
		}
	}
	return string(key)
}

func tilesKey(tiles []tile[int]) string {
	var key []byte
	for _, t := range tiles {
		key = append(key, t.protocol)
		for _, n := range []uint16{t.first, t.last, t.sourceFirst, t.sourceLast} {
			key = binary.BigEndian.AppendUint16(key, n)
		}
		key = binary.BigEndian.AppendUint32(key, uint32(t.value))
	}
	return string(key)
}
