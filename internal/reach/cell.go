package reach

import (
	"slices"

	"github.com/saguard/saguard/policy"
)

// Extent says for how many pairs of groups something holds. The zero value is none.
type Extent uint8

const (
	// ExtentNone is no pair.
	ExtentNone Extent = iota
	// ExtentSome is at least one pair, and not all.
	ExtentSome
	// ExtentAll is all pairs, of which there is one at least.
	ExtentAll
)

// String returns "None", "Some" or "All".
func (e Extent) String() string {
	switch e {
	case ExtentSome:
		return "Some"
	case ExtentAll:
		return "All"
	default:
		return "None"
	}
}

func extentOf(n, of int) Extent {
	switch n {
	case 0:
		return ExtentNone
	case of:
		return ExtentAll
	default:
		return ExtentSome
	}
}

// Pairs are every one of From with every one of To of the same IP version: places in Party.Groups.
type Pairs struct{ From, To []int }

// Block is packets for which the same holds.
type Block struct {
	Box
	// Allowed says for which pairs of groups.
	Allowed Extent
	// Ways are how the verdicts come about, those that allow first.
	Ways []BlockWay
}

// BlockWay is a way with the pairs that have it.
type BlockWay struct {
	Way
	// Pairs is empty if it is the only way, that of all pairs.
	Pairs []Pairs
}

// Map is who can reach whom, of one snapshot. It is not safe for concurrent use: cells are made when they are asked for.
type Map struct{ a *analysis }

// New compiles the snapshot for all its pods.
func New(s *policy.Snapshot) *Map { return &Map{analyse(s)} }

// Parties are the service accounts that have pods, by namespace and name, and behind them the addresses outside of the
// cluster, by name.
func (m *Map) Parties() []Party { return m.a.list() }

// Problems are what is wrong in the objects as they are together: see compile.Compiler.Problems.
func (m *Map) Problems() []policy.Problem { return m.a.worlds[0].problems }

// Cell says what party from may send to party to: disjoint blocks that cover every packet. It is empty if there is no
// pair, because both are outside of the cluster or have no IP version in common. Cells share their content, which is
// not to be changed. An account's cell with itself is about its pods among each other, also if there is one alone.
func (m *Map) Cell(from, to int) []Block {
	pairs := m.a.pairs(from, to)
	if len(pairs) == 0 {
		return nil
	}
	key := cellKey(pairs)
	if known, ok := m.a.blocks[key]; ok {
		return known
	}
	out := m.a.cell(pairs)
	m.a.blocks[key] = out
	return out
}

func (a *analysis) cell(pairs []pair) []Block {
	layers, set := a.layers(pairs)
	tiles := overlay(layers, a.vector)
	out := make([]Block, len(tiles))
	ways := map[int][]BlockWay{}
	for i, box := range boxes(tiles) {
		vector := tiles[i].value
		if _, ok := ways[vector]; !ok {
			ways[vector] = a.blockWays(pairs, set, a.vectors[vector])
		}
		allowed := 0
		for n := range pairs {
			if a.ways[a.vectors[vector][set[n]]].Allow {
				allowed++
			}
		}
		out[i] = Block{Box: box, Allowed: extentOf(allowed, len(pairs)), Ways: ways[vector]}
	}
	return out
}

// blockWays gives each way its pairs.
func (a *analysis) blockWays(pairs []pair, set, vector []int) []BlockWay {
	var order []int
	having := map[int][]pair{}
	for n, p := range pairs {
		way := vector[set[n]]
		if having[way] == nil {
			order = append(order, way)
		}
		having[way] = append(having[way], p)
	}
	slices.SortStableFunc(order, func(x, y int) int {
		switch {
		case a.ways[x].Allow == a.ways[y].Allow:
			return 0
		case a.ways[x].Allow:
			return -1
		default:
			return 1
		}
	})
	var out []BlockWay
	for _, way := range order {
		b := BlockWay{Way: a.ways[way]}
		if len(order) > 1 {
			b.Pairs = products(having[way])
		}
		out = append(out, b)
	}
	return out
}

// products puts pairs together: sources that have the same destinations. Pairs of different IP versions do not occur, so
// a product says no more than its pairs.
func products(pairs []pair) []Pairs {
	to := map[int][]int{}
	var sources []int
	for _, p := range pairs {
		if to[p.from] == nil {
			sources = append(sources, p.from)
		}
		to[p.from] = append(to[p.from], p.to)
	}
	var out []Pairs
	for _, from := range sources {
		at := slices.IndexFunc(out, func(p Pairs) bool { return slices.Equal(p.To, to[from]) })
		if at < 0 {
			out = append(out, Pairs{To: to[from]})
			at = len(out) - 1
		}
		out[at].From = append(out[at].From, from)
	}
	return out
}
