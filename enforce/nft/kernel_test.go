package nft

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/testenv"
)

// inNamespace runs f in a network namespace of its own, on a thread that ends with it. f must not end its goroutine with
// Fatal of a test outside of it; it may of t, which is told.
func inNamespace(t testing.TB, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		if _, err := netns.New(); err != nil {
			done <- err
			return
		}
		f()
	}()
	err := <-done
	if err == nil {
		return
	}
	testenv.Lacking(t, testenv.NetNS, err.Error())
}

func newApplier(t testing.TB, o Options) *Applier {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// nft runs the nft program and returns what it prints.
func nft(args ...string) (string, error) {
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

var _ enforce.Applier = (*Applier)(nil)

// TestKernelHoldsTheModel applies random deltas and asks the kernel what it would do.
func TestKernelHoldsTheModel(t *testing.T) {
	inNamespace(t, func() {
		a := newApplier(t, Options{})
		asked := 0
		for seed := range uint64(12) {
			w := newWorld(seed)
			for step := range 12 {
				d := w.step(1 + w.IntN(30))
				var err error
				if step == 0 {
					err = a.Sync(t.Context(), w.now)
				} else {
					err = a.Apply(t.Context(), []*ruleset.Delta{d})
				}
				if err != nil {
					t.Errorf("seed %d step %d: %v", seed, step, err)
					return
				}
				a.verified = false // look at everything
				if err := a.Verify(t.Context()); err != nil {
					t.Errorf("seed %d step %d: %v", seed, step, err)
					return
				}
				for range 15 {
					f := w.flow()
					want := expected(w.now, f)
					got, err := a.Lookup(t.Context(), f)
					if err != nil || got != want {
						t.Errorf("seed %d step %d: %+v\ngot  %+v %v\nwant %+v", seed, step, f, got, err, want)
						return
					}
					asked++
				}
			}
			list, err := nft("list", "ruleset")
			if err != nil || !strings.Contains(list, "table inet saguard_") {
				t.Errorf("seed %d: %v\n%s", seed, err, list)
				return
			}
			j, err := nft("-j", "list", "ruleset")
			if err != nil || !json.Valid([]byte(j)) {
				t.Errorf("seed %d: nft -j list: %v", seed, err)
				return
			}
		}
	})
}

// TestWhatIsLeftOverIsReplaced covers a process that was killed in the middle, other tables, and cleaning up.
func TestWhatIsLeftOverIsReplaced(t *testing.T) {
	inNamespace(t, func() {
		if _, err := nft("add", "table", "inet", "saguardian"); err != nil {
			t.Error(err)
			return
		}
		a, b := newApplier(t, Options{}), newApplier(t, Options{})
		tables := func() string {
			out, err := nft("list", "tables")
			if err != nil {
				t.Error(err)
			}
			return strings.Join(strings.Fields(strings.ReplaceAll(out, "table inet", "")), " ")
		}
		expect := func(what, want string) {
			t.Helper()
			if got := tables(); got != want {
				t.Errorf("%s: tables %q, want %q", what, got, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		must(a.Probe(t.Context()))
		expect("after a probe", "saguardian")
		must(a.Sync(t.Context(), sample()))
		must(b.Sync(t.Context(), sample()))
		expect("after a Sync of each of two processes", "saguardian saguard_1")
		if err := a.Verify(t.Context()); err == nil {
			t.Error("the first process has not noticed the second")
		}
		must(b.Verify(t.Context()))
		// As after a Sync that was killed before it took the old table away.
		if _, err := nft("add", "table", "inet", "saguard_7"); err != nil {
			t.Error(err)
		}
		if err := b.Verify(t.Context()); err == nil {
			t.Error("a second table was not noticed")
		}
		must(b.Sync(t.Context(), sample()))
		expect("after another Sync", "saguardian saguard_0")
		must(b.Verify(t.Context()))
		must(b.Remove(t.Context()))
		expect("after Remove", "saguardian")
		must(b.Remove(t.Context()))
		if got, err := b.Lookup(t.Context(), newWorld(1).flow()); err != nil || got != (enforce.Answer{}) {
			t.Errorf("without a table: %+v, %v", got, err)
		}
		if err := b.Apply(t.Context(), nil); err == nil {
			t.Error("changes were applied to nothing")
		}
	})
}

// TestVerifyLooksOnlyIfSomebodyCommitted: what is the same generation is the same table.
func TestVerifyLooksOnlyIfSomebodyCommitted(t *testing.T) {
	inNamespace(t, func() {
		a := newApplier(t, Options{Suffix: "x_1"})
		if err := a.Sync(t.Context(), sample()); err != nil {
			t.Error(err)
			return
		}
		for _, step := range []struct {
			name     string
			command  []string
			verified bool
			drift    bool
		}{
			{name: "a table of others", command: []string{"add", "table", "inet", "other"}},
			{name: "nothing", verified: true},
			{name: "a counter in one of our chains", command: []string{"add", "rule", "inet", a.kernel.name(), "ingress", "counter"}, drift: true},
		} {
			if step.command != nil {
				if _, err := nft(step.command...); err != nil {
					t.Error(err)
				}
			}
			generation, err := a.kernel.generation()
			if err != nil {
				t.Error(err)
			}
			if step.verified != (a.verified && generation == a.generation) && step.verified {
				t.Errorf("%s: has to be looked at", step.name)
			}
			err = a.Verify(t.Context())
			var drift *enforce.Drift
			if errors.As(err, &drift) != step.drift || err != nil && !step.drift {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	})
}

// TestDecodedRulesAreTheOnesThatWereEncoded: what is written is read back, and nothing else passes for it.
func TestDecodedRulesAreTheOnesThatWereEncoded(t *testing.T) {
	for seed := range uint64(20) {
		l := newLowering(5)
		if err := l.load(stepped(newWorld(seed), 60)); err != nil {
			t.Fatal(err)
		}
		for name, c := range l.chains {
			for _, r := range c.rules {
				a := &attributes{}
				r.encode(a)
				if got, err := decodeRule(a.data); err != nil || got != r {
					t.Fatalf("chain %s: got %v, %v, want %v", name, got, err, r)
				}
			}
		}
	}
}
