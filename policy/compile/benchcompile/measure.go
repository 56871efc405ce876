package main

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// runs is how often the world is converted and compiled from nothing; the medians count.
const runs = 5

// report is what is printed.
type report struct {
	Pods          int     `json:"pods"`
	Policies      int     `json:"policies"`
	Identities    int     `json:"identities"`
	Programs      int     `json:"programs"`
	ConvertMs     float64 `json:"convertMs"`     // parse the decoded objects
	FromNothingMs float64 `json:"fromNothingMs"` // compile them, the first delta included
	HeapMB        float64 `json:"heapMB"`        // live after that: the compiler and its first delta, not the parsed objects
	AllocMB       float64 `json:"allocMB"`       // allocated meanwhile

	RemotePodAdded        times `json:"remotePodAdded"`
	LocalPodAdded         times `json:"localPodAdded"`
	AccountLabelChanged   times `json:"accountLabelChanged"`
	PolicyChanged         times `json:"policyChanged"`
	PodLabelChanged       times `json:"podLabelChanged"`
	NamespaceLabelChanged times `json:"namespaceLabelChanged"`
}

// times are microseconds.
type times struct {
	Median float64 `json:"medianUs"`
	Mean   float64 `json:"meanUs"`
	P99    float64 `json:"p99Us"`
}

const mebibyte = 1 << 20

func measure(w *world, node string, events int) (*report, error) {
	out := &report{Pods: len(w.pods), Policies: len(w.policies)}
	var convert, compiled, heap, alloc []float64
	var c *compile.Compiler
	var before *ruleset.Ruleset
	for range runs {
		var memory [3]runtime.MemStats
		start := time.Now()
		resources := w.convert()
		convert = append(convert, time.Since(start).Seconds()*1e3)
		runtime.GC()
		runtime.ReadMemStats(&memory[0])
		start = time.Now()
		c = compile.New(node, policy.Strict)
		for _, r := range resources {
			c.Set(r)
		}
		delta := c.Flush(1)
		compiled = append(compiled, time.Since(start).Seconds()*1e3)
		runtime.ReadMemStats(&memory[1])
		runtime.GC()
		runtime.ReadMemStats(&memory[2])
		alloc = append(alloc, float64(memory[1].TotalAlloc-memory[0].TotalAlloc)/mebibyte)
		heap = append(heap, (float64(memory[2].HeapAlloc)-float64(memory[0].HeapAlloc))/mebibyte)
		before = ruleset.New()
		before.Apply(delta)
		runtime.KeepAlive(resources)
	}
	out.ConvertMs, out.FromNothingMs, out.HeapMB, out.AllocMB = median(convert), median(compiled), median(heap), median(alloc)
	out.Identities, out.Programs = len(before.Identities), len(before.Programs)

	after := ruleset.New()
	*after = *before
	hash := before.Hash()
	for kind, into := range map[string]*times{
		"remotePodAdded": &out.RemotePodAdded, "localPodAdded": &out.LocalPodAdded, "accountLabelChanged": &out.AccountLabelChanged,
		"policyChanged": &out.PolicyChanged, "podLabelChanged": &out.PodLabelChanged, "namespaceLabelChanged": &out.NamespaceLabelChanged,
	} {
		*into = play(c, after, w, makers()[kind], node, events)
	}
	if after.Hash() != hash {
		return nil, errors.New("measure events: the ruleset is another although every event was undone")
	}
	return out, nil
}

// play measures events, and follows their deltas.
func play(c *compile.Compiler, follow *ruleset.Ruleset, w *world, next maker, node string, events int) times {
	r := rand.New(rand.NewPCG(1, 2))
	made := make([]event, events)
	for n := range made {
		made[n] = next(w, r, n, node)
	}
	runtime.GC()
	micros := make([]float64, 0, events)
	set := func(e event, to policy.Resource) *ruleset.Delta {
		if to == nil {
			c.Delete(e.ref)
		} else {
			c.Set(to)
		}
		return c.Flush(2)
	}
	for _, e := range made {
		start := time.Now()
		delta := set(e, e.to)
		micros = append(micros, float64(time.Since(start).Nanoseconds())/1e3)
		follow.Apply(delta)
		follow.Apply(set(e, e.before))
	}
	return summary(micros)
}

func summary(micros []float64) times {
	sum := 0.0
	for _, m := range micros {
		sum += m
	}
	slices.Sort(micros)
	return times{Median: micros[len(micros)/2], Mean: sum / float64(len(micros)), P99: micros[min(len(micros)*99/100, len(micros)-1)]}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
