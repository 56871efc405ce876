package compile_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// change is one event: the object is like that now, or is gone.
type change struct {
	ref      policy.Ref
	resource policy.Resource // nil: gone
}

// follower is a compiler and what a dataplane would make of its deltas.
type follower struct {
	c      *compile.Compiler
	shadow *ruleset.Ruleset
	state  map[policy.Ref]policy.Resource
	sem    policy.Semantics
	node   string
	cidrs  []netip.Prefix // of all pods
	own    []netip.Prefix // of the node's
	rev    uint64
}

func follow(node string, sem policy.Semantics) *follower {
	return &follower{c: compile.New(node, sem), shadow: ruleset.New(), state: map[policy.Ref]policy.Resource{}, sem: sem, node: node}
}

func (f *follower) apply(ch change) {
	if ch.resource == nil {
		f.c.Delete(ch.ref)
		delete(f.state, ch.ref)
		return
	}
	f.c.Set(ch.resource)
	f.state[ch.ref] = ch.resource
}

func (f *follower) flush() *ruleset.Delta {
	f.rev++
	d := f.c.Flush(f.rev)
	f.shadow.Apply(d)
	return d
}

func (f *follower) snapshot() *policy.Snapshot {
	return policy.NewSnapshot(f.rev, f.sem, slices.Collect(maps.Values(f.state)))
}

// mustEqualCompiled compares with compiling from nothing.
func (f *follower) mustEqualCompiled(t testing.TB, what string) *policy.Snapshot {
	t.Helper()
	s := f.snapshot()
	c := compile.New(f.node, f.sem)
	c.SetPodCIDRs(f.cidrs, f.own...)
	c.SetSnapshot(s)
	want := ruleset.New()
	want.Apply(c.Flush(s.Rev))
	problems := c.Problems()
	if err := f.shadow.Check(); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, f.shadow)
	}
	if !f.shadow.Equal(want) || f.shadow.Revision != want.Revision {
		t.Fatalf("%s: incremental, revision %d:\n%s\nfrom nothing, revision %d:\n%s", what, f.shadow.Revision, f.shadow, want.Revision, want)
	}
	if got := fmt.Sprint(f.c.Problems()); got != fmt.Sprint(problems) {
		t.Fatalf("%s: incremental problems\n%s\nfrom nothing\n%s", what, got, problems)
	}
	if d := f.flush(); d.Len() != 0 {
		t.Fatalf("%s: a flush without events gave %+v", what, d)
	}
	return s
}

// evolve lets random events happen, some at a time, and every other time what between does besides.
func (f *follower) evolve(r random, between func()) {
	var refs []policy.Ref
	for range 4 + r.IntN(10) {
		for range 1 + r.IntN(8) {
			if r.in(6) && len(refs) > 0 {
				f.apply(change{ref: pick(r, refs...)})
			} else if ref, made := resource(r.object(), f.sem); made != nil {
				f.apply(change{ref, made})
				refs = append(refs, ref)
			}
		}
		if r.in(2) {
			between()
		}
		f.flush()
	}
}

// worlds is the number of random worlds of each property; go test -short does fewer.
func worlds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func semantics(seed int) policy.Semantics {
	switch seed % 8 {
	case 0:
		return policy.Calico
	case 1:
		all := policy.Differences()
		return policy.StrictOnly(all[seed/8%len(all)])
	}
	return policy.Strict
}

func TestCompiledRulesJudgeAsTheEvaluator(t *testing.T) {
	allowed, denied := 0, 0
	for seed := range worlds(2000) {
		r, sem := newRandom(uint64(seed)), semantics(seed)
		state := map[policy.Ref]policy.Resource{}
		for range 10 + r.IntN(40) {
			if ref, made := resource(r.object(), sem); made != nil {
				state[ref] = made
			}
		}
		s := policy.NewSnapshot(1, sem, slices.Collect(maps.Values(state)))
		out, _ := compile.Compile(s, "local")
		var flows []ruleset.Flow
		for range 40 {
			flows = append(flows, r.flow())
		}
		mustAgree(t, fmt.Sprintf("seed %d", seed), s, out, "local", flows)
		for _, f := range flows {
			egress, ingress := out.Eval(f)
			for _, d := range []ruleset.Decision{egress, ingress} {
				if d.Applies && d.Allow {
					allowed++
				} else if d.Applies {
					denied++
				}
			}
		}
	}
	t.Logf("%d allowed, %d denied", allowed, denied)
	if min(allowed, denied)*5 < max(allowed, denied) {
		t.Errorf("%d allowed, %d denied: the worlds are one-sided", allowed, denied)
	}
}

