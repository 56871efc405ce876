package watch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var errDown = errors.New("down")

// api is an API server that serves Roles as it is told. It is safe for concurrent use.
type api struct {
	client.WithWatch
	mu      sync.Mutex
	listErr error
	roles   []rbacv1.Role
	watches []*apiwatch.RaceFreeFakeWatcher
	// failed are the times of attempts that failed.
	failed []time.Time
}

func (a *api) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listErr != nil {
		return a.listErr
	}
	l, ok := list.(*rbacv1.RoleList)
	if !ok {
		return errors.New("not a list of Roles")
	}
	l.ResourceVersion, l.Items = "1", a.roles
	return nil
}

func (a *api) Watch(_ context.Context, _ client.ObjectList, opts ...client.ListOption) (apiwatch.Interface, error) {
	var o client.ListOptions
	for _, opt := range opts {
		opt.ApplyToList(&o)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listErr != nil {
		a.failed = append(a.failed, time.Now())
		return nil, a.listErr
	}
	if o.Raw != nil && o.Raw.SendInitialEvents != nil && *o.Raw.SendInitialEvents {
		// An API server without streaming lists; the Reflector falls back to List.
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil)
	}
	w := apiwatch.NewRaceFreeFake()
	a.watches = append(a.watches, w)
	return w, nil
}

func (a *api) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listErr = err
}

func (a *api) watching() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.watches)
}

func (a *api) send(kind apiwatch.EventType, role *rbacv1.Role) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watches[len(a.watches)-1].Action(kind, role)
}

// names is a sink that remembers names.
type names struct {
	mu  sync.Mutex
	all map[string]bool
}

func (n *names) Replace(objs []client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = map[string]bool{}
	for _, o := range objs {
		n.all[o.GetName()] = true
	}
}

func (n *names) Set(o client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all[o.GetName()] = true
}

func (n *names) Delete(o client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.all, o.GetName())
}

func (n *names) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name]
}

func role(name string) *rbacv1.Role {
	return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "2"}}
}

// follow runs a watcher inside a bubble in which time passes only when all is quiet.
func follow(t *testing.T, a *api, optional bool, test func(w *Watcher, n *names)) {
	t.Helper()
	followOne(t, a, Source{Optional: optional}, test)
}

