package state

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saguard/saguard/policy"
)

// Policies is the memory of everything that network policy speaks of: pods, namespaces, accounts, policies, tiers, network
// sets, and the prefixes that pods have their addresses from. Writers are the watches, each through an [Origin]. Readers are
// the compiler, which takes every change in order ([Policies.Take]), and whoever judges single connections, who takes a
// snapshot ([Policies.Snapshot]). It is safe for concurrent use.
type Policies struct {
	sem policy.Semantics
	now func() time.Time

	mu       sync.Mutex
	families []*family
	nodes    nodes
	revision uint64
	changes  []Change // of the call in progress
	feed     feed

	snapshots snapshots
	latest    atomic.Pointer[policy.Snapshot]
}

// NewPolicies returns an empty memory; now is the clock.
func NewPolicies(sem policy.Semantics, now func() time.Time) *Policies {
	return &Policies{sem: sem, now: now, feed: feed{ready: make(chan struct{}, 1)}, snapshots: snapshots{changed: make(chan struct{}, 1)}}
}

// Semantics are those that objects are parsed with.
func (p *Policies) Semantics() policy.Semantics { return p.sem }

// Revision counts the changes to what is in force.
func (p *Policies) Revision() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision
}

// WhyUnread returns "" once everything has been read whole, else what has not. Until then nobody can say what any policy
// means: it must not be enforced, and no connection be allowed on it (fails closed).
func (p *Policies) WhyUnread() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whyUnread()
}

func (p *Policies) whyUnread() string {
	var why reasons
	for _, f := range p.families {
		if f.force == nil {
			why.add(f.kind + " not read yet")
		}
	}
	if p.nodes.awaited && !p.nodes.known {
		why.add("nodes not read yet")
	}
	return why.String()
}

// WhyPartial returns "" if what is in force is what the API server holds, else what is not: objects that cannot be read at
// all, of which the last state that could be is in force, and API groups that are not gone over to yet.
func (p *Policies) WhyPartial() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var why reasons
	for _, f := range p.families {
		if f.lacking != "" {
			why.add(f.lacking)
		}
		if f.force != nil {
			for _, text := range f.force.unreadable {
				why.add(text)
			}
		}
	}
	return why.String()
}

// Problems returns what is wrong in the objects that are in force, as Parse said of each, sorted.
func (p *Policies) Problems() []policy.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []policy.Problem
	for _, f := range p.families {
		if f.force == nil {
			continue
		}
		for _, problems := range f.force.problems {
			out = append(out, problems...)
		}
	}
	sortProblems(out)
	return out
}

// PodCIDRs returns the prefixes of all nodes, sorted.
func (p *Policies) PodCIDRs() []netip.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes.prefixes
}

// PodCIDRsOf returns the prefixes of one node.
func (p *Policies) PodCIDRsOf(node string) []netip.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes.byName[node]
}

// note remembers a change of what is in force, as part of the call in progress.
func (p *Policies) note(ref policy.Ref, r policy.Resource) {
	p.changes = append(p.changes, Change{Ref: ref, Resource: r})
}

// commit ends a call: all that it changed is one step from a world that was to one that is.
func (p *Policies) commit() {
	if len(p.changes) == 0 && !p.nodes.changed {
		return
	}
	p.revision++
	step := Step{Revision: p.revision, Received: p.now(), Changes: p.changes}
	if p.nodes.changed {
		step.PodCIDRsChanged, step.PodCIDRs, step.PodCIDRsByNode = true, p.nodes.prefixes, p.nodes.byName
	}
	p.changes, p.nodes.changed = nil, false
	p.feed.push(step)
	select {
	case p.snapshots.changed <- struct{}{}:
	default:
	}
}
