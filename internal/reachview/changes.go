package reachview

import (
	"slices"

	"github.com/saguard/saguard/internal/reach"
)

// Diff is a reach.Comparison, as JSON.
type Diff struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Semantics  string `json:"semantics"`
	// Changes are those that widen first.
	Changes []Change `json:"changes"`
}

// Change is packets between two parties whose verdict becomes another.
type Change struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Now is Allow for what was denied before, else Deny.
	Now     string    `json:"now"`
	Packets []Packets `json:"packets"`
	// Pods is All or Some: for how many pairs of pods.
	Pods string      `json:"pods"`
	Ways []ChangeWay `json:"ways"`

	row Row
	was [2]string
}

// ChangeWay is how the verdicts come about, and for which pods if it is not the way of all.
type ChangeWay struct {
	Before Way     `json:"before"`
	After  Way     `json:"after"`
	Pairs  []Pairs `json:"pairs,omitempty"`
}

// NewDiff writes down the changes that the filter shows.
func NewDiff(c *reach.Comparison, semantics string, f Filter) *Diff {
	out := &Diff{APIVersion: APIVersion, Kind: "Diff", Semantics: semantics, Changes: []Change{}}
	parties := c.Parties()
	for i := range parties {
		for k := range parties {
			if f.shows(parties[i], parties[k]) {
				out.add(c.Changes(i, k), &parties[i], &parties[k])
			}
		}
	}
	slices.SortStableFunc(out.Changes, func(x, y Change) int {
		switch {
		case x.Now == y.Now:
			return 0
		case x.Now == verdict(true):
			return -1
		default:
			return 1
		}
	})
	return out
}

// add puts changes of two parties together that come about alike.
func (d *Diff) add(changes []reach.Change, from, to *reach.Party) {
	var first []reach.Change
	var boxes [][]reach.Box
	for _, c := range changes {
		at := slices.IndexFunc(first, func(o reach.Change) bool {
			return o.Widens == c.Widens && o.Extent == c.Extent && sameChangeWays(o.Ways, c.Ways)
		})
		if at < 0 {
			at = len(first)
			first, boxes = append(first, c), append(boxes, nil)
		}
		boxes[at] = append(boxes[at], c.Box)
	}
	for n, c := range first {
		change := Change{From: from.Name, To: to.Name, Now: verdict(c.Widens), Pods: c.Extent.String()}
		before, after := line{allowed: c.Extent}, line{allowed: c.Extent}
		for _, b := range boxes[n] {
			change.Packets = append(change.Packets, packetsOf(b))
		}
		for _, w := range c.Ways {
			change.Ways = append(change.Ways, ChangeWay{wayOf(w.Before), wayOf(w.After), pairsOf(w.Pairs, from, to)})
			before.ways = append(before.ways, reach.BlockWay{Way: w.Before, Pairs: w.Pairs})
			after.ways = append(after.ways, reach.BlockWay{Way: w.After, Pairs: w.Pairs})
		}
		change.row = Row{From: from.Name, To: to.Name, Packets: reach.BoxesText(boxes[n])}
		change.row.EgressBy, change.row.IngressBy, change.row.Which = after.all(from, to)
		change.was[0], change.was[1], _ = before.all(from, to)
		d.Changes = append(d.Changes, change)
	}
}

// all is text of every way, of pairs that deny as well.
func (l line) all(from, to *reach.Party) (egress, ingress, which string) {
	for i := range l.ways {
		l.ways[i].Allow = true
	}
	return l.text(from, to)
}

func sameChangeWays(x, y []reach.ChangeWay) bool {
	strip := func(in []reach.ChangeWay, after bool) []reach.BlockWay {
		var out []reach.BlockWay
		for _, w := range in {
			b := reach.BlockWay{Way: w.Before, Pairs: w.Pairs}
			if after {
				b.Way = w.After
			}
			out = append(out, b)
		}
		return out
	}
	return sameWays(strip(x, false), strip(y, false)) && sameWays(strip(x, true), strip(y, true))
}

// ChangeRow is a line of the table of differences.
type ChangeRow struct {
	Row
	// Now is "+ allowed" or "- denied".
	Now string
	// WasEgressBy and WasIngressBy are what decided before.
	WasEgressBy, WasIngressBy string
}

// Rows are the lines of the table, in order.
func (d *Diff) Rows() []ChangeRow {
	var out []ChangeRow
	for _, c := range d.Changes {
		r := ChangeRow{Row: c.row, Now: "- denied", WasEgressBy: c.was[0], WasIngressBy: c.was[1]}
		if c.Now == verdict(true) {
			r.Now = "+ allowed"
		}
		r.Pods = map[string]string{"All": "all", "Some": "some"}[c.Pods]
		out = append(out, r)
	}
	return out
}
