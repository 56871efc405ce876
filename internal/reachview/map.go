package reachview

import "github.com/saguard/saguard/internal/reach"

// Map is a reach.Map, as JSON.
type Map struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Semantics is strict or calico.
	Semantics string `json:"semantics"`
	// Parties are the service accounts that have pods, and the classes of addresses outside of the cluster.
	Parties []Party `json:"parties"`
	// Denied says that cells and blocks are there also where nothing is allowed.
	Denied bool `json:"denied"`
	// Cells are by from, then to. With what is denied, two parties without a cell are both outside, or have no IP version
	// in common.
	Cells []Cell `json:"cells"`
}

// Cell is what one party may send to another.
type Cell struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Allowed is the widest of the blocks': All if something is allowed for all pods.
	Allowed string `json:"allowed"`
	// Blocks are disjoint. With what is denied, they cover every packet.
	Blocks []Block `json:"blocks"`
}

// Block is packets for which the same holds.
type Block struct {
	Packets []Packets `json:"packets"`
	// Allowed says for which pods: All, Some or None.
	Allowed string     `json:"allowed"`
	Ways    []BlockWay `json:"ways"`
}

// BlockWay is how the verdict comes about, and for which pods if there are several ways.
type BlockWay struct {
	Way
	Pairs []Pairs `json:"pairs,omitempty"`
}

// APIVersion is of the results as JSON. They are no objects of an API server.
const APIVersion = "cli.saguard.io/v1alpha1"

// NewMap writes down the cells that the filter shows; without denied, only what is allowed for some pods at least.
func NewMap(m *reach.Map, semantics string, f Filter, denied bool) *Map {
	out := &Map{APIVersion: APIVersion, Kind: "Map", Semantics: semantics, Denied: denied, Parties: []Party{}, Cells: []Cell{}}
	parties := m.Parties()
	shown := make([]bool, len(parties))
	for i := range parties {
		for k := range parties {
			if !f.shows(parties[i], parties[k]) {
				continue
			}
			blocks := m.Cell(i, k)
			if len(blocks) == 0 {
				continue
			}
			shown[i], shown[k] = true, true
			cell := Cell{From: parties[i].Name, To: parties[k].Name, Allowed: widest(blocks).String()}
			for _, l := range lines(blocks) {
				if l.allowed != reach.ExtentNone || denied {
					cell.Blocks = append(cell.Blocks, l.block(&parties[i], &parties[k]))
				}
			}
			if len(cell.Blocks) > 0 {
				out.Cells = append(out.Cells, cell)
			}
		}
	}
	for i := range parties {
		if shown[i] {
			out.Parties = append(out.Parties, partyOf(parties[i]))
		}
	}
	return out
}

func (l *line) block(from, to *reach.Party) Block {
	out := Block{Allowed: l.allowed.String()}
	for _, b := range l.boxes {
		out.Packets = append(out.Packets, packetsOf(b))
	}
	for _, w := range l.ways {
		out.Ways = append(out.Ways, BlockWay{wayOf(w.Way), pairsOf(w.Pairs, from, to)})
	}
	return out
}

func widest(blocks []reach.Block) reach.Extent {
	out := reach.ExtentNone
	for _, b := range blocks {
		out = max(out, b.Allowed)
	}
	return out
}
