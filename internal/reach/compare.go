package reach

import (
	"slices"

	"github.com/saguard/saguard/policy"
)

// Change is packets that one snapshot allows and the other does not, for the same pairs.
type Change struct {
	Box
	// Widens says that the packets are newly allowed; else they are newly denied.
	Widens bool
	// Pairs says whether it is all pairs of groups.
	Extent Extent
	// Ways are how the verdicts came about and come about now.
	Ways []ChangeWay
}

// ChangeWay is the ways of the pairs of a change.
type ChangeWay struct {
	// Before and After are the ways; without rules where a pair is not there.
	Before, After Way
	// Pairs is empty if it is all pairs.
	Pairs []Pairs
}

// Comparison is what two snapshots allow differently. It is not safe for concurrent use.
type Comparison struct{ a *analysis }

// Compare compiles two snapshots for all their pods. Pods are the same if they have the same namespace, name and service
// account; one that is in one snapshot alone can do nothing, and be reached by nobody, in the other.
func Compare(before, after *policy.Snapshot) *Comparison { return &Comparison{analyse(before, after)} }

// Parties are those of both snapshots, as in [Map.Parties].
func (c *Comparison) Parties() []Party { return c.a.list() }

// Problems are what is wrong in the objects after the change, as they are together.
func (c *Comparison) Problems() []policy.Problem { return c.a.worlds[1].problems }

// Changes are the packets from party from to party to of which the verdict changes, widening first. A verdict that
// another rule gives is no change.
func (c *Comparison) Changes(from, to int) []Change {
	pairs := c.a.pairs(from, to)
	if !slices.ContainsFunc(pairs, func(p pair) bool { return p.outcomes[0] != p.outcomes[1] }) {
		return nil
	}
	key := cellKey(pairs)
	if known, ok := c.a.changes[key]; ok {
		return known
	}
	out := c.a.compare(pairs)
	c.a.changes[key] = out
	return out
}

func (a *analysis) compare(pairs []pair) []Change {
	layers, set := a.layers(pairs)
	tiles := overlay(layers, a.vector)
	var out []Change
	for i, box := range boxes(tiles) {
		vector := a.vectors[tiles[i].value]
		for _, widens := range []bool{true, false} {
			ways, n := a.changeWays(pairs, set, vector, widens)
			if n > 0 {
				out = append(out, Change{Box: box, Widens: widens, Extent: extentOf(n, len(pairs)), Ways: ways})
			}
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int {
		switch {
		case x.Widens == y.Widens:
			return 0
		case x.Widens:
			return -1
		default:
			return 1
		}
	})
	return out
}

// changeWays gives the pairs of which the verdict changes in one direction, by their ways.
func (a *analysis) changeWays(pairs []pair, set, vector []int, widens bool) (out []ChangeWay, count int) {
	type change struct{ before, after int }
	var order []change
	having := map[change][]pair{}
	for n, p := range pairs {
		c := change{vector[2*set[n]], vector[2*set[n]+1]}
		if a.ways[c.after].Allow != widens || a.ways[c.before].Allow == widens {
			continue
		}
		if having[c] == nil {
			order = append(order, c)
		}
		having[c] = append(having[c], p)
		count++
	}
	for _, c := range order {
		w := ChangeWay{Before: a.ways[c.before], After: a.ways[c.after]}
		if len(having[c]) < len(pairs) {
			w.Pairs = products(having[c])
		}
		out = append(out, w)
	}
	return out, count
}
