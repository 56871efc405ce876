package state_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// world holds a Policies with Calico's two groups of one kind, and what a reader of its feed holds.
type world struct {
	*state.Policies
	namespaces, pods, v3, crd *state.Origin
	seen                      map[policy.Ref]policy.Resource
	steps                     []state.Step
}

func newWorld() *world {
	w := &world{Policies: state.NewPolicies(policy.Strict, func() time.Time { return time.Unix(0, 0) }), seen: map[policy.Ref]policy.Resource{}}
	w.namespaces = w.Origin(policy.KindNamespace, "namespaces", false)
	w.pods = w.Origin(policy.KindPod, "pods", false)
	w.v3 = w.Origin(policy.KindNetworkPolicy, "networkpolicies.projectcalico.org", true)
	w.crd = w.Origin(policy.KindNetworkPolicy, "networkpolicies.crd.projectcalico.org", true)
	return w
}

// ready reads everything but Calico's policies.
func (w *world) ready() *world {
	w.namespaces.Replace([]state.Parsed{object(&policy.Namespace{Name: "a"})})
	w.pods.Replace(nil)
	return w
}

// read takes the feed.
func (w *world) read(t *testing.T) string {
	t.Helper()
	steps, why := w.Take()
	w.steps = steps
	for _, s := range steps {
		for _, c := range s.Changes {
			if c.Resource == nil {
				delete(w.seen, c.Ref)
			} else {
				w.seen[c.Ref] = c.Resource
			}
		}
	}
	return why
}