func TestIncrementalEqualsCompilingFromNothing(t *testing.T) {
	for seed := range worlds(1000) {
		r, sem := newRandom(1_000_000+uint64(seed)), semantics(seed)
		f := follow("local", sem)
		var refs []policy.Ref
		for step := range 8 + r.IntN(16) {
			for range 1 + r.IntN(6) { // squash: some flushes see several events, also of one object
				switch {
				case r.in(4) && len(refs) > 0:
					f.apply(change{ref: pick(r, refs...)})
				case r.in(6) && len(refs) > 0: // duplicate
					ref := pick(r, refs...)
					f.apply(change{ref, f.state[ref]})
				case r.in(6) && len(refs) > 0: // delete and recreate
					ref := pick(r, refs...)
					was := f.state[ref]
					f.apply(change{ref: ref})
					if r.in(2) {
						f.flush()
					}
					f.apply(change{ref, was})
				default:
					ref, made := resource(r.object(), sem)
					f.apply(change{ref, made})
					refs = append(refs, ref)
				}
			}
			f.flush()
			if step%4 == 0 {
				f.mustEqualCompiled(t, fmt.Sprintf("seed %d step %d", seed, step))
			}
		}
		s := f.mustEqualCompiled(t, fmt.Sprintf("seed %d at the end", seed))
		for range 10 {
			if err := compare(s, f.shadow, "local", r.flow()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for _, ref := range refs {
			f.apply(change{ref: ref})
		}
		f.flush()
		if n := len(f.shadow.Rows) + len(f.shadow.Rules) + len(f.shadow.Programs) + len(f.shadow.Subjects) + len(f.shadow.Endpoints); n > 0 {
			t.Fatalf("seed %d: %d parts are left when everything is gone:\n%s", seed, n, f.shadow)
		}
	}
}

// expanders make other paths to the same state.
func expanders() map[string]func(random, []change) [][]change {
	return map[string]func(random, []change) [][]change{
		"all at once":      func(_ random, in []change) [][]change { return [][]change{in} },
		"one by one":       func(_ random, in []change) [][]change { return slices.Collect(slices.Chunk(in, 1)) },
		"reversed":         func(_ random, in []change) [][]change { return slices.Collect(slices.Chunk(reversed(in), 1)) },
		"reversed at once": func(_ random, in []change) [][]change { return [][]change{reversed(in)} },
		"in another order, in parts": func(r random, in []change) [][]change {
			in = slices.Clone(in)
			r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
			return slices.Collect(slices.Chunk(in, 3))
		},
		"each twice": func(_ random, in []change) [][]change {
			return slices.Collect(slices.Chunk(append(slices.Clone(in), in...), 2))
		},
		"each deleted and made again": func(_ random, in []change) [][]change {
			out := [][]change{in}
			for _, ch := range in {
				out = append(out, []change{{ref: ch.ref}}, []change{ch})
			}
			return out
		},
		"all deleted and made again": func(_ random, in []change) [][]change {
			var gone []change
			for _, ch := range in {
				gone = append(gone, change{ref: ch.ref})
			}
			return [][]change{in, gone, reversed(in)}
		},
		"deleted and made again in one flush": func(_ random, in []change) [][]change {
			out := [][]change{in}
			for _, ch := range in {
				out = append(out, []change{{ref: ch.ref}, ch})
			}
			return out
		},
		"empty flushes between": func(_ random, in []change) [][]change {
			var out [][]change
			for _, ch := range in {
				out = append(out, []change{ch}, nil)
			}
			return out
		},
	}
}

func reversed(in []change) []change {
	in = slices.Clone(in)
	slices.Reverse(in)
	return in
}

func (f *follower) walk(steps [][]change) {
	for _, step := range steps {
		for _, ch := range step {
			f.apply(ch)
		}
		f.flush()
	}
	f.rev = 100
	f.flush()
}

func TestThePathDoesNotMatter(t *testing.T) {
	for name, expand := range expanders() {
		t.Run(name, func(t *testing.T) {
			for seed := range worlds(100) {
				r, sem := newRandom(2_000_000+uint64(seed)), semantics(seed)
				state := map[policy.Ref]policy.Resource{}
				for range 30 {
					if ref, made := resource(r.object(), sem); made != nil {
						state[ref] = made
					}
				}
				f := follow("local", sem)
				f.walk(expand(r, changes(state)))
				f.mustEqualCompiled(t, fmt.Sprintf("seed %d", seed))
			}
		})
	}
}

// changes sets everything, in a fixed order.
func changes(state map[policy.Ref]policy.Resource) []change {
	var out []change
	for _, ref := range slices.SortedFunc(maps.Keys(state), policy.Ref.Compare) {
		out = append(out, change{ref, state[ref]})
	}
	return out
}

func TestThePathDoesNotMatterInTheCorpus(t *testing.T) {
	all := expanders()
	names := slices.Sorted(maps.Keys(all))
	for i, sc := range corpus(t) {
		sem := policy.Strict
		if i%2 == 0 {
			sem = policy.Calico
		}
		state := map[policy.Ref]policy.Resource{}
		for _, r := range sc.resources(t, sem) {
			state[r.Ref()] = r
		}
		s := policy.NewSnapshot(1, sem, slices.Collect(maps.Values(state)))
		flows := sc.flows(t, s)
		name := names[i%len(names)]
		for node := range nodes(s) {
			f := follow(node, sem)
			f.walk(all[name](newRandom(uint64(i)), changes(state)))
			f.mustEqualCompiled(t, sc.Name+" "+name)
			mustAgree(t, sc.Name+" "+name, s, f.shadow, node, flows)
		}
	}
}
