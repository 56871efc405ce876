package compile

import (
	"net/netip"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// Compile returns the rules of the pods on node, at the snapshot's revision, and what is wrong in the snapshot (see
// [Compiler.Problems]). podCIDRs are those of [Compiler.SetPodCIDRs].
func Compile(s *policy.Snapshot, node string, podCIDRs ...netip.Prefix) (*ruleset.Ruleset, []policy.Problem) {
	c := New(node, s.Semantics)
	c.SetPodCIDRs(podCIDRs)
	c.SetSnapshot(s)
	out := ruleset.New()
	out.Apply(c.Flush(s.Rev))
	return out, c.Problems()
}

// SetSnapshot notes all that is in a snapshot, beside what is there already.
func (c *Compiler) SetSnapshot(s *policy.Snapshot) {
	namespaces, accounts := map[string]bool{}, map[identity.ServiceAccount]bool{}
	namespace := func(name string) {
		if n := s.Namespace(name); n != nil && !namespaces[name] {
			namespaces[name] = true
			c.Set(n)
		}
	}
	for _, w := range s.Workloads {
		c.Set(w)
		namespace(w.Namespace)
		if a := s.ServiceAccount(w.Account); a != nil && !accounts[w.Account] {
			accounts[w.Account] = true
			c.Set(a)
		}
	}
	for _, n := range s.NetworkSets {
		c.Set(n)
		namespace(n.ID.Namespace)
	}
	for _, t := range s.Tiers {
		if !t.Missing {
			c.Set(t.Tier)
		}
		for _, p := range t.Policies {
			c.Set(p)
		}
	}
}
