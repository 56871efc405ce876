package state

import (
	"maps"
	"slices"
	"strings"

	"github.com/saguard/saguard/api/v1alpha1"
)

// GuardObjects returns the guards as they were last seen, sorted by name. They are copies.
func (c *Cluster) GuardObjects() []v1alpha1.ServiceAccountGuard {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Collect(maps.Values(c.guards))
	slices.SortFunc(out, func(a, b v1alpha1.ServiceAccountGuard) int { return strings.Compare(a.Name, b.Name) })
	for i := range out {
		out[i] = *out[i].DeepCopy()
	}
	return out
}
