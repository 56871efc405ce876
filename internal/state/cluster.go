// Package state holds the latest immutable picture of what admission decides on. Writers are the watches; readers take a
// snapshot and never wait for them.
package state

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
)

// Live answers what memory cannot.
type Live struct {
	// WhyNotCurrent is "" while everything that decisions in general rest on has been read and is fresh.
	WhyNotCurrent func() string
	// WhyPoliciesUnread is "" once all policies have been read.
	WhyPoliciesUnread func() string
	// Namespace asks the API server.
	Namespace func(ctx context.Context, name string) decision.Fact[guard.Namespace]
	// PoliciesCurrent, TiersCurrent and AccountsCurrent report whether those in memory are all there are, but for the last moment;
	// nil = never. Only advice rests on them.
	PoliciesCurrent, TiersCurrent, AccountsCurrent func() bool
	// PodsCurrent reports whether the pods in memory are all there are, but for the last moment; nil = never.
	PodsCurrent func() bool
	// Pod asks the API server; nil where there is none, and every pod unknown.
	Pod func(ctx context.Context, namespace, name string) decision.Fact[identity.Pod]
}

// Cluster is the admission webhook's memory. It is safe for concurrent use.
type Cluster struct {
	// RBAC holds Roles, ClusterRoles and their bindings.
	RBAC *rbac.Store

	live       Live
	namespaces sync.Map // name -> guard.Namespace
	pods       pods
	accounts   accounts
	shadows    shadows
	revision   atomic.Uint64
	config     atomic.Pointer[config]

	mu       sync.Mutex // writers of config
	guards   map[string]v1alpha1.ServiceAccountGuard
	bands    map[string]v1alpha1.PolicyBand
	policies map[PolicyID]guard.PolicyKeys // those that read any key
	problems func([]guard.Problem)
}

// config is one immutable snapshot of the configuration.
type config struct {
	guards *guard.Set
	bands  []v1alpha1.PolicyBand
}

// PolicyID names one policy object.
type PolicyID struct{ Resource, Namespace, Name string }

// New returns an empty cluster. problems is told of every guard that cannot be obeyed as written.
func New(live Live, problems func([]guard.Problem)) *Cluster {
	c := &Cluster{
		RBAC: rbac.NewStore(), live: live, problems: problems,
		guards: map[string]v1alpha1.ServiceAccountGuard{}, bands: map[string]v1alpha1.PolicyBand{}, policies: map[PolicyID]guard.PolicyKeys{},
	}
	c.config.Store(&config{guards: &guard.Set{}})
	return c
}

// WhyNotCurrent implements webhook.World.
func (c *Cluster) WhyNotCurrent() string { return c.live.WhyNotCurrent() }

// WhyPoliciesUnread implements webhook.World.
func (c *Cluster) WhyPoliciesUnread() string { return c.live.WhyPoliciesUnread() }

// Guards implements webhook.World.
func (c *Cluster) Guards() *guard.Set { return c.config.Load().guards }

// Bands implements webhook.World; the slice is not to be changed.
func (c *Cluster) Bands() []v1alpha1.PolicyBand { return c.config.Load().bands }

// Revision implements webhook.World.
func (c *Cluster) Revision() uint64 { return c.revision.Load() }

// Touch counts a change to RBAC, which keeps its own snapshots.
func (c *Cluster) Touch() { c.revision.Add(1) }

// Namespace implements webhook.World. Memory may be a moment old: a namespace that it does not hold may just have been
// created, and with fresh one that it thinks alive may be terminating. It never comes back from that.
func (c *Cluster) Namespace(ctx context.Context, name string, fresh bool) decision.Fact[guard.Namespace] {
	if v, ok := c.namespaces.Load(name); ok {
		if ns, ok := v.(guard.Namespace); ok && (!fresh || ns.Terminating) {
			return decision.Known(ns)
		}
	}
	return c.live.Namespace(ctx, name)
}

// SetNamespace adds or changes a namespace.
func (c *Cluster) SetNamespace(name string, ns guard.Namespace) {
	c.namespaces.Store(name, ns)
	c.Touch()
}

