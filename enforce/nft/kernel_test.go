package nft

import (
	"encoding/json"
	"fmt"
	"os"
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
			if os.Getenv("SHOW") != "" {
				t.Log(list)
			}
		}
	})
}
