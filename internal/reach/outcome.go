package reach

import (
	"cmp"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// verdict is what one end says of a packet.
type verdict struct {
	allow bool
	rule  int // in analysis.rules; noRule where there is no pod at that end
}

const noRule = -1

// Way is how the verdict about some packets comes about.
type Way struct {
	Allow bool
	// Egress and Ingress are the deciding rules at the source and at the destination; nil where that end is outside of
	// the cluster, and both nil if there is no such pair of pods in that snapshot.
	Egress, Ingress *ruleset.Rule
	// EgressAllows and IngressAllows say what each decided; true where the rule is nil and the other is not.
	EgressAllows, IngressAllows bool
}

// outcome is the ways of one pair of kinds, for every packet. It is shared by all pairs with the same.
type outcome struct {
	number int
	tiles  []tile[int] // number of the way
}

type outcomeKey struct {
	source, destination int // sheets, noRule outside of the cluster
	egress, ingress     ruleset.RowID
}

// absent is the outcome of a pair of pods of which one is not in the world.
func (a *analysis) absent() *outcome { return a.outcomes[outcomeKey{}] }

func (a *analysis) outcome(w *world, from, to *kind) *outcome {
	if from == nil || to == nil {
		return a.absent()
	}
	key := outcomeKey{source: noRule, destination: noRule}
	if from.sheet != nil {
		key.source, key.egress = from.sheet.number, from.sheet.row(from.egress, w, to)
	}
	if to.sheet != nil {
		key.destination, key.ingress = to.sheet.number, to.sheet.row(to.ingress, w, from)
	}
	if known := a.outcomes[key]; known != nil {
		return known
	}
	none := []tile[verdict]{{value: verdict{allow: true, rule: noRule}}}
	none[0].last, none[0].sourceLast = 0xffff, 0xffff
	layers := [][]tile[verdict]{none, none}
	if from.sheet != nil {
		layers[0] = a.rowTiles(from.sheet, key.egress)
	}
	if to.sheet != nil {
		layers[1] = a.rowTiles(to.sheet, key.ingress)
	}
	tiles := overlay(layers, func(v []verdict) int { return a.way(v[0], v[1]) })
	out := a.newOutcome(tiles)
	a.outcomes[key] = out
	return out
}

// newOutcome finds the outcome with these tiles, or makes it: different rows may come to the same.
func (a *analysis) newOutcome(tiles []tile[int]) *outcome {
	key := tilesKey(tiles)
	if known := a.byTiles[key]; known != nil {
		return known
	}
	out := &outcome{number: len(a.byTiles), tiles: tiles}
	a.byTiles[key] = out
	return out
}

// rowTiles is a row of a sheet, sorted.
func (a *analysis) rowTiles(s *sheet, row ruleset.RowID) []tile[verdict] {
	if known, ok := s.tiles[row]; ok {
		return known
	}
	var out []tile[verdict]
	for _, segment := range s.Rows[row] {
		out = append(out, tile[verdict]{
			segment.Protocol, area{segment.First, segment.Last, segment.SourceFirst, segment.SourceLast},
			verdict{segment.Allow, a.rule(s.Rules[segment.Rule])},
		})
	}
	slices.SortFunc(out, func(x, y tile[verdict]) int {
		return cmp.Or(cmp.Compare(x.protocol, y.protocol), cmp.Compare(x.first, y.first), cmp.Compare(x.sourceFirst, y.sourceFirst))
	})
	s.tiles[row] = out
	return out
}

// rule numbers rules; those of different sheets and worlds are the same if they say the same.
func (a *analysis) rule(r ruleset.Rule) int {
	n, ok := a.ruleNumbers[r]
	if !ok {
		n = len(a.rules)
		a.rules = append(a.rules, &r)
		a.ruleNumbers[r] = n
	}
	return n
}

type wayKey struct{ egress, ingress verdict }

// way numbers ways.
func (a *analysis) way(egress, ingress verdict) int {
	key := wayKey{egress, ingress}
	n, ok := a.wayNumbers[key]
	if ok {
		return n
	}
	n = len(a.ways)
	w := Way{Allow: egress.allow && ingress.allow, EgressAllows: egress.allow, IngressAllows: ingress.allow}
	if egress.rule != noRule {
		w.Egress = a.rules[egress.rule]
	}
	if ingress.rule != noRule {
		w.Ingress = a.rules[ingress.rule]
	}
	a.ways = append(a.ways, w)
	a.wayNumbers[key] = n
	return n
}
