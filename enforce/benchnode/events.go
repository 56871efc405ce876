//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/saguard/saguard/policy"
)

// eventReport is how long it takes from an event to the kernel.
type eventReport struct {
	Pods     int `json:"pods"`
	Policies int `json:"policies"`
	Programs int `json:"programs"` // of the node
	// Whole is from watches that have read everything to rules in force, by an agent that has just begun. Compiled and
	// Programmed are the greater parts of it, the choice of the backend is a smaller one.
	Whole, WholeCompiled, WholeProgrammed float64          // ms, medians
	Order                                 []string         `json:"order"`
	Kinds                                 map[string]times `json:"kinds"`
}

// times are milliseconds from the event to the kernel, and, of the median, what is compiling and what the kernel.
type times struct {
	Events     int     `json:"events"`
	Median     float64 `json:"medianMs"`
	P99        float64 `json:"p99Ms"`
	Worst      float64 `json:"worstMs"`
	Compiled   float64 `json:"compiledMs"`
	Programmed float64 `json:"programmedMs"`
}

// wholes is how often everything is loaded from nothing.
const wholes = 5

func (s *settings) eventsToKernel(ctx context.Context, dir string) (_ *eventReport, err error) {
	w := eventWorld{pods: s.pods, policies: s.rules}
	all, err := w.parsed()
	if err != nil {
		return nil, err
	}
	if s.profile != "" {
		f, err := os.Create(s.profile + "." + s.backend)
		if err != nil {
			return nil, fmt.Errorf("make profile: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, fmt.Errorf("start profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	out := &eventReport{Pods: w.pods, Policies: w.policies, Kinds: map[string]times{}}
	var whole, compiled, programmed []float64
	var a *agent
	for i := range wholes {
		if a != nil {
			if err := a.close(); err != nil {
				return nil, err
			}
		}
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Join(own, "agent"), 0o700); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
		runtime.GC()
		if a, err = newAgent(ctx, s.backend, own); err != nil {
			return nil, err
		}
		took, st, err := a.load(ctx, all)
		if err != nil {
			return nil, errors.Join(err, a.close())
		}
		whole, compiled, programmed = append(whole, milliseconds(took)), append(compiled, milliseconds(st.compiled)), append(programmed, milliseconds(st.programmed))
	}
	defer func() { err = errors.Join(err, a.close()) }()
	out.Whole, out.WholeCompiled, out.WholeProgrammed = quantile(whole, 0.5), quantile(compiled, 0.5), quantile(programmed, 0.5)
	if err := a.play(ctx, w, s.events, out); err != nil {
		return nil, err
	}
	out.Programs = a.loop.Status().Programs
	return out, a.playLargerCrowd(ctx, w, s.events, out)
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// seriesTime is how long one series goes on at most; no less than seriesLeast events are taken.
const (
	seriesTime  = 4 * time.Second
	seriesLeast = 30
)

// series collects the events of one kind that changed rules.
type series struct {
	name                        string
	begun                       time.Time
	whole, compiled, programmed []float64
}

func (s *series) add(d time.Duration, st stamp, err error) error {
	if err == nil && !st.unchanged {
		s.whole, s.compiled, s.programmed = append(s.whole, milliseconds(d)), append(s.compiled, milliseconds(st.compiled)), append(s.programmed, milliseconds(st.programmed))
	}
	return err
}

// full reports whether there are as many events as wanted, or as there is time for.
func (s *series) full(events int) bool {
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
	return len(s.whole) >= events || len(s.whole) >= seriesLeast && time.Since(s.begun) > seriesTime
}

func (s *series) into(out *eventReport) {
	out.Order = append(out.Order, s.name)
	t := times{
		Events: len(s.whole), Median: quantile(s.whole, 0.5), P99: quantile(s.whole, 0.99),
		Compiled: quantile(s.compiled, 0.5), Programmed: quantile(s.programmed, 0.5),
	}
	if t.Events > 0 {
		t.Worst = slices.Max(s.whole)
	}
	out.Kinds[s.name] = t
}

// The names of series that targets refer to.
const (
	podAdded      = "remotePodAdded"
	labelOf1000   = "accountLabelChanged_1000pods"
	labelOf10000  = "accountLabelChanged_10000pods"
	policyChanged = "policyChanged"
)

// play measures events of each kind, each undone before the next.
func (a *agent) play(ctx context.Context, w eventWorld, events int, out *eventReport) error {
	r := rand.New(rand.NewPCG(1, 2))
	if err := a.playPods(ctx, r, events, out); err != nil {
		return err
	}
	some := &series{name: "accountLabelChanged"}
	for try := 0; !some.full(events) && try < 10*events; try++ {
		ns, n := r.IntN(namespaces), r.IntN(accountsPer)
		if err := some.add(a.event(ctx, account(ns, accountName(n), r.IntN(50), r.IntN(10)))); err != nil {
			return err
		}
		if err := some.add(a.event(ctx, w.account(ns, n))); err != nil {
			return err
		}
	}
	some.into(out)
	if err := a.playCrowd(ctx, labelOf1000, events, out); err != nil {
		return err
	}
	changed := &series{name: policyChanged}
	for try := 0; !changed.full(events) && try < 50*events; try++ {
		n := r.IntN(w.policies)
		if err := changed.add(a.event(ctx, w.policy(n, w.policies+try))); err != nil {
			return err
		}
		if err := changed.add(a.event(ctx, w.policy(n, n))); err != nil {
			return err
		}
	}
	changed.into(out)
	return nil
}

// playLargerCrowd changes the label of an account that ten times as many pods wear.
func (a *agent) playLargerCrowd(ctx context.Context, w eventWorld, events int, out *eventReport) error {
	// Nine thousand more of the crowd.
	for n := range 10*crowdPods - min(crowdPods, max(0, w.pods-localPods)) {
		o := pod(fmt.Sprintf("more-%d", n), "ns-0", crowd, "node-more", address("10.100.0.0", n), `"app":"crowd"`)
		if err := a.set(o); err != nil {
			return err
		}
	}
	if _, err := a.reached(ctx, a.Revision()); err != nil {
		return err
	}
	return a.playCrowd(ctx, labelOf10000, events, out)
}

func (a *agent) playPods(ctx context.Context, r *rand.Rand, events int, out *eventReport) error {
	for _, kind := range []struct{ added, gone, node string }{
		{podAdded, "remotePodGone", "node-other"},
		{"localPodAdded", "localPodGone", localNode},
	} {
		added, gone := &series{name: kind.added}, &series{name: kind.gone}
		for n := 0; n < events && !added.full(events); n++ {
			name, ns := fmt.Sprintf("new-%d", n), fmt.Sprintf("ns-%d", r.IntN(namespaces))
			o := pod(name, ns, accountName(r.IntN(accountsPer)), kind.node, address("10.200.0.0", n), fmt.Sprintf(`"app":"app-%d"`, n%100))
			if err := added.add(a.event(ctx, o)); err != nil {
				return err
			}
			if err := gone.add(a.gone(ctx, policy.KindPod, ns, name)); err != nil {
				return err
			}
		}
		added.into(out)
		gone.into(out)
	}
	return nil
}

// playCrowd changes the label of the account that many pods wear.
func (a *agent) playCrowd(ctx context.Context, name string, events int, out *eventReport) error {
	s := &series{name: name}
	for n := 1; !s.full(events) && n <= 5*events; n++ {
		if err := s.add(a.event(ctx, crowdAccount(n%50))); err != nil {
			return err
		}
	}
	s.into(out)
	return nil
}
