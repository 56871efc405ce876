package drills

import (
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/install"
)

// A release is replaced by another, of other values and another program, and that one by the first again, as the Deployment's
// strategy does it: a replica more, and when that is ready one less. Nothing fails meanwhile.
func upgradeAndRollback(t *testing.T, s *site) {
	next, err := s.BuildWebhook(t.Context(), "v0.0.0-next")
	if err != nil {
		t.Fatal(err)
	}
	s.ensure(t, 2)
	s.settle(t)
	l := s.load(t)
	s.goOn(t, l, 100)
	began := time.Now()
	for _, release := range []struct {
		program string
		values  []string
	}{
		{program: next, values: append([]string{"webhook.timeoutSeconds=7", "webhook.logLevel=debug", "commonLabels.release=next"}, values...)},
		{values: values},
	} {
		old := s.Service().Ready()
		if err := s.Upgrade(t.Context(), release.values...); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, len(old))
		for _, r := range old {
			s.start(t, install.ReplicaOptions{Program: release.program})
			s.awaitReady(t, len(old)+1) // maxSurge 1, maxUnavailable 0
			go func() { ended <- s.Service().Terminate(t.Context(), r) }()
			s.awaitReady(t, len(old))
		}
		for range old {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	}
	took := time.Since(began)
	s.goOn(t, l, 100)
	samples := l.stop()
	report(t, "upgrade and rollback", samples, l.began, "four replicas replaced, the chart applied twice, within %s", took.Round(time.Second))
	if lost := refused(samples); len(lost) > 0 {
		show(t, lost)
		t.Errorf("%d requests were lost", len(lost))
	}
}