// DeleteNamespace forgets a namespace.
func (c *Cluster) DeleteNamespace(name string) {
	c.namespaces.Delete(name)
	c.Touch()
}

// ReplaceNamespaces makes all the namespaces there are.
func (c *Cluster) ReplaceNamespaces(all map[string]guard.Namespace) {
	c.namespaces.Range(func(k, _ any) bool {
		if name, ok := k.(string); ok {
			if _, stays := all[name]; !stays {
				c.namespaces.Delete(k)
			}
		}
		return true
	})
	for name, ns := range all {
		c.namespaces.Store(name, ns)
	}
	c.Touch()
}

// ReplaceGuards makes all the guards there are.
func (c *Cluster) ReplaceGuards(all []v1alpha1.ServiceAccountGuard) {
	c.update(func() {
		clear(c.guards)
		for i := range all {
			c.guards[all[i].Name] = all[i]
		}
	})
}

// SetGuard adds or changes a guard.
func (c *Cluster) SetGuard(g v1alpha1.ServiceAccountGuard) { c.update(func() { c.guards[g.Name] = g }) }

// DeleteGuard removes a guard.
func (c *Cluster) DeleteGuard(name string) { c.update(func() { delete(c.guards, name) }) }

// ReplaceBands makes all the bands there are.
func (c *Cluster) ReplaceBands(all []v1alpha1.PolicyBand) {
	c.update(func() {
		clear(c.bands)
		for i := range all {
			c.bands[all[i].Name] = all[i]
		}
	})
}

// SetBand adds or changes a band.
func (c *Cluster) SetBand(b v1alpha1.PolicyBand) { c.update(func() { c.bands[b.Name] = b }) }

// DeleteBand removes a band.
func (c *Cluster) DeleteBand(name string) { c.update(func() { delete(c.bands, name) }) }

// Policy is what memory keeps of a policy.
type Policy struct {
	// Keys are the label keys of service accounts that it reads.
	Keys guard.PolicyKeys
	// Shadow says what it decides before others; nil if it is no policy that is enforced for pods.
	Shadow *shadow.Policy
}

// ReplacePolicies makes all the policies there are of one resource.
func (c *Cluster) ReplacePolicies(resource string, all map[PolicyID]Policy) {
	byID := make(map[PolicyID]*shadow.Policy, len(all))
	for id := range all {
		byID[id] = all[id].Shadow
	}
	c.shadows.replace(resource, byID)
	c.update(func() {
		maps.DeleteFunc(c.policies, func(id PolicyID, _ guard.PolicyKeys) bool { return id.Resource == resource })
		for id := range all {
			if len(all[id].Keys) > 0 {
				c.policies[id] = all[id].Keys
			}
		}
	})
}

// SetPolicy adds or changes a policy.
func (c *Cluster) SetPolicy(id PolicyID, p Policy) {
	c.shadows.set(id, p.Shadow)
	if !c.reads(id, p.Keys) {
		c.update(func() { c.policies[id] = p.Keys })
	}
}

// DeletePolicy removes a policy.
func (c *Cluster) DeletePolicy(id PolicyID) {
	c.shadows.set(id, nil)
	if !c.reads(id, nil) {
		c.update(func() { delete(c.policies, id) })
	}
}

// reads reports that memory holds the same keys of the policy; one that is not there reads none. Most changes of policies
// leave the keys alone, and most policies read none: nothing need be compiled for those.
func (c *Cluster) reads(id PolicyID, keys guard.PolicyKeys) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.EqualFunc(c.policies[id], keys, slices.Equal)
}

// update changes the configuration and publishes it compiled, before it returns.
func (c *Cluster) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	set, problems := guard.Compile(slices.Collect(maps.Values(c.guards)), slices.Collect(maps.Values(c.policies))...)
	bands := make([]v1alpha1.PolicyBand, 0, len(c.bands))
	for _, name := range slices.Sorted(maps.Keys(c.bands)) {
		bands = append(bands, c.bands[name])
	}
	c.config.Store(&config{guards: set, bands: bands})
	c.revision.Add(1)
	if len(problems) > 0 && c.problems != nil {
		c.problems(problems)
	}
}