func followOne(t *testing.T, a *api, s Source, test func(w *Watcher, n *names)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		s.Name, s.NewList, s.Sink = "roles", newList[rbacv1.RoleList], n
		w := New(a, klog.Background(), time.Now, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Start(ctx) }()
		synctest.Wait()
		test(w, n)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets the bubble's time pass: it goes on as soon as everything in the bubble waits.
func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // of a synctest bubble, no real time

func TestEventsReachTheSink(t *testing.T) {
	a := &api{roles: []rbacv1.Role{*role("first")}}
	follow(t, a, false, func(w *Watcher, n *names) {
		if why := w.WhyNotCurrent(); why != "" || !n.has("first") {
			t.Fatalf("not synced: %q", why)
		}
		a.send(apiwatch.Added, role("second"))
		a.send(apiwatch.Deleted, role("first"))
		synctest.Wait()
		if !n.has("second") || n.has("first") {
			t.Errorf("the sink holds %v", n.all)
		}
	})
}

func TestSourceThatCannotBeReadStaysUnsynced(t *testing.T) {
	a := &api{listErr: errDown}
	follow(t, a, true, func(w *Watcher, _ *names) {
		pass(time.Minute)
		if w.WhyNotCurrent() == "" || w.WhyStale() == "" {
			t.Error("synced without having read anything")
		}
		a.set(nil)
		pass(10 * time.Second)
		if why := w.WhyNotCurrent() + w.WhyStale(); why != "" {
			t.Errorf("after the API server is back: %s", why)
		}
	})
}

func TestAbsentResourceIsEmptyAndLookedForAgain(t *testing.T) {
	a := &api{listErr: apierrors.NewNotFound(schema.GroupResource{}, "")}
	follow(t, a, true, func(w *Watcher, n *names) {
		if w.WhyNotCurrent()+w.WhyPoliciesUnread() != "" || !w.Statuses()[0].Absent {
			t.Fatalf("status %+v", w.Statuses())
		}
		pass(time.Minute)
		if why := w.WhyStale(); why != "" {
			t.Errorf("an absent resource grows stale: %s", why)
		}
		a.mu.Lock()
		a.listErr, a.roles = nil, []rbacv1.Role{*role("new")}
		a.mu.Unlock()
		pass(15 * time.Second)
		if !n.has("new") || w.Statuses()[0].Absent {
			t.Errorf("status %+v", w.Statuses())
		}
		// And gone again: what was there must not be remembered.
		a.set(apierrors.NewNotFound(schema.GroupResource{}, ""))
		pass(time.Minute)
		if n.has("new") || !w.Statuses()[0].Absent {
			t.Errorf("status %+v, sink %v", w.Statuses(), n.all)
		}
	})
}

func TestRequiredResourceMayNotBeAbsent(t *testing.T) {
	a := &api{listErr: apierrors.NewNotFound(schema.GroupResource{}, "")}
	follow(t, a, false, func(w *Watcher, _ *names) {
		pass(time.Minute)
		if w.WhyNotCurrent() == "" {
			t.Error("synced")
		}
	})
}

// A watch on which nothing arrives, and which does not end, is given up; if the API server does not answer either, the
// source is stale within MaxAge and a moment.
func TestSilentlyStalledWatchIsNoticed(t *testing.T) {
	a := &api{}
	follow(t, a, false, func(w *Watcher, _ *names) {
		before := a.watching()
		pass(watchTimeout + watchGrace + 2*time.Second)
		if a.watching() <= before {
			t.Error("the stalled watch was not made anew")
		}
		if why := w.WhyStale(); why != "" {
			t.Errorf("stale though the API server answers: %s", why)
		}
		a.set(errDown)
		pass(MaxAge + watchTimeout + watchGrace)
		if w.WhyStale() == "" {
			t.Error("not stale though nothing was heard for long")
		}
		if w.WhyNotCurrent() == "" {
			t.Error("decisions go on though nothing was heard for long")
		}
		a.set(nil)
		pass(10 * time.Second)
		if why := w.WhyStale(); why != "" {
			t.Errorf("after the API server is back: %s", why)
		}
	})
}

func TestWatchesThatAreRenewedSeldomAreNoticedLater(t *testing.T) {
	a := &api{}
	const renew = 10 * watchTimeout
	followOne(t, a, Source{Renew: renew}, func(w *Watcher, _ *names) {
		before := a.watching()
		pass(renew * 7 / 10)
		if a.watching() != before {
			t.Errorf("%d watches where there was one", a.watching())
		}
		if why := w.WhyStale() + w.WhyNotCurrent(); why != "" || !w.Current("roles") {
			t.Errorf("stale before its time: %s", why)
		}
		a.set(errDown)
		pass(renew*3/10 + watchGrace + time.Second)
		if why := w.WhyNotCurrent(); why != "" {
			t.Errorf("stale before its time: %s", why)
		}
		pass(MaxAge - watchTimeout)
		if w.WhyStale() == "" || w.WhyNotCurrent() == "" || w.Current("roles") {
			t.Error("not stale though nothing was heard for long")
		}
	})
}

// While the API server refuses connections, client-go itself tries again, inside the watch and ever more rarely. An outage of
// minutes must not be followed by another one in which nothing can be judged.
func TestAPIServerThatRefusedConnectionsForLongIsFoundSoon(t *testing.T) {
	for name, tc := range map[string]struct{ retry, most time.Duration }{
		"by default":          {most: 6 * time.Second},
		"with a shorter time": {retry: time.Second, most: 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{}
				w := New(a, klog.Background(), time.Now, Source{Name: "roles", NewList: newList[rbacv1.RoleList], Sink: &names{}})
				w.RetryAtMost = tc.retry
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- w.Start(ctx) }()
				synctest.Wait()
				a.set(syscall.ECONNREFUSED)
				a.mu.Lock()
				for _, open := range a.watches {
					open.Stop()
				}
				a.mu.Unlock()
				pass(5 * time.Minute)
				if w.WhyStale() == "" {
					t.Error("not stale though nothing was heard for long")
				}
				a.set(nil)
				pass(tc.most)
				if why := w.WhyStale(); why != "" {
					t.Errorf("%s after the API server is back: %s", tc.most, why)
				}
				for i := range a.failed[1:] {
					if gap := a.failed[i+1].Sub(a.failed[i]); gap > tc.most {
						t.Errorf("%s between two attempts", gap)
					}
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What was known stays known while the API server is away, and is said to be old; what changed meanwhile is known soon after it
// is back.
func TestAnHourWithoutTheAPIServer(t *testing.T) {
	a := &api{roles: []rbacv1.Role{*role("kept")}}
	follow(t, a, false, func(w *Watcher, n *names) {
		a.set(errDown)
		a.watches[0].Stop()
		pass(time.Hour)
		if why := w.WhyStale(); !n.has("kept") || !strings.Contains(why, "not heard of for 1h") || w.WhyNotCurrent() == "" {
			t.Errorf("sink %v, stale: %q", n.all, why)
		}
		a.mu.Lock()
		a.listErr, a.roles = nil, []rbacv1.Role{*role("new")}
		a.mu.Unlock()
		pass(10 * time.Second)
		if why := w.WhyStale() + w.WhyNotCurrent(); n.has("kept") || !n.has("new") || why != "" {
			t.Errorf("sink %v, stale: %q", n.all, why)
		}
	})
}

// A resource that nothing waits for, such as policies behind an aggregated API server that is down, holds up only what
// rests on it.
func TestUnawaitedSourceHoldsUpOnlyWhatRestsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, down := &api{}, &api{listErr: apierrors.NewServiceUnavailable("no backend")}
		w := New(up, klog.Background(), time.Now,
			Source{Name: "roles", NewList: newList[rbacv1.RoleList], Sink: &names{}},
			Source{Name: "policies", NewList: newList[rbacv1.RoleList], Sink: &names{}, Client: down, Optional: true, Unawaited: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Start(ctx) }()
		pass(time.Minute)
		if why := w.WhyNotCurrent() + w.WhyStale(); why != "" {
			t.Errorf("held up: %s", why)
		}
		if w.WhyPoliciesUnread() == "" || w.Notes() == "" {
			t.Error("policies count as read")
		}
		down.set(nil)
		pass(10 * time.Second)
		if why := w.WhyPoliciesUnread() + w.Notes(); why != "" {
			t.Errorf("after the API server is back: %s", why)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
