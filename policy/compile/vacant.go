package compile

import (
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// addVacant makes the set of the pods' addresses that no pod has. It is an atom as any other, asked by every program that
// has policies; so it follows pods, nets and policies as they do.
func (c *Compiler) addVacant() {
	c.vacant = &atom{serial: c.serial(), slot: len(c.slots), name: "pod CIDRs", refs: 1, live: true, programs: map[*program]bool{}}
	c.slots = append(c.slots, c.vacant)
	c.vacantRule = [2]*ruleState{
		policy.Ingress: c.newRule(ruleset.Rule{Direction: ruleset.Ingress, Index: ruleset.EndOfTier, Vacant: true}),
		policy.Egress:  c.newRule(ruleset.Rule{Direction: ruleset.Egress, Index: ruleset.EndOfTier, Vacant: true}),
	}
}

// SetPodCIDRs says from which prefixes the cluster's pods have their addresses, on all nodes; at the start there are none.
// Nobody knows who is behind such an address as long as no pod is known to have it: a pod that was just born, or one that
// should be gone. So traffic between it and an endpoint of the node to which some policy applies in that direction is denied,
// whatever nets the policies allow (fails closed). It takes effect at the next flush. Prefixes that are not valid are ignored.
func (c *Compiler) SetPodCIDRs(prefixes []netip.Prefix) {
	var nets []netip.Prefix
	for _, p := range prefixes {
		if p.IsValid() {
			nets = append(nets, p.Masked())
		}
	}
	slices.SortFunc(nets, comparePrefixes)
	nets = slices.Compact(nets)
	if !slices.Equal(nets, c.vacant.nets) {
		c.vacant.nets = nets
		c.dirty.nets = true
	}
}
