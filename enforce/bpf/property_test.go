//go:build linux

package bpf

import (
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

func TestKernelAgreesWithRulesetThroughRandomDeltas(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	judged, denied := 0, 0
	for seed := range uint64(12) {
		w := newWorld(seed)
		w.step(20)
		if err := a.Sync(t.Context(), w.is); err != nil {
			t.Fatal(err)
		}
		for range 25 {
			var deltas []*ruleset.Delta
			for range 1 + w.rand.IntN(3) {
				deltas = append(deltas, w.step(1+w.rand.IntN(8)))
			}
			if err := a.Apply(t.Context(), deltas); err != nil {
				t.Fatal(err)
			}
			for range 40 {
				j, d := checkFlow(t, a, w.is, w.flow())
				judged, denied = judged+j, denied+d
			}
			if err := a.Verify(t.Context()); err != nil {
				t.Fatalf("seed %d, revision %d: %v", seed, w.is.Revision, err)
			}
		}
	}
	t.Logf("%d packets judged at an endpoint, %d of them denied", judged, denied)
	if judged < 3000 || denied < 1000 || judged-denied < 500 {
		t.Errorf("%d judged, %d denied: the random worlds are too dull", judged, denied)
	}
}

// checkFlow compares the maps and the program with the ruleset.
func checkFlow(t *testing.T, a *Applier, r *ruleset.Ruleset, f ruleset.Flow) (judged, denied int) {
	t.Helper()
	egress, ingress := r.Eval(f)
	got, err := a.Lookup(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != r.IdentityOf(f.Source) || got.Destination != r.IdentityOf(f.Destination) {
		t.Fatalf("%+v: identities %d, %d, want %d, %d", f, got.Source, got.Destination, r.IdentityOf(f.Source), r.IdentityOf(f.Destination))
	}
	if got.Egress.Applies != egress.Applies || got.Egress.Allow != egress.Allow || got.Egress.Rule != egress.ID ||
		got.Ingress.Applies != ingress.Applies || got.Ingress.Allow != ingress.Allow || got.Ingress.Rule != ingress.ID {
		t.Fatalf("%+v: %+v, want egress %+v, ingress %+v", f, got, egress, ingress)
	}
	want := allowed(egress) && allowed(ingress)
	if f.Protocol == 0 && f.Source.Is6() {
		return 0, 0 // hop-by-hop options: not a protocol of its own
	}
	for _, time := range []string{"judged", "remembered"} {
		if accepted := run(t, a.set.kernel, packet(t, f)); accepted != want {
			t.Fatalf("%+v: program accepts, %s: %v, want egress %+v, ingress %+v", f, time, accepted, egress, ingress)
		}
	}
	if !egress.Applies && !ingress.Applies {
		return 0, 0
	}
	if want {
		return 1, 0
	}
	return 1, 1
}
