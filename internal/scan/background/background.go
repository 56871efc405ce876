package background

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/internal/scan/live"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

const (
	// soonest is how long after a scan a change of the guards waits for the next one.
	soonest = 30 * time.Second
	// retryAfter is how long after a scan that failed the next one begins.
	retryAfter = time.Minute
)

// The results that are kept, until they are written: what is beyond is counted.
const (
	maxPerNamespace = 500
	maxResults      = 20_000
)

// Cluster is what a scan rests on.
type Cluster interface {
	webhook.World
	GuardObjects() []v1alpha1.ServiceAccountGuard
}

// Scanner scans at intervals. All fields are required.
type Scanner struct {
	Cluster Cluster
	// Index is the newest RBAC; Authorizer is asked about those who are known.
	Index      func() *rbac.Index
	Authorizer webhook.Authorizer
	// Client reads what is scanned and writes results. It should have a rate limit of its own: a scan must not keep admission waiting. Its
	// scheme has to know saguard.io and openreports.io.
	Client   client.Client
	Excluded []string
	// Interval is the time from one scan to the next.
	Interval time.Duration
	Metrics  *Metrics
	Log      logr.Logger
	Now      func() time.Time
	// Ticks says when to see whether it is time.
	Ticks <-chan time.Time

	next   time.Time
	last   time.Time
	guards map[string]int64
}

// Run scans until ctx ends. When it begins, it scans at once; when it ends, its metrics are gone, because another replica's are true.
func (s *Scanner) Run(ctx context.Context) error {
	defer s.Metrics.clear()
	s.next, s.last, s.guards = time.Time{}, time.Time{}, nil
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Ticks:
			s.tick(ctx)
		}
	}
}

// tick scans if it is time: the interval is over, or the guards have changed. It waits until the picture of the cluster is whole.
func (s *Scanner) tick(ctx context.Context) {
	if s.Cluster.WhyNotCurrent() != "" || s.Cluster.WhyPoliciesUnread() != "" {
		return
	}
	now, guards := s.Now(), generations(s.Cluster.GuardObjects())
	changed := s.guards != nil && !reflect.DeepEqual(guards, s.guards) && !now.Before(s.last.Add(min(soonest, s.Interval)))
	if now.Before(s.next) && !changed {
		return
	}
	err := s.once(ctx)
	s.last, s.next, s.guards = s.Now(), s.Now().Add(s.Interval), guards
	if err != nil && ctx.Err() == nil {
		s.Metrics.failed()
		s.Log.Error(err, "scan not finished, to be tried again")
		s.next = s.Now().Add(min(retryAfter, s.Interval))
	}
}

func generations(guards []v1alpha1.ServiceAccountGuard) map[string]int64 {
	out := make(map[string]int64, len(guards))
	for i := range guards {
		out[string(guards[i].UID)+"/"+guards[i].Name] = guards[i].Generation
	}
	return out
}

// once scans and writes. A panic is an error: the process is there to admit, and a scan must not end it.
func (s *Scanner) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("scan panicked: %v\n%s", p, debug.Stack())
		}
	}()
	began, guards := s.Now(), s.Cluster.GuardObjects()
	result, err := live.Scan(ctx, live.Options{
		Reader: s.Client, World: s.Cluster, Guards: guards, Index: s.Index(), Authorizer: s.Authorizer, Excluded: s.Excluded,
		Limits: scan.Limits{PerNamespace: maxPerNamespace, Total: maxResults},
	})
	if err != nil {
		return err
	}
	s.Metrics.set(result, began, s.Now())
	errStatus := s.writeStatus(ctx, guards, result)
	errReports := s.writeReports(ctx, result)
	return errors.Join(errStatus, errReports)
}

// writeStatus writes the counts of each guard, and nothing else of its status: the rest is another's. The patch names every check, so that what
// was counted before and is no more goes, whatever the server has.
func (s *Scanner) writeStatus(ctx context.Context, guards []v1alpha1.ServiceAccountGuard, r *scan.Result) error {
	at := metav1.NewTime(s.Now().Truncate(time.Second))
	var errs []error
	for i := range guards {
		g := &guards[i]
		count, scanned := r.ByGuard[g.Name]
		if !scanned {
			continue // it came in the meantime
		}
		byCheck := map[string]any{}
		if before := g.Status.Violations; before != nil {
			for check := range before.ByCheck {
				byCheck[check] = nil
			}
		}
		for _, check := range scan.Checks() {
			byCheck[check] = nil
			if n := count.ByCheck[check]; n > 0 {
				byCheck[check] = n
			}
		}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"violations": map[string]any{
			"total": count.Violations, "byCheck": byCheck, "unjudged": count.Unjudged, "lastScan": at,
		}}})
		if err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		if err := s.Client.Status().Patch(ctx, g, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("write status of guard %s: %w", g.Name, err))
		}
	}
	return errors.Join(errs...)
}
