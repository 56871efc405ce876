package reachview

import (
	"fmt"
	"strings"

	"github.com/saguard/saguard/internal/reach"
)

// DOT is the map as a graph for Graphviz: a cluster for each namespace, an edge for each two parties of which one may
// send something to the other, dashed if only some pods may.
func DOT(m *reach.Map, f Filter) string {
	var b strings.Builder
	parties := m.Parties()
	var edges strings.Builder
	used := make([]bool, len(parties))
	for i := range parties {
		for k := range parties {
			if !f.shows(parties[i], parties[k]) {
				continue
			}
			blocks := m.Cell(i, k)
			if len(blocks) > 0 {
				used[i], used[k] = true, true
			}
			text, extent := allowedText(blocks)
			if extent == reach.ExtentNone {
				continue
			}
			style := ""
			if extent == reach.ExtentSome {
				style = ", style=dashed"
			}
			fmt.Fprintf(&edges, "  n%d -> n%d [label=%s%s];\n", i, k, quote(text), style)
		}
	}
	b.WriteString("digraph reach {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];\n  edge [fontname=\"Helvetica\", fontsize=10];\n")
	namespace, open := "", false
	for i, p := range parties {
		if !used[i] {
			continue
		}
		if open && (p.Outside || p.Namespace != namespace) {
			b.WriteString("  }\n")
			open = false
		}
		switch {
		case p.Outside:
			fmt.Fprintf(&b, "  n%d [label=%s, shape=ellipse];\n", i, quote(p.Name))
			continue
		case !open:
			namespace, open = p.Namespace, true
			fmt.Fprintf(&b, "  subgraph %s {\n    label=%s;\n", quote("cluster_"+namespace), quote(namespace))
		}
		fmt.Fprintf(&b, "    n%d [label=%s];\n", i, quote(strings.TrimPrefix(p.Name, p.Namespace+"/")))
	}
	if open {
		b.WriteString("  }\n")
	}
	b.WriteString(edges.String() + "}\n")
	return b.String()
}

// allowedText is the packets that are allowed for some pods at least; what only some may is marked.
func allowedText(blocks []reach.Block) (string, reach.Extent) {
	var all, some []reach.Box
	for _, b := range blocks {
		switch b.Allowed {
		case reach.ExtentAll:
			all = append(all, b.Box)
		case reach.ExtentSome:
			some = append(some, b.Box)
		default:
		}
	}
	switch {
	case len(all) > 0 && len(some) > 0:
		return reach.BoxesText(all) + "; some pods: " + reach.BoxesText(some), reach.ExtentAll
	case len(all) > 0:
		return reach.BoxesText(all), reach.ExtentAll
	case len(some) > 0:
		return "some pods: " + reach.BoxesText(some), reach.ExtentSome
	}
	return "", reach.ExtentNone
}

// quote is a quoted string of the DOT language.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
