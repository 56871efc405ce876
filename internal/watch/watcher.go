package watch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

// MaxAge is the age at which a source counts as stale that does not say how long its watches last: a healthy one does not
// reach it, because every watch is renewed within watchTimeout+watchGrace.
const MaxAge = 25 * time.Second

// retryAtMost is the longest time between two attempts to follow a source, where nothing else is asked for.
const retryAtMost = 5 * time.Second

// Watcher follows a fixed list of sources.
type Watcher struct {
	// RetryAtMost is the longest time between two attempts to follow a source, before some jitter; 0 is 5 s, for which an API
	// server that comes back has time to answer thousands of agents. What is revoked in that time is noticed after it. Set
	// before Start.
	RetryAtMost time.Duration

	client   client.WithWatch
	log      klog.Logger
	sources  []Source
	contacts []*contact
	// freshUntil is a time, in nanoseconds since the epoch, before which no awaited source can be stale: WhyNotCurrent is
	// asked for every request. Sources only ever get fresher, so it may be old and is never wrong.
	freshUntil atomic.Int64
	now        func() time.Time
	// policiesRead is set for good once every optional source has been read.
	policiesRead atomic.Bool
}

// New returns a watcher; now is the clock.
func New(c client.WithWatch, log klog.Logger, now func() time.Time, sources ...Source) *Watcher {
	w := &Watcher{client: c, log: log, sources: sources, now: now}
	for range sources {
		w.contacts = append(w.contacts, &contact{now: now})
	}
	return w
}

// NeedLeaderElection says that every replica watches.
func (w *Watcher) NeedLeaderElection() bool { return false }

// Start follows the sources until ctx ends.
func (w *Watcher) Start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range w.sources {
		group.Go(func() error {
			w.follow(ctx, w.sources[i], w.contacts[i])
			return nil
		})
	}
	return group.Wait()
}

// follow lists and watches one source, again after every failure, until ctx ends.
func (w *Watcher) follow(ctx context.Context, s Source, c *contact) {
	lw := &listerWatcher{source: s, client: w.client, contact: c}
	if s.Client != nil {
		lw.client = s.Client
	}
	// An API server that is back is heard of soon: client-go's own backoff, which it also uses inside a watch that is
	// refused a connection, grows to a minute, and nothing is judged on a picture of that age.
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6, Cap: cmp.Or(w.RetryAtMost, retryAtMost)}
	inner := backoff
	reflector := cache.NewReflectorWithOptions(&cache.ListWatch{ListWithContextFunc: lw.list, WatchFuncWithContext: lw.watch}, nil, &store{source: s, contact: c}, cache.ReflectorOptions{
		Name: s.Name, TypeDescription: s.Name, Logger: &w.log, Backoff: &inner,
	})
	const reset = time.Minute
	// The only error is that ctx has ended.
	_ = backoff.DelayWithReset(clock.RealClock{}, reset).Until(ctx, true, true, func(ctx context.Context) (bool, error) { //nolint:errcheck // said above
		if err := reflector.ListAndWatchWithContext(ctx); err != nil {
			w.log.Info("resource not followed, to be tried again", "source", s.Name, "error", err.Error())
		}
		return false, nil
	})
}

// Statuses returns the state of every source, in the order given to New.
func (w *Watcher) Statuses() []Status {
	out := make([]Status, len(w.sources))
	for i, s := range w.sources {
		out[i] = w.contacts[i].status(s.Name)
		out[i].Unawaited = s.Unawaited
	}
	return out
}

// WhyNotCurrent returns "" when every source that is awaited has been read and was heard of lately, else what is wrong.
// What is decided on a picture that may be old would go on allowing what has been revoked.
func (w *Watcher) WhyNotCurrent() string {
	if w.now().UnixNano() < w.freshUntil.Load() {
		return ""
	}
	if why := w.WhyStale(); why != "" {
		return why
	}
	left := time.Duration(math.MaxInt64)
	for i, s := range w.Statuses() {
		if !s.Unawaited {
			left = min(left, w.sources[i].maxAge()-s.Age)
		}
	}
	if left < math.MaxInt64 {
		w.freshUntil.Store(w.now().Add(left).UnixNano())
	}
	return ""
}

// WhyPoliciesUnread returns "" once every optional source that decisions rest on has been read or found absent, else which ones
// have not. One that was read and then lost keeps its last state.
func (w *Watcher) WhyPoliciesUnread() string {
	if w.policiesRead.Load() {
		return ""
	}
	var parts []string
	for i, s := range w.Statuses() {
		if w.sources[i].Optional && !w.sources[i].Advisory && !s.Synced {
			parts = append(parts, s.Name+" not read yet")
		}
	}
	if len(parts) == 0 {
		w.policiesRead.Store(true)
	}
	return strings.Join(parts, "; ")
}

// Notes returns what is worth knowing of sources that nothing waits for; "" if all is well.
func (w *Watcher) Notes() string {
	var parts []string
	for i, s := range w.Statuses() {
		if s.Unawaited && (!s.Synced || s.Age > w.sources[i].maxAge()) {
			parts = append(parts, fmt.Sprintf("%s not heard of for %s", s.Name, s.Age.Round(time.Second)))
		}
	}
	return strings.Join(parts, "; ")
}

// Current reports whether the source of that name is synced and not stale.
func (w *Watcher) Current(name string) bool {
	for i := range w.sources {
		if w.sources[i].Name == name {
			s := w.contacts[i].status(name)
			return s.Synced && s.Age <= w.sources[i].maxAge()
		}
	}
	return false
}

// WhyStale returns "" when every source that is awaited is synced and was heard of lately, else what is wrong.
func (w *Watcher) WhyStale() string {
	return w.why(func(s Status, maxAge time.Duration) string {
		switch {
		case s.Unawaited:
			return ""
		case !s.Synced:
			return s.Name + " not read yet"
		case s.Age > maxAge && s.Err != nil:
			return fmt.Sprintf("%s not heard of for %s: %v", s.Name, s.Age.Round(time.Second), s.Err)
		case s.Age > maxAge:
			return fmt.Sprintf("%s not heard of for %s", s.Name, s.Age.Round(time.Second))
		default:
			return ""
		}
	})
}

func (w *Watcher) why(of func(s Status, maxAge time.Duration) string) string {
	var parts []string
	for i, s := range w.Statuses() {
		if p := of(s, w.sources[i].maxAge()); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "; ")
}

// store hands what the Reflector learns to the sink.
type store struct {
	source  Source
	contact *contact
}

func (s *store) Add(obj any) error { return s.Update(obj) }

func (s *store) Update(obj any) error {
	o, err := object(obj)
	if err != nil {
		return err
	}
	s.source.Sink.Set(o)
	return nil
}

func (s *store) Delete(obj any) error {
	o, err := object(obj)
	if err != nil {
		return err
	}
	s.source.Sink.Delete(o)
	return nil
}

func (s *store) Replace(list []any, _ string) error {
	objs := make([]client.Object, 0, len(list))
	for _, item := range list {
		o, err := object(item)
		if err != nil {
			return err
		}
		objs = append(objs, o)
	}
	if sink, ok := s.source.Sink.(Absenter); ok && len(objs) == 0 && s.contact.isAbsent() {
		sink.Absent()
	} else {
		s.source.Sink.Replace(objs)
	}
	s.contact.replaced()
	return nil
}

func (s *store) Resync() error { return nil }

func object(obj any) (client.Object, error) {
	o, ok := obj.(client.Object)
	if !ok {
		return nil, fmt.Errorf("object of type %T has no metadata", obj)
	}
	return o, nil
}
