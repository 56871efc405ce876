package extauthz_test

import (
	"sync"
	"testing"

	"github.com/saguard/saguard/audit"
)

// A client that does nothing but get refused leaves a bounded log, in which every refusal is counted, and does not hide what
// others do.
func TestFloodOfRefusalsIsSummedUp(t *testing.T) {
	const clients, each = 8, 250
	r := start(t, nil)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range each {
				out, err := r.client.Check(t.Context(), request("10.0.0.2", idBatch, server, "GET", "/public"))
				if err != nil || out.GetStatus().GetCode() == 0 {
					t.Errorf("got %v, %v", out, err)
				}
			}
		})
	}
	wait.Wait()
	if _, err := r.client.Check(t.Context(), request("10.0.0.2", idWeb, server, "GET", "/public")); err != nil {
		t.Fatal(err)
	}
	if got := r.journal.last(t); got.Reason != "identity-mismatch" {
		t.Errorf("the first of another kind is recorded as %+v", got)
	}
	const prefix = "saguard_authz_"
	if got := r.counted(t, prefix+"checks_total"); got != clients*each+1 {
		t.Errorf("%v checks were counted, want %d", got, clients*each+1)
	}
	summed := r.counted(t, prefix+"records_summed_total")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	var stands, sums, more uint64
	for _, rec := range r.journal.records {
		stands += 1 + rec.More
		if rec.More > 0 {
			sums, more = sums+1, more+rec.More
			if rec.Decision != audit.Denied || rec.Reason != "policy-rule" || rec.User != "system:serviceaccount:prod:batch" || rec.Object.Name != "api-0" {
				t.Errorf("the sum is %+v", rec)
			}
		}
	}
	if stands != clients*each+1 || sums != 1 || float64(more+1) != summed {
		t.Errorf("the records stand for %d refusals in %d sums, %v were held back", stands, sums, summed)
	}
	if len(r.journal.records) > 70 {
		t.Errorf("%d records", len(r.journal.records))
	}
}

// Refusals that cannot be recorded are counted as lost, the sums as many as they stand for.
func TestLostSumsCountWhatTheyStandFor(t *testing.T) {
	r := start(t, nil)
	r.journal.mu.Lock()
	r.journal.broken = true
	r.journal.mu.Unlock()
	const refusals = 200
	for range refusals {
		if _, err := r.client.Check(t.Context(), request("10.0.0.2", idBatch, server, "GET", "/public")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if lost := r.counted(t, "saguard_authz_records_lost_total"); lost != refusals {
		t.Errorf("%v records are counted as lost, want %d", lost, refusals)
	}
}
