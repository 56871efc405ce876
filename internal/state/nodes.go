package state

import (
	"maps"
	"net/netip"
	"slices"
)

// nodes are the prefixes that the pods of each node have their addresses from (Node.spec.podCIDRs).
type nodes struct {
	awaited, known bool
	byName         map[string][]netip.Prefix
	prefixes       []netip.Prefix // of all, sorted; never changed in place
	changed        bool           // since the last step
}

// AwaitNodes says that the nodes are watched: what is in force is not known before they have been read.
func (p *Policies) AwaitNodes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes.awaited = true
}

// SetPodCIDRs gives the prefixes of the pods where nodes are not watched.
func (p *Policies) SetPodCIDRs(prefixes []netip.Prefix) {
	p.ReplaceNodes(map[string][]netip.Prefix{"": prefixes})
}

// ReplaceNodes makes all the nodes there are, with the prefixes of their pods.
func (p *Policies) ReplaceNodes(all map[string][]netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes.known, p.nodes.byName = true, maps.Clone(all)
	p.nodes.arrange()
	p.commit()
	p.feed.notify()
}

// SetNode adds or changes a node.
func (p *Policies) SetNode(name string, prefixes []netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.nodes.byName[name], prefixes) {
		return
	}
	if p.nodes.byName == nil {
		p.nodes.byName = map[string][]netip.Prefix{}
	}
	p.nodes.byName[name] = prefixes
	p.nodes.arrange()
	p.commit()
}

// DeleteNode removes a node, and what prefixes no other has.
func (p *Policies) DeleteNode(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes.byName, name)
	p.nodes.arrange()
	p.commit()
}

func (n *nodes) arrange() {
	var all []netip.Prefix
	for _, prefixes := range n.byName {
		all = append(all, prefixes...)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	all = slices.Compact(all)
	if !slices.Equal(all, n.prefixes) {
		n.prefixes, n.changed = all, true
	}
}
