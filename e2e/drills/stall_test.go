package drills

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/e2e/install"
)

// A replica whose connections to the API server stall, without being closed, makes new ones before it stops being ready.
// One that hears nothing more, whatever it does, is not ready within 30 s, and from then on allows nothing, though a permission
// that was revoked meanwhile is in its memory. It recovers when bytes pass again.
func stallWatch(t *testing.T, s *site) {
	s.ensure(t, 2)
	r := newRelay(t, s.CP.URL())
	deaf := s.start(t, install.ReplicaOptions{APIServer: r.url()})
	s.awaitReady(t, 3)
	s.settle(t)
	s.grant(t, "stalled", []string{alice}, useLabels("role=r9"))
	c := s.direct(t)
	allowed := func(ctx context.Context) (bool, int32, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return ask(ctx, c, deaf, alice, "r9")
	}
	permitted := func() {
		s.await(t, "the permission", func(ctx context.Context) error {
			if yes, _, err := allowed(ctx); !yes {
				return errNot("allowed", err)
			}
			return nil
		})
	}
	revoke := func() {
		if err := s.admin.RbacV1().RoleBindings(namespace).Delete(t.Context(), "stalled", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	permitted()

	ready := watchReadiness(t, []*install.Replica{deaf})
	r.stallOpen()
	revoke()
	used := time.Now()
	began := used
	s.await(t, "the revocation", func(ctx context.Context) error {
		yes, code, err := allowed(ctx)
		if yes {
			used = time.Now()
		}
		if code != http.StatusForbidden {
			return errNot("denied", err)
		}
		return nil
	})
	noticed := used.Sub(began)
	if not := ready.stop(); len(not) > 0 || noticed > maxStale {
		t.Errorf("a revoked right was used for %s while connections stalled that could be made anew; not ready: %v", noticed, not)
	}
	if _, err := s.admin.RbacV1().RoleBindings(namespace).Create(t.Context(), s.binding("stalled", alice), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	permitted()

	l := s.load(t)
	s.goOn(t, l, 100)
	r.stall()
	stalled := time.Now()
	revoke()
	var notReady, lastAllowed time.Time
	s.await(t, "the replica to be not ready", func(ctx context.Context) error {
		// Asked before readiness: what is allowed after it was denied is a hole.
		yes, _, err := allowed(ctx)
		if err != nil {
			return err
		}
		if yes {
			lastAllowed = time.Now()
		}
		report, err := deaf.Ready(ctx)
		if err != nil {
			return err
		}
		if report.Ready {
			return errNot("not ready", nil)
		}
		notReady = time.Now()
		return nil
	})
	if took := notReady.Sub(stalled); took > maxStale {
		t.Errorf("not ready after %s, want at most %s", took, maxStale)
	}
	for range 20 {
		if yes, code, err := allowed(t.Context()); err != nil || yes || code != http.StatusServiceUnavailable {
			t.Errorf("not ready, and answers allowed %t, code %d: %v", yes, code, err)
		}
	}
	s.awaitReady(t, 2)
	left := time.Now()
	s.goOn(t, l, 100)
	r.resume()
	resumed := time.Now()
	s.awaitReady(t, 3)
	recovered := time.Since(resumed)
	if yes, code, err := allowed(t.Context()); err != nil || yes || code != http.StatusForbidden {
		t.Errorf("recovered, and answers allowed %t, code %d: %v", yes, code, err)
	}
	s.goOn(t, l, 100)
	samples := l.stop()
	lost := refused(samples)
	late := slices.DeleteFunc(slices.Clone(lost), func(one sample) bool { return one.start.Before(left) })
	report(t, "watch stalled silently", samples, l.began, "open connections: a revoked right used for %s; all: not ready after %s, a revoked right used for %s, ready again after %s",
		noticed.Round(100*time.Millisecond),
		notReady.Sub(stalled).Round(100*time.Millisecond), lastAllowed.Sub(stalled).Round(100*time.Millisecond), recovered.Round(100*time.Millisecond))
	show(t, lost)
	if len(late) > 0 {
		t.Errorf("%d requests were lost after the replica had left the Service", len(late))
	}
}
