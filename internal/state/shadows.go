package state

import (
	"maps"
	"slices"
	"sync"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/shadow"
)

// shadows holds what is needed of each enforced policy to say that it stands before another. It is safe for concurrent use.
type shadows struct {
	mu sync.RWMutex
	by map[PolicyID]*shadow.Policy
	// in are the policies of a namespace, and of "" the global ones: slices that are never changed, only replaced.
	in    map[string][]*shadow.Policy
	tiers map[string]shadow.Tiers // by resource, which may be served in either group; replaced whole
}

func (s *shadows) set(id PolicyID, p *shadow.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by, s.in = map[PolicyID]*shadow.Policy{}, map[string][]*shadow.Policy{}
	}
	if s.by[id] == nil && p == nil {
		return
	}
	s.by[id] = p
	if p == nil {
		delete(s.by, id)
	}
	s.arrange(id.Namespace)
}

func (s *shadows) replace(resource string, all map[PolicyID]*shadow.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[PolicyID]*shadow.Policy{}
	}
	maps.DeleteFunc(s.by, func(id PolicyID, _ *shadow.Policy) bool { return id.Resource == resource })
	s.in = map[string][]*shadow.Policy{}
	for id, p := range all {
		if p != nil {
			s.by[id] = p
		}
	}
	for id, p := range s.by {
		s.in[id.Namespace] = append(s.in[id.Namespace], p)
	}
}

// arrange makes the slice of a namespace anew; readers may hold the former one.
func (s *shadows) arrange(namespace string) {
	list := make([]*shadow.Policy, 0, len(s.in[namespace])+1)
	for id, p := range s.by {
		if id.Namespace == namespace {
			list = append(list, p)
		}
	}
	s.in[namespace] = list
	if len(list) == 0 {
		delete(s.in, namespace)
	}
}

// Others implements webhook.World.
func (c *Cluster) Others(namespace string) decision.Fact[shadow.Others] {
	if c.live.PoliciesCurrent == nil || !c.live.PoliciesCurrent() {
		return decision.Unknown[shadow.Others]("policies are not read, or not current")
	}
	out := shadow.Others{Tiers: decision.Unknown[shadow.Tiers]("tiers are not read, or not current")}
	c.shadows.mu.RLock()
	defer c.shadows.mu.RUnlock()
	out.Global = c.shadows.in[""]
	if namespace != "" {
		out.Own = c.shadows.in[namespace]
	}
	if c.live.TiersCurrent != nil && c.live.TiersCurrent() {
		all := shadow.Tiers{}
		for _, resource := range slices.Sorted(maps.Keys(c.shadows.tiers)) {
			maps.Copy(all, c.shadows.tiers[resource])
		}
		out.Tiers = decision.Known(all)
	}
	return decision.Known(out)
}

// ReplaceTiers makes all the tiers there are of one resource.
func (c *Cluster) ReplaceTiers(resource string, all []policy.Tier) {
	tiers := shadow.Tiers{}
	for _, t := range all {
		tiers[t.Name] = t
	}
	c.shadows.mu.Lock()
	defer c.shadows.mu.Unlock()
	c.shadows.putTiers(resource, tiers)
}

// SetTier adds or changes a tier of a resource.
func (c *Cluster) SetTier(resource string, t policy.Tier) {
	c.shadows.mu.Lock()
	defer c.shadows.mu.Unlock()
	tiers := maps.Clone(c.shadows.tiers[resource])
	if tiers == nil {
		tiers = shadow.Tiers{}
	}
	tiers[t.Name] = t
	c.shadows.putTiers(resource, tiers)
}

// DeleteTier removes a tier of a resource.
func (c *Cluster) DeleteTier(resource, name string) {
	c.shadows.mu.Lock()
	defer c.shadows.mu.Unlock()
	tiers := maps.Clone(c.shadows.tiers[resource])
	delete(tiers, name)
	c.shadows.putTiers(resource, tiers)
}

func (s *shadows) putTiers(resource string, tiers shadow.Tiers) {
	if s.tiers == nil {
		s.tiers = map[string]shadow.Tiers{}
	}
	s.tiers[resource] = tiers
}
