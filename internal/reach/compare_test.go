package reach

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
)

// TestChangesAreTheDifferenceOfVerdicts compares random worlds with what becomes of them after some objects are replaced,
// added and deleted: for every pair of addresses and a packet of every class, a change has to be there exactly if the
// evaluator's verdict changes, and for all pairs or some.
func TestChangesAreTheDifferenceOfVerdicts(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 10
	}
	all := packets()
	var asked, widened, narrowed, some int
	for seed := range uint64(worlds) {
		r := random{rand.New(rand.NewPCG(seed, 11))}
		sem := pick(r, policy.Strict, policy.Calico)
		one := r.world(10 + r.IntN(25))
		two := maps.Clone(one)
		for range r.IntN(5) {
			two.put(r.object())
		}
		if r.in(2) {
			keys := slices.Sorted(maps.Keys(two))
			delete(two, pick(r, keys...))
		}
		before, after := one.snapshot(t, sem), two.snapshot(t, sem)
		c := Compare(before, after)
		if same := Compare(before, before); !same.empty() {
			t.Fatalf("seed %d: a world differs from itself", seed)
		}
		units := c.units()
		for _, p := range sample(r, all, seed) {
			type count struct{ widened, narrowed, all int }
			want := map[[2]int]*count{}
			for _, from := range units {
				for _, to := range units {
					if from.family != to.family || from.outside.IsValid() && to.outside.IsValid() {
						continue
					}
					asked++
					e := want[[2]int{from.party, to.party}]
					if e == nil {
						e = &count{}
						want[[2]int{from.party, to.party}] = e
					}
					e.all++
					var allow [2]bool
					for n, s := range []*policy.Snapshot{before, after} {
						x, okX := from.in(n)
						y, okY := to.in(n)
						allow[n] = okX && okY && judge(s, x.addr, y.addr, x.pod, y.pod, p).Verdict() == decision.Allow
					}
					got := c.changeOf(from, to, p)
					switch {
					case allow[0] == allow[1]:
						if got != nil {
							t.Fatalf("seed %d, %+v -> %+v, %+v: %v, but change %+v", seed, from, to, p, allow, got)
						}
						continue
					case allow[1]:
						e.widened++
						widened++
					default:
						e.narrowed++
						narrowed++
					}
					if got == nil || got.Widens != allow[1] {
						t.Fatalf("seed %d, %+v -> %+v, %+v: %v, but change %+v", seed, from, to, p, allow, got)
					}
				}
			}
			for at, e := range want {
				if c.a.parties[at[0]].Outside || c.a.parties[at[1]].Outside {
					continue // not every address outside has been asked about
				}
				for widens, n := range map[bool]int{true: e.widened, false: e.narrowed} {
					got := ExtentNone
					for _, change := range c.Changes(at[0], at[1]) {
						if change.Widens == widens && change.has(p) {
							got = change.Extent
						}
					}
					if got != extentOf(n, e.all) {
						t.Fatalf("seed %d, %v, %+v: widens %v: got %s, want %d of %d", seed, at, p, widens, got, n, e.all)
					}
					if got == ExtentSome {
						some++
					}
				}
			}
		}
	}
	t.Logf("%d flows, %d newly allowed, %d newly denied, %d changes for some", asked, widened, narrowed, some)
	if asked < 1000 || widened == 0 || narrowed == 0 || some == 0 {
		t.Errorf("the worlds are too poor: %d flows, %d newly allowed, %d newly denied, %d changes for some", asked, widened, narrowed, some)
	}
}

func (c *Comparison) empty() bool {
	for i := range c.a.parties {
		for k := range c.a.parties {
			if len(c.Changes(i, k)) > 0 {
				return false
			}
		}
	}
	return true
}

// testUnit is an address of a pod, as it is in both worlds, or one outside of the cluster in both.
type testUnit struct {
	party, group int
	family       uint8
	outside      netip.Addr
	pods         [2]*address
}

func (u testUnit) in(world int) (address, bool) {
	if u.outside.IsValid() {
		return address{addr: u.outside}, true
	}
	if u.pods[world] == nil {
		return address{}, false
	}
	return *u.pods[world], true
}

// units finds the addresses anew, by the names of pods, and not by what the analysis made of them.
func (c *Comparison) units() []testUnit {
	var out []testUnit
	for n, p := range c.a.parties {
		if p.Outside {
			for _, x := range addresses(c.a, c.a.worlds[0]) {
				if x.party == n && len(c.a.worlds[1].snapshot.At(x.addr)) == 0 {
					u := testUnit{party: n, family: familyOf(x.addr), outside: x.addr}
					u.group = slices.IndexFunc(p.groups, func(g []*kind) bool {
						return g[0] == p.groups[c.a.groupOf(0, x)][0] && g[1] == p.groups[c.a.groupOf(1, x)][1]
					})
					out = append(out, u)
				}
			}
			continue
		}
		for _, m := range p.members {
			var u testUnit
			for at, w := range c.a.worlds {
				pod := w.snapshot.Workload(p.Namespace, m.name)
				if m.kinds[at] == nil {
					continue
				}
				var same []netip.Addr
				for _, addr := range pod.Addresses {
					if familyOf(addr) == m.kinds[at].family && !slices.Contains(same, addr) {
						same = append(same, addr)
					}
				}
				for _, addr := range same {
					if c.a.podKind(w, pod, addr) == m.kinds[at] && u.pods[at] == nil {
						u.pods[at] = &address{n, addr, pod}
						u.family = familyOf(addr)
					}
				}
			}
			u.party = n
			u.group = slices.IndexFunc(p.groups, func(g []*kind) bool { return slices.Equal(g, m.kinds) })
			out = append(out, u)
		}
	}
	return out
}

// changeOf is the change of two units' verdict on a packet, nil if there is none.
func (c *Comparison) changeOf(from, to testUnit, p packet) *Change {
	for _, change := range c.Changes(from.party, to.party) {
		if !change.has(p) {
			continue
		}
		for _, w := range change.Ways {
			if len(w.Pairs) == 0 || slices.ContainsFunc(w.Pairs, func(p Pairs) bool {
				return slices.Contains(p.From, from.group) && slices.Contains(p.To, to.group)
			}) {
				return &change
			}
		}
	}
	return nil
}
