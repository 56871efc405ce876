//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/desired"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/state"
)

// agent is the loop of a node in a network namespace, and the cluster that it follows.
type agent struct {
	*cluster
	node   *space
	loop   *enforce.Loop
	stamps chan stamp
	cancel context.CancelFunc
	ended  <-chan error
}

// stamp says that the kernel holds everything up to a revision.
type stamp struct {
	revision uint64
	at       time.Time
	// unchanged says that there was nothing for the kernel.
	unchanged bool
	// compiled and programmed are how long the last step took in each.
	compiled, programmed time.Duration
}

// observedFeed says when a revision needs nothing of the kernel, and how long compiling took.
type observedFeed struct {
	enforce.Feed

	a        *agent
	compiled time.Duration
}

// Take implements enforce.Feed.
func (f *observedFeed) Take() ([]enforce.Change, string) {
	begin := time.Now()
	changes, why := f.Feed.Take()
	if len(changes) > 0 {
		f.compiled = time.Since(begin)
	}
	changed := false
	for _, c := range changes {
		changed = changed || c.Delta.Len() > 0
	}
	if len(changes) > 0 && !changed {
		f.a.stamps <- stamp{revision: changes[len(changes)-1].Delta.Revision, at: time.Now(), unchanged: true}
	}
	return changes, why
}

// observedBackend says when the kernel holds a revision.
type observedBackend struct {
	enforce.Backend

	a    *agent
	feed *observedFeed
}

// Sync implements enforce.Applier.
func (b *observedBackend) Sync(ctx context.Context, r *ruleset.Ruleset) error {
	begin := time.Now()
	return b.done(begin, r.Revision, b.Backend.Sync(ctx, r))
}

// Apply implements enforce.Applier.
func (b *observedBackend) Apply(ctx context.Context, deltas []*ruleset.Delta) error {
	begin := time.Now()
	return b.done(begin, deltas[len(deltas)-1].Revision, b.Backend.Apply(ctx, deltas))
}

func (b *observedBackend) done(begin time.Time, revision uint64, err error) error {
	if err == nil {
		now := time.Now()
		b.a.stamps <- stamp{revision: revision, at: now, compiled: b.feed.compiled, programmed: now.Sub(begin)}
	}
	return err
}

// newAgent starts a loop over a cluster that knows nothing yet; dir is its own.
func newAgent(ctx context.Context, backend, dir string) (*agent, error) {
	node, err := newSpace(-1)
	if err != nil {
		return nil, err
	}
	a := &agent{cluster: newCluster(), node: node, stamps: make(chan stamp, 1024)}
	feed := &observedFeed{Feed: desired.New(a.Policies, localNode), a: a}
	metrics, err := enforce.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	a.loop, err = enforce.New(enforce.Options{
		Feed: feed, Metrics: metrics, Log: logr.Discard(), Now: time.Now,
		Candidates: []enforce.Candidate{{Name: backend, Open: func() (enforce.Backend, error) {
			b, err := openBackend(backend, filepath.Join(dir, "agent"))
			if err != nil {
				return nil, err
			}
			return &observedBackend{Backend: b, a: a, feed: feed}, nil
		}}},
	})
	if err != nil {
		return nil, err
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.ended = node.begin(func() error { return a.loop.Run(ctx) })
	return a, nil
}

// close ends the loop. The rules go with the namespace.
func (a *agent) close() error {
	a.cancel()
	return errors.Join(<-a.ended, a.node.close())
}

// reached waits until the kernel holds a revision.
func (a *agent) reached(ctx context.Context, revision uint64) (stamp, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		select {
		case s := <-a.stamps:
			if s.revision >= revision {
				return s, nil
			}
		case <-ctx.Done():
			s := a.loop.Status()
			return stamp{}, fmt.Errorf("wait for revision %d: %w; the agent is %s: %s%s", revision, ctx.Err(), s.State, s.Message, s.Error)
		}
	}
}

// load fills the cluster and waits for the kernel. The time is from the first watch telling what it holds.
func (a *agent) load(ctx context.Context, all map[string][]state.Parsed) (time.Duration, stamp, error) {
	begin := time.Now()
	a.fill(all)
	s, err := a.reached(ctx, a.Revision())
	return s.at.Sub(begin), s, err
}

// event tells of one object and waits for the kernel. The time is from its bytes on.
func (a *agent) event(ctx context.Context, o object) (time.Duration, stamp, error) {
	begin := time.Now()
	before := a.Revision()
	if err := a.set(o); err != nil {
		return 0, stamp{}, err
	}
	return a.since(ctx, begin, before)
}

// gone tells that a pod is gone.
func (a *agent) gone(ctx context.Context, kind, namespace, name string) (time.Duration, stamp, error) {
	begin := time.Now()
	before := a.Revision()
	a.origins[kind].Delete(namespace, name)
	return a.since(ctx, begin, before)
}

func (a *agent) since(ctx context.Context, begin time.Time, before uint64) (time.Duration, stamp, error) {
	revision := a.Revision()
	if revision == before {
		return 0, stamp{unchanged: true}, nil
	}
	s, err := a.reached(ctx, revision)
	return s.at.Sub(begin), s, err
}
