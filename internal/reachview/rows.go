package reachview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/reach"
)

// Row is a line of the map's table: packets between two parties that are decided alike.
type Row struct {
	From, To string
	// Packets is "TCP 80,443; UDP 53".
	Packets string
	// Pods is "all", "some" or "none": for how many pairs of pods they are allowed.
	Pods string
	// EgressBy and IngressBy say what decides; "-" for an end outside of the cluster.
	EgressBy, IngressBy string
	// Which says of "some" which pods.
	Which string
}

// Rows are the lines of a map. Without denied, only of packets that are allowed for some pods at least.
func Rows(m *reach.Map, f Filter, denied bool) []Row {
	var out []Row
	parties := m.Parties()
	for i := range parties {
		for k := range parties {
			if !f.shows(parties[i], parties[k]) {
				continue
			}
			for _, line := range lines(m.Cell(i, k)) {
				if line.allowed == reach.ExtentNone && !denied {
					continue
				}
				row := Row{
					From: parties[i].Name, To: parties[k].Name, Packets: reach.BoxesText(line.boxes), Pods: strings.ToLower(line.allowed.String()),
				}
				row.EgressBy, row.IngressBy, row.Which = line.text(&parties[i], &parties[k])
				out = append(out, row)
			}
		}
	}
	return out
}

// line is blocks of a cell that are decided alike.
type line struct {
	allowed reach.Extent
	boxes   []reach.Box
	ways    []reach.BlockWay
}

// lines puts blocks together, those that are allowed for most pods first.
func lines(blocks []reach.Block) []line {
	var out []line
	for _, b := range blocks {
		at := slices.IndexFunc(out, func(l line) bool { return l.allowed == b.Allowed && sameWays(l.ways, b.Ways) })
		if at < 0 {
			at = len(out)
			out = append(out, line{allowed: b.Allowed, ways: b.Ways})
		}
		out[at].boxes = append(out[at].boxes, b.Box)
	}
	slices.SortStableFunc(out, func(x, y line) int { return int(y.allowed) - int(x.allowed) })
	return out
}

// sameWays compares what is said, not what it is said of.
func sameWays(x, y []reach.BlockWay) bool {
	return slices.EqualFunc(x, y, func(a, b reach.BlockWay) bool {
		return a.Way == b.Way && slices.EqualFunc(a.Pairs, b.Pairs, func(p, q reach.Pairs) bool {
			return slices.Equal(p.From, q.From) && slices.Equal(p.To, q.To)
		})
	})
}

// text says what decides: of packets that some pods are allowed, what allows them.
func (l line) text(from, to *reach.Party) (egress, ingress, which string) {
	var egresses, ingresses, whiches []string
	add := func(to *[]string, text string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	for _, w := range l.ways {
		if l.allowed != reach.ExtentNone && !w.Allow {
			continue
		}
		if w.Egress == nil && w.Ingress == nil {
			add(&egresses, "no such pods")
		} else {
			add(&egresses, reach.RuleText(w.Egress, w.EgressAllows))
			add(&ingresses, reach.RuleText(w.Ingress, w.IngressAllows))
		}
		if l.allowed == reach.ExtentSome {
			add(&whiches, pairsText(w.Pairs, from, to))
		}
	}
	return strings.Join(egresses, " or "), strings.Join(ingresses, " or "), strings.Join(whiches, "; ")
}

// Summary counts the cells of a map between accounts.
func Summary(m *reach.Map) string {
	parties := m.Parties()
	accounts, pods, cells, open := 0, 0, 0, 0
	for i := range parties {
		if !parties[i].Outside {
			accounts++
			pods += parties[i].Pods
		}
		for k := range parties {
			if parties[i].Outside || parties[k].Outside {
				continue
			}
			if blocks := m.Cell(i, k); len(blocks) > 0 {
				cells++
				if widest(blocks) != reach.ExtentNone {
					open++
				}
			}
		}
	}
	return fmt.Sprintf("service accounts with pods %d, pods %d; something may pass in %d of %d directions between them", accounts, pods, open, cells)
}