// policies are the names of the policies that the reader holds.
func (w *world) policies(t *testing.T) string {
	t.Helper()
	if why := w.read(t); why != "" {
		return why
	}
	var names []string
	for ref := range w.seen {
		if ref.Kind == policy.KindNetworkPolicy {
			names = append(names, ref.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func object(r policy.Resource) state.Parsed {
	return state.Parsed{Namespace: r.Ref().Namespace, Name: r.Ref().Name, Resource: r}
}

// named is a policy as an API object of that name.
func named(api, name string) state.Parsed {
	return state.Parsed{Namespace: "a", Name: api, Resource: &policy.Policy{ID: policy.Ref{Kind: policy.KindNetworkPolicy, Namespace: "a", Name: name}, Tier: policy.DefaultTier}}
}

func both(names ...string) []state.Parsed {
	var out []state.Parsed
	for _, n := range names {
		out = append(out, named(n, n))
	}
	return out
}

func TestOneGroupOfCalicoIsInForce(t *testing.T) {
	cases := map[string]struct {
		do   func(w *world)
		want string // policies in force; a text about what is not read where nothing may be enforced
		lack string // what WhyPartial speaks of
	}{
		"neither read":                               {do: func(*world) {}, want: "NetworkPolicy not read yet"},
		"the fallback alone is not enough":           {do: func(w *world) { w.crd.Replace(both("p")) }, want: "NetworkPolicy not read yet"},
		"the preferred one is enough":                {do: func(w *world) { w.v3.Replace(both("p")) }, want: "p"},
		"both served, the preferred one counts":      {do: func(w *world) { w.crd.Replace(both("p", "old")); w.v3.Replace(both("p")) }, want: "p"},
		"the preferred one absent, fallback unread":  {do: func(w *world) { w.v3.Absent() }, want: "NetworkPolicy not read yet"},
		"the preferred one absent":                   {do: func(w *world) { w.v3.Absent(); w.crd.Replace(both("p")) }, want: "p"},
		"none served":                                {do: func(w *world) { w.v3.Absent(); w.crd.Absent() }, want: ""},
		"fallback, then both with the same objects":  {do: func(w *world) { w.v3.Absent(); w.crd.Replace(both("p", "q")); w.v3.Replace(both("q", "p", "r")) }, want: "p q r"},
		"fallback, then a preferred one without all": {do: func(w *world) { w.v3.Absent(); w.crd.Replace(both("p", "q")); w.v3.Replace(both("p", "new")) }, want: "p q", lack: "lacks a/q"},
		"and what was missing comes": {do: func(w *world) {
			w.v3.Absent()
			w.crd.Replace(both("p", "q"))
			w.v3.Replace(both("p", "new"))
			w.v3.Set(named("q", "q"))
		}, want: "new p q"},
		"or is deleted in the fallback": {do: func(w *world) {
			w.v3.Absent()
			w.crd.Replace(both("p", "q"))
			w.v3.Replace(both("p", "new"))
			w.crd.Delete("a", "q")
		}, want: "new p"},
		"or the fallback goes": {do: func(w *world) {
			w.v3.Absent()
			w.crd.Replace(both("p", "q"))
			w.v3.Replace(both("new"))
			w.crd.Absent()
		}, want: "new"},
		"the names of the groups differ by the tier": {do: func(w *world) {
			w.v3.Absent()
			w.crd.Replace([]state.Parsed{named("default.p", "p")})
			w.v3.Replace([]state.Parsed{named("default.p", "default.p")})
		}, want: "default.p"},
		"the preferred one goes, fallback read":   {do: func(w *world) { w.v3.Replace(both("p")); w.crd.Replace(both("p")); w.v3.Absent() }, want: "p"},
		"the preferred one goes, fallback unread": {do: func(w *world) { w.v3.Replace(both("p")); w.v3.Absent() }, want: "p"},
		"and then the fallback is read":           {do: func(w *world) { w.v3.Replace(both("p")); w.v3.Absent(); w.crd.Replace(both("q")) }, want: "q"},
		"both go":                                 {do: func(w *world) { w.v3.Replace(both("p")); w.v3.Absent(); w.crd.Absent() }, want: ""},
		"both go, one comes back":                 {do: func(w *world) { w.v3.Replace(both("p")); w.v3.Absent(); w.crd.Absent(); w.v3.Replace(both("q")) }, want: "q"},
		"the fallback changes while it is not in force": {do: func(w *world) {
			w.crd.Replace(both("p"))
			w.v3.Replace(both("p"))
			w.crd.Set(named("q", "q"))
			w.crd.Delete("a", "p")
		}, want: "p"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld().ready()
			tc.do(w)
			if got := w.policies(t); got != tc.want {
				t.Errorf("in force: %q, want %q", got, tc.want)
			}
			if why := w.WhyPartial(); (why == "") != (tc.lack == "") || !strings.Contains(why, tc.lack) {
				t.Errorf("partial: %q, want %q", why, tc.lack)
			}
			w.mustHoldSnapshot(t)
		})
	}
}

// mustHoldSnapshot compares the snapshot with what the reader of the feed holds.
func (w *world) mustHoldSnapshot(t *testing.T) {
	t.Helper()
	s := w.Snapshot()
	if (s == nil) != (w.WhyUnread() != "") {
		t.Fatalf("snapshot %v though %q", s, w.WhyUnread())
	}
	if s == nil {
		return
	}
	var all []policy.Resource
	for _, r := range w.seen {
		all = append(all, r)
	}
	if want := policy.NewSnapshot(s.Rev, policy.Strict, all); want.String() != s.String() || len(want.Workloads) != len(s.Workloads) {
		t.Errorf("snapshot:\n%s\nfeed:\n%s", s, want)
	}
}

// A switch is one step: there is no world between in which neither group's policies hold.
func TestGoingOverToAnotherGroupIsOneStep(t *testing.T) {
	w := newWorld().ready()
	w.v3.Replace(both("p", "q"))
	w.crd.Replace([]state.Parsed{named("default.p", "p"), named("x", "x")})
	w.read(t)
	before := w.Revision()
	w.v3.Absent()
	if got := w.policies(t); got != "p x" || len(w.steps) != 1 || w.Revision() != before+1 {
		t.Errorf("%q in %d steps, revision %d after %d", got, len(w.steps), w.Revision(), before)
	}
}

func TestObjectsOfTheSameReference(t *testing.T) {
	w := newWorld().ready()
	w.v3.Absent()
	first, second := named("default.p", "p"), named("p", "p")
	for order, x := range []state.Parsed{first, second} {
		if p, ok := x.Resource.(*policy.Policy); ok {
			p.Order = float64(order + 1)
		}
	}
	ref := first.Resource.Ref()
	for name, all := range map[string][]state.Parsed{"in order": {first, second}, "reversed": {second, first}} {
		t.Run(name, func(t *testing.T) {
			w.crd.Replace(nil)
			for _, x := range all {
				w.crd.Set(x)
			}
			w.policies(t)
			if p, ok := w.seen[ref].(*policy.Policy); !ok || p.Order != 1 {
				t.Errorf("in force: %+v", w.seen[ref])
			}
			w.crd.Delete("a", "default.p")
			w.policies(t)
			if p, ok := w.seen[ref].(*policy.Policy); !ok || p.Order != 2 {
				t.Errorf("after the first is gone: %+v", w.seen[ref])
			}
			w.crd.Delete("a", "p")
			if got := w.policies(t); got != "" {
				t.Errorf("after both are gone: %s", got)
			}
		})
	}
}

func TestUnreadableObjectKeepsItsLastState(t *testing.T) {
	w := newWorld().ready()
	w.v3.Replace(both("p"))
	w.policies(t)
	w.v3.Set(state.Parsed{Namespace: "a", Name: "p", Unreadable: "no JSON"})
	if got := w.policies(t); got != "p" || !strings.Contains(w.WhyPartial(), "a/p") {
		t.Errorf("in force %q, partial %q", got, w.WhyPartial())
	}
	w.v3.Replace([]state.Parsed{{Namespace: "a", Name: "p", Unreadable: "no JSON"}})
	if got := w.policies(t); got != "p" {
		t.Errorf("after a new list: %q", got)
	}
	w.v3.Delete("a", "p")
	if got := w.policies(t); got != "" || w.WhyPartial() != "" {
		t.Errorf("after its deletion: %q, %q", got, w.WhyPartial())
	}
}

func TestProblemsAreThoseInForce(t *testing.T) {
	w := newWorld().ready()
	broken := named("p", "p")
	broken.Problems = []policy.Problem{{Object: broken.Resource.Ref()}}
	w.crd.Replace([]state.Parsed{broken})
	w.v3.Replace(both("p"))
	if got := w.Problems(); len(got) != 0 {
		t.Errorf("problems %v of a group that is not in force", got)
	}
	w.v3.Set(broken)
	if got := w.Problems(); len(got) != 1 {
		t.Errorf("problems %v", got)
	}
	w.v3.Delete("a", "p")
	if got := w.Problems(); len(got) != 0 {
		t.Errorf("problems %v of an object that is gone", got)
	}
}

func TestWhatChangesNothingIsNoStep(t *testing.T) {
	w := newWorld().ready()
	w.v3.Replace(both("p"))
	w.read(t)
	before := w.Revision()
	w.v3.Set(named("p", "p"))
	w.v3.Replace(both("p"))
	w.crd.Replace(both("p"))
	w.pods.Set(state.Parsed{Namespace: "a", Name: "not-scheduled"})
	w.pods.Delete("a", "never-there")
	w.SetPodCIDRs(nil)
	if w.read(t); len(w.steps) != 0 || w.Revision() != before {
		t.Errorf("%d steps, revision %d after %d", len(w.steps), w.Revision(), before)
	}
}

func TestNodesAreAwaited(t *testing.T) {
	w := newWorld().ready()
	w.AwaitNodes()
	w.v3.Replace(nil)
	if why := w.read(t); !strings.Contains(why, "nodes") {
		t.Errorf("unread: %q", why)
	}
	a, b := netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("10.244.1.0/24")
	w.ReplaceNodes(map[string][]netip.Prefix{"one": {b}, "two": {a}})
	if why := w.read(t); why != "" {
		t.Errorf("unread: %q", why)
	}
	if got := w.PodCIDRs(); !slices.Equal(got, []netip.Prefix{a, b}) {
		t.Errorf("prefixes %v", got)
	}
	w.DeleteNode("two")
	w.SetNode("one", []netip.Prefix{b})
	if w.read(t); len(w.steps) != 1 || !w.steps[0].PodCIDRsChanged || !slices.Equal(w.steps[0].PodCIDRs, []netip.Prefix{b}) {
		t.Errorf("steps %+v", w.steps)
	}
}

// A reader that does not come costs at most every object once, and misses nothing.
func TestFeedIsBounded(t *testing.T) {
	w := newWorld().ready()
	w.v3.Replace(nil)
	w.read(t)
	for i := range 5000 {
		w.v3.Set(named("p", "p"))
		if i%2 == 0 {
			w.v3.Delete("a", "p")
		}
		w.v3.Set(named(fmt.Sprintf("q%d", i%7), fmt.Sprintf("q%d", i%7)))
	}
	if got := w.policies(t); got != "p q0 q1 q2 q3 q4 q5 q6" {
		t.Errorf("in force: %s", got)
	}
	if len(w.steps) > 1024 {
		t.Errorf("%d steps waited", len(w.steps))
	}
}

func TestSnapshotIsMadeOnceAndRests(t *testing.T) {
	now := time.Unix(0, 0)
	tick := time.Duration(0) // what each look at the clock takes
	p := state.NewPolicies(policy.Strict, func() time.Time { now = now.Add(tick); return now })
	pods := p.Origin(policy.KindPod, "pods", false)
	if p.Snapshot() != nil {
		t.Fatal("a snapshot of nothing read")
	}
	pods.Replace(nil)
	first := p.Snapshot()
	if first == nil || p.Snapshot() != first {
		t.Fatal("made again though nothing changed")
	}
	tick = time.Second
	pods.Set(object(&policy.Workload{Namespace: "a", Name: "p"}))
	second := p.Snapshot()
	if second == first || second.Workload("a", "p") == nil {
		t.Fatal("not made anew after a change")
	}
	tick = 0
	pods.Delete("a", "p")
	if p.Snapshot() != second {
		t.Error("made anew at once though it took long")
	}
	now = now.Add(3 * time.Second)
	if s := p.Snapshot(); s == second || s.Workload("a", "p") != nil {
		t.Error("not made anew though the rest is over")
	}
}

// Snapshots follow the changes though nobody asks for them, also those that come while the last one still has to rest.
func TestSnapshotsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks atomic.Int64 // each look at the clock takes a millisecond, so that every snapshot has to rest
		p := state.NewPolicies(policy.Strict, func() time.Time { return time.UnixMilli(ticks.Add(1)) })
		pods := p.Origin(policy.KindPod, "pods", false)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.KeepSnapshots(ctx) }()
		pods.Replace(nil)
		for n := range 20 {
			pods.Set(object(&policy.Workload{Namespace: "a", Name: fmt.Sprint("p", n)}))
		}
		<-time.After(time.Second) // of the bubble's clock: everything has settled
		before := ticks.Load()
		s := p.Snapshot()
		if s == nil || s.Workload("a", "p19") == nil {
			t.Errorf("the last change is not in the snapshot")
		}
		if looks := ticks.Load() - before; looks > 0 {
			t.Errorf("the snapshot was made for its caller")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld().ready()
			w.v3.Replace(nil)
			for i := range n {
				w.v3.Set(named(fmt.Sprint(i), fmt.Sprint(i)))
				w.pods.Set(object(&policy.Workload{Namespace: "a", Name: fmt.Sprint(i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}}))
			}
			for i := 0; b.Loop(); i++ {
				w.pods.Set(object(&policy.Workload{Namespace: "a", Name: "x", Node: fmt.Sprint(i)}))
				if w.Snapshot() == nil {
					b.Fatal("none")
				}
			}
		})
	}
}

