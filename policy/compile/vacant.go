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
// whatever nets the policies allow (fails closed).
//
// own are those of the node itself. An address in them that no pod is known to have is a stranger's: nothing reaches it, since
// who it is, and what policies select it, is not known (fails closed). What it sends is judged at the other end.
//
// It takes effect at the next flush. Prefixes that are not valid are ignored.
func (c *Compiler) SetPodCIDRs(prefixes []netip.Prefix, own ...netip.Prefix) {
	if nets := tidy(prefixes); !slices.Equal(nets, c.vacant.nets) {
		c.vacant.nets = nets
		c.dirty.nets = true
	}
	nets := slices.DeleteFunc(tidy(own), netip.Prefix.IsSingleIP) // an address of full length is somebody's who is known
	if !slices.Equal(nets, c.strangers.nets) {
		c.strangers.nets = nets
		c.dirty.nets = true
	}
}

// tidy returns the valid prefixes masked, sorted and each once.
func tidy(prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range prefixes {
		if p.IsValid() {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out)
}
