package state

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saguard/saguard/policy"
)

// snapshots builds snapshots for readers, one at a time.
type snapshots struct {
	mu sync.Mutex
	// again is the time, in nanoseconds since the epoch, before which the last snapshot is still good enough.
	again atomic.Int64
	// changed wakes KeepSnapshots.
	changed chan struct{}
}

// restFactor is how much longer than a snapshot took to build the next one waits: under a stream of changes that bounds the
// share of one CPU that snapshots take to a third.
const restFactor = 2

// Snapshot returns everything that is in force, nil as long as it is not all known. It is made when somebody asks and
// something has changed since, and is never older than three times what it takes to build one (some tens of milliseconds
// with 10,000 pods and policies). Only who makes it waits for it, and everybody for the first.
func (p *Policies) Snapshot() *policy.Snapshot {
	revision, why := p.state()
	if why != "" {
		return nil
	}
	if s := p.latest.Load(); s != nil && (s.Rev == revision || p.now().UnixNano() < p.snapshots.again.Load()) {
		return s
	}
	if s := p.latest.Load(); !p.snapshots.mu.TryLock() {
		if s != nil {
			return s // somebody is building the next one
		}
		p.snapshots.mu.Lock()
	}
	defer p.snapshots.mu.Unlock()
	p.mu.Lock()
	revision = p.revision
	last := p.latest.Load()
	if last != nil && (last.Rev == revision || p.now().UnixNano() < p.snapshots.again.Load()) {
		p.mu.Unlock()
		return last
	}
	start := p.now()
	var all []policy.Resource
	for _, f := range p.families {
		if f.force != nil {
			f.force.each(func(_ policy.Ref, r policy.Resource) { all = append(all, r) })
		}
	}
	p.mu.Unlock()
	s := policy.NewSnapshot(revision, p.sem, all)
	end := p.now()
	p.snapshots.again.Store(end.Add(restFactor * end.Sub(start)).UnixNano())
	p.latest.Store(s)
	return s
}

// KeepSnapshots makes snapshots as things change, until ctx ends, so that hardly any caller of [Policies.Snapshot] has to make
// one, and a change is in force for them soon after it came, not when somebody next asks.
func (p *Policies) KeepSnapshots(ctx context.Context) error {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.snapshots.changed:
		case <-rest.C:
		}
		revision, _ := p.state()
		if s := p.Snapshot(); s != nil && s.Rev < revision {
			rest.Reset(time.Duration(p.snapshots.again.Load() - p.now().UnixNano()))
		}
	}
}

func (p *Policies) state() (revision uint64, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision, p.whyUnread()
}