// Whatever the order of events, what the compiler makes of the feed is what it makes of the world from nothing.
func TestFeedCompilesToWhatThereIs(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld()
		c, rules := compile.New("node", policy.Strict), ruleset.New()
		w.namespaces.Replace(nil)
		w.pods.Replace(nil)
		for range 60 {
			w.event(r)
			if r.IntN(3) > 0 {
				continue
			}
			steps, _ := w.Take()
			for _, s := range steps {
				for _, ch := range s.Changes {
					if ch.Resource == nil {
						c.Delete(ch.Ref)
						delete(w.seen, ch.Ref)
					} else {
						c.Set(ch.Resource)
						w.seen[ch.Ref] = ch.Resource
					}
				}
				if s.PodCIDRsChanged {
					c.SetPodCIDRs(s.PodCIDRs)
				}
				rules.Apply(c.Flush(s.Revision))
			}
			if steps == nil {
				continue
			}
			s := w.Snapshot()
			want, _ := compile.Compile(s, "node", w.PodCIDRs()...)
			if !rules.Equal(want) {
				t.Fatalf("seed %d: by the feed\n%s\nfrom nothing\n%s", seed, rules, want)
			}
		}
	}
}

// event is one random event of any watch.
func (w *world) event(r *rand.Rand) {
	names := []string{"p", "q", "default.p"}
	random := func() state.Parsed {
		api := names[r.IntN(len(names))]
		p := named(api, strings.TrimPrefix(api, "default."))
		in, ok := p.Resource.(*policy.Policy)
		if !ok {
			return p
		}
		text := `{"metadata":{"name":"` + in.ID.Name + `","namespace":"a"},"spec":{"types":["Ingress"],"ingress":[{"action":"` + []string{"Allow", "Deny"}[r.IntN(2)] + `"}]}}`
		if o, err := policy.DecodeAs("projectcalico.org/v3", "NetworkPolicy", []byte(text)); err == nil {
			p.Resource, p.Problems = policy.Parse(o, policy.Strict)
		}
		return p
	}
	origin := []*state.Origin{w.v3, w.crd}[r.IntN(2)]
	switch r.IntN(9) {
	case 0:
		origin.Absent()
	case 1:
		origin.Replace([]state.Parsed{random()})
	case 2:
		origin.Delete("a", names[r.IntN(len(names))])
	case 3, 4:
		origin.Set(random())
	case 5:
		w.SetPodCIDRs([]netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", r.IntN(2)))})
	case 6:
		w.namespaces.Set(object(&policy.Namespace{Name: "a"}))
	default:
		name := fmt.Sprintf("pod-%d", r.IntN(3))
		x := state.Parsed{Namespace: "a", Name: name}
		if r.IntN(3) > 0 {
			x.Resource = &policy.Workload{
				Namespace: "a", Name: name, Node: []string{"node", "other"}[r.IntN(2)], Labels: map[string]string{policy.LabelNamespace: "a"},
				Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", 1+r.IntN(3)))},
			}
		}
		w.pods.Set(x)
	}
}
