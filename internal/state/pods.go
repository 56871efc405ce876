package state

import (
	"context"
	"sync"
	"unique"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
)

// pods holds as whom every pod runs, and where, in as few bytes as that takes: accounts, nodes and namespaces are few, pods
// are many. It is safe for concurrent use.
type pods struct {
	mu sync.RWMutex
	by map[podKey]podValue
}

type podKey struct {
	namespace unique.Handle[string]
	name      string
}

type podValue struct{ account, node unique.Handle[string] }

func newPodKey(namespace, name string) podKey {
	return podKey{namespace: unique.Make(namespace), name: name}
}

func newPodValue(p identity.Pod) podValue {
	return podValue{account: unique.Make(p.Account), node: unique.Make(p.Node)}
}

func (p *pods) get(namespace, name string) (identity.Pod, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	v, ok := p.by[newPodKey(namespace, name)]
	if !ok {
		return identity.Pod{}, false
	}
	return identity.Pod{Account: v.account.Value(), Node: v.node.Value()}, true
}

// PodAccount implements webhook.World. Memory may be a moment old: a pod that it does not hold may just have been created,
// and one that it thinks unbound may be bound by now. If it may be older than a moment it is not used at all: a name can
// have passed to a pod of another account.
func (c *Cluster) PodAccount(ctx context.Context, namespace, name string) decision.Fact[identity.Pod] {
	if p, ok := c.pods.get(namespace, name); ok && p.Node != "" && c.live.PodsCurrent != nil && c.live.PodsCurrent() {
		return decision.Known(p)
	}
	if c.live.Pod == nil {
		return decision.Unknown[identity.Pod]("pods are not looked up here")
	}
	return c.live.Pod(ctx, namespace, name)
}

// SetPod adds or changes a pod. Pods do not count in Revision: no decision about anything else rests on them.
func (c *Cluster) SetPod(namespace, name string, p identity.Pod) {
	c.pods.mu.Lock()
	defer c.pods.mu.Unlock()
	if c.pods.by == nil {
		c.pods.by = map[podKey]podValue{}
	}
	c.pods.by[newPodKey(namespace, name)] = newPodValue(p)
}

// DeletePod forgets a pod.
func (c *Cluster) DeletePod(namespace, name string) {
	c.pods.mu.Lock()
	defer c.pods.mu.Unlock()
	delete(c.pods.by, newPodKey(namespace, name))
}

// ReplacePods makes all the pods there are: each is called with a function to be told of them, one by one.
func (c *Cluster) ReplacePods(count int, each func(add func(namespace, name string, p identity.Pod))) {
	by := make(map[podKey]podValue, count)
	each(func(namespace, name string, p identity.Pod) { by[newPodKey(namespace, name)] = newPodValue(p) })
	c.pods.mu.Lock()
	defer c.pods.mu.Unlock()
	c.pods.by = by
}
