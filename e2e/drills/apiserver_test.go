package drills

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/e2e/install"
)

// maxStale is how old what a replica decides on may be, and the time after which one that hears nothing is not ready.
const maxStale = 30 * time.Second

// readiness asks the replicas for their readiness all the time, and remembers what was said.
type readiness struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	// not holds for each replica why it was not ready, the first time; silent how often it did not answer.
	not    map[string]string
	silent int
}

func watchReadiness(t *testing.T, replicas []*install.Replica) *readiness {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &readiness{cancel: cancel, not: map[string]string{}}
	for _, r := range replicas {
		w.done.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				report, err := r.Ready(ctx)
				w.mu.Lock()
				switch {
				case ctx.Err() != nil:
				case err != nil:
					w.silent++
				case !report.Ready && w.not[r.Name] == "":
					w.not[r.Name] = strings.Join(report.Reasons, "; ")
				}
				w.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *readiness) stop() map[string]string {
	w.cancel()
	w.done.Wait()
	return w.not
}

// revoke takes alice's permission, and returns for how long after that any of the replicas allowed what rests on it. It asks
// them directly: which of them an API server asks is its own choice.
func (s *site) revoke(t *testing.T, replicas []*install.Replica) (lag time.Duration) {
	t.Helper()
	if err := s.admin.RbacV1().RoleBindings(namespace).Delete(t.Context(), "labels", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	revoked, c := time.Now(), s.direct(t)
	for _, r := range replicas {
		s.await(t, "alice to be refused by "+r.Name, func(ctx context.Context) error {
			allowed, code, err := ask(ctx, c, r, alice, "r0")
			if allowed {
				lag = time.Since(revoked)
			}
			if err != nil || code != http.StatusForbidden {
				return fmt.Errorf("allowed %t, code %d: %v", allowed, code, err)
			}
			return nil
		})
	}
	return lag
}

// permit gives it back.
func (s *site) permit(t *testing.T) {
	t.Helper()
	b := s.binding("labels", alice)
	if _, err := s.admin.RbacV1().RoleBindings(namespace).Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
}

// While the API server is restarted nothing can be asked of it. What is lost is lost at the API server; replicas stay ready
// as long as what they know is fresh, find it again, and see at once what is revoked then.
func restartAPIServer(t *testing.T, s *site) {
	replicas := s.ensure(t, 2)
	s.settle(t)
	ready := watchReadiness(t, replicas)
	l := s.load(t)
	s.goOn(t, l, 100)
	down := time.Now()
	if err := s.CP.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	away := time.Since(down)
	s.goOn(t, l, 100)
	back := time.Since(down) - away
	samples := l.stop()
	lag := s.revoke(t, replicas)
	s.permit(t)
	notReady := ready.stop()
	lost := refused(samples)
	hooks := slices.DeleteFunc(slices.Clone(lost), func(one sample) bool { return !byWebhook(one) })
	report(t, "API server restarted", samples, l.began, "away for %s, load back %s later; %d refused for want of the webhook; a revocation counted after %s",
		away.Round(100*time.Millisecond), back.Round(100*time.Millisecond), len(hooks), lag.Round(time.Millisecond))
	if len(lost) == 0 {
		t.Error("nothing was lost: the API server was not away")
	}
	if len(hooks) > 0 {
		show(t, hooks)
		t.Errorf("%d requests reached the API server and were refused for want of the webhook", len(hooks))
	}
	if ready.silent > 0 || (away < 15*time.Second && len(notReady) > 0) {
		t.Errorf("readiness: silent %d times, not ready: %v", ready.silent, notReady)
	}
	if lag > maxStale {
		t.Errorf("a right that was revoked after the restart was used for %s", lag)
	}
}

// An etcd that stands still four fifths of the time makes writes slow. The webhook needs nothing of etcd to decide.
func slowEtcd(t *testing.T, s *site) {
	const stopped, going, times = 400 * time.Millisecond, 100 * time.Millisecond, 12
	replicas := s.ensure(t, 2)
	s.settle(t)
	ready := watchReadiness(t, replicas)
	l := s.load(t)
	s.goOn(t, l, 100)
	tick := time.NewTimer(0)
	defer tick.Stop()
	for range times {
		for _, half := range []struct {
			signal syscall.Signal
			lasts  time.Duration
		}{{syscall.SIGSTOP, stopped}, {syscall.SIGCONT, going}} {
			if err := s.CP.SignalEtcd(half.signal); err != nil {
				t.Fatal(err)
			}
			tick.Reset(half.lasts)
			<-tick.C
		}
	}
	s.goOn(t, l, 100)
	samples := l.stop()
	notReady := ready.stop()
	hooks, timeouts := 0, 0
	lost := refused(samples)
	for _, one := range lost {
		switch {
		case byWebhook(one):
			hooks++
		case errors.Is(one.err, context.DeadlineExceeded) || strings.Contains(one.err.Error(), "timeout"):
			timeouts++
		}
	}
	report(t, "etcd stopped 4/5 of 6 s", samples, l.began, "%d timed out, %d refused for want of the webhook", timeouts, hooks)
	if hooks > 0 || ready.silent > 0 || len(notReady) > 0 {
		show(t, lost)
		t.Errorf("%d refused for want of the webhook; readiness: silent %d times, not ready: %v", hooks, ready.silent, notReady)
	}
}
