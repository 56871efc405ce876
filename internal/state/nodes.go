package state

import (
	"maps"
	"net/netip"
	"slices"
)

// nodes are the prefixes that the pods of each node have their addresses from (Node.spec.podCIDRs).
type nodes struct {
	awaited, known bool
	byName         map[string][]netip.Prefix // never changed in place
	prefixes       []netip.Prefix            // of all, sorted; never changed in place
	changed        bool                      // since the last step
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
	p.nodes.known = true
	byName := map[string][]netip.Prefix{}
	maps.Copy(byName, all)
	p.nodes.set(byName)
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
	all := map[string][]netip.Prefix{}
	maps.Copy(all, p.nodes.byName)
	all[name] = prefixes
	p.nodes.set(all)
	p.commit()
}

// DeleteNode removes a node, and what prefixes no other has.
func (p *Policies) DeleteNode(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := maps.Clone(p.nodes.byName)
	delete(all, name)
	p.nodes.set(all)
	p.commit()
}

func (n *nodes) set(byName map[string][]netip.Prefix) {
	maps.DeleteFunc(byName, func(_ string, prefixes []netip.Prefix) bool { return len(prefixes) == 0 })
	n.changed = n.changed || !maps.EqualFunc(n.byName, byName, slices.Equal[[]netip.Prefix])
	n.byName = byName
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
	n.prefixes = slices.Compact(all)
}
