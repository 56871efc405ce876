package drills

import (
	"cmp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/install"
)

// A replica that is ended as a drain or an upgrade ends it loses nothing: it leaves the Service, its clients' connections
// end with an answer each, and what is in flight is finished.
func endOne(t *testing.T, s *site) {
	s.ensure(t, 2)
	s.settle(t)
	l := s.load(t)
	s.goOn(t, l, 100)
	victim := s.busiest(t)
	began := time.Now()
	if err := s.Service().Terminate(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	s.goOn(t, l, 100)
	samples := l.stop()
	report(t, "one of two replicas, SIGTERM", samples, l.began, "ended %s after its pod was deleted", took.Round(100*time.Millisecond))
	if lost := refused(samples); len(lost) > 0 {
		show(t, lost)
		t.Errorf("%d requests were lost", len(lost))
	}
}

// A replica that is killed loses what is in flight at it; and until its node has noticed that the container died, kube-proxy
// sends it connections, which are refused. API servers do not repeat a call that fails.
func killOne(t *testing.T, s *site) {
	s.ensure(t, 2)
	s.settle(t)
	l := s.load(t)
	s.goOn(t, l, 100)
	victim := s.busiest(t)
	killed := time.Now()
	if err := victim.End(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.awaitReady(t, 1)
	noticed := time.Now()
	s.goOn(t, l, 100)
	samples := l.stop()
	inFlight, later, after := 0, 0, 0
	lost := refused(samples)
	for _, one := range lost {
		switch {
		case one.start.After(noticed) || one.end.Before(killed):
			after++
		case one.start.Before(killed):
			inFlight++
		default:
			later++
		}
	}
	report(t, "one of two replicas, SIGKILL", samples, l.began, "%d in flight, %d within the %s until its endpoint was gone",
		inFlight, later, noticed.Sub(killed).Round(time.Millisecond))
	if inFlight > workers || after > 0 {
		show(t, lost)
		t.Errorf("%d were lost in flight, of at most %d, and %d after the endpoint was gone", inFlight, workers, after)
	}
}

// busiest is the replica that judges most of the load: API servers use the connections they have, so one may have it all.
func (s *site) busiest(t *testing.T) *install.Replica {
	t.Helper()
	replicas := s.Service().Ready()
	judged := map[*install.Replica]float64{}
	for _, r := range replicas {
		n, err := r.Counter(t.Context(), "saguard_admission_decisions_total", nil)
		if err != nil {
			t.Fatal(err)
		}
		judged[r] = n
	}
	most := slices.MaxFunc(replicas, func(a, b *install.Replica) int { return cmp.Compare(judged[a], judged[b]) })
	return most
}
