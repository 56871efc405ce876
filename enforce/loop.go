package enforce

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/internal/ruleset"
)

// Options is what a [Loop] needs.
type Options struct {
	Feed Feed
	// Candidates are tried in order; the first whose Probe passes is used, and what the others left is removed.
	Candidates []Candidate
	// Others are never used; what they left is removed.
	Others []Candidate
	// Path says why packets of pods with these addresses do not cross the hook that rules are enforced on, "" if they do, and
	// what else is strange about their way; nil is never asked.
	Path func(pods []netip.Addr) (whyBypassed, remark string)
	// WhyStale says why the feed may be behind what the API server holds, "" if it is not. Enforcement goes on.
	WhyStale func() string
	Metrics  *Metrics
	Log      logr.Logger
	Now      func() time.Time

	// Interval is the least time between two changes of the kernel, in which events gather. 0 is DefaultInterval.
	Interval time.Duration
	// VerifyEvery is how often the kernel is compared with what was applied. 0 is DefaultVerifyEvery.
	VerifyEvery time.Duration
}

// Defaults of [Options], and times that are not.
const (
	DefaultInterval    = time.Millisecond
	DefaultVerifyEvery = 2 * time.Second

	// slowEvery is how often counters are read, bypasses looked for and removals tried again.
	slowEvery = 10 * time.Second
	// leastBackoff to mostBackoff is how long the loop waits after an error.
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = 5 * time.Second
	// callTimeout bounds one call of the kernel. It is not bound to the process's end: a change that has begun is finished.
	callTimeout = 20 * time.Second
	// buffer is how many events and packets wait at most for the next goroutine.
	buffer = 1024
)

// Loop keeps one node's kernel equal to its feed. One goroutine does it all, in [Loop.Run]; the other methods may be called
// beside it.
type Loop struct {
	o Options

	rules    *ruleset.Ruleset // what the kernel should hold, but for what the feed still has
	backend  Backend
	synced   bool             // the kernel holds rules, but for deltas
	deltas   []*ruleset.Delta // applied to rules and not to the kernel
	received []time.Time      // of the events that the kernel does not have yet
	ever     bool             // synced once, by this process
	leftover []Candidate      // whose remains are to be removed

	notBefore time.Time // of the next change of the kernel
	backoff   time.Duration
	counts    map[ruleset.RuleID]uint64 // hits as last seen

	view      Status // what Status shows, apart from staleness
	status    atomic.Pointer[Status]
	questions chan question
	events    chan Event
	lost      atomic.Uint64 // events that found no room
	packets   chan Packet
	watching  chan error    // the end of the backend's Watch before its time
	watched   chan struct{} // closed once it has ended
}

// New returns a loop that has not begun.
func New(o Options) (*Loop, error) {
	switch {
	case o.Feed == nil:
		return nil, errors.New("enforce: no feed")
	case len(o.Candidates) == 0:
		return nil, errors.New("enforce: no backend to choose from")
	case o.Metrics == nil:
		return nil, errors.New("enforce: no metrics")
	case o.Now == nil:
		return nil, errors.New("enforce: no clock")
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.VerifyEvery == 0 {
		o.VerifyEvery = DefaultVerifyEvery
	}
	l := &Loop{
		o: o, rules: ruleset.New(), counts: map[ruleset.RuleID]uint64{},
		questions: make(chan question), events: make(chan Event, buffer), packets: make(chan Packet, buffer), watching: make(chan error, 1), watched: make(chan struct{}),
	}
	l.view = Status{State: Waiting, Message: "nothing read yet", Since: o.Now()}
	l.publish()
	return l, nil
}

// Run enforces until ctx ends. Rules stay in force.
func (l *Loop) Run(ctx context.Context) error {
	verify, slow, wake := time.NewTicker(l.o.VerifyEvery), time.NewTicker(slowEvery), time.NewTimer(0)
	defer verify.Stop()
	defer slow.Stop()
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.close()
		case <-l.o.Feed.Changed():
		case <-wake.C:
		case <-verify.C:
			l.verify(ctx)
		case <-slow.C:
			l.slow(ctx)
		case e := <-l.events:
			l.resolve(e)
			continue
		case q := <-l.questions:
			q.answer <- l.explain(ctx, q.flow)
			continue
		case err := <-l.watching:
			l.view.EventsError = err.Error()
			l.o.Log.Info("packet events are not read any more", "error", err.Error())
		}
		l.work(ctx)
		l.publish()
		if wait := l.notBefore.Sub(l.o.Now()); wait > 0 {
			wake.Reset(wait)
		}
	}
}

// work brings the kernel up to date, as far as that is possible now.
func (l *Loop) work(ctx context.Context) {
	if l.o.Now().Before(l.notBefore) {
		return
	}
	changes, whyUnread := l.o.Feed.Take()
	for _, c := range changes {
		l.rules.Apply(c.Delta)
		l.note(c)
	}
	l.view.count(l.rules)
	if whyUnread != "" {
		// Nothing is programmed, and what an earlier process left stays: fails closed for what that denied.
		if !l.ever {
			l.enter(Waiting, whyUnread)
		}
		return
	}
	if len(l.rules.Addresses) == 0 {
		return // read, and not handed over yet
	}
	if !l.ever && l.refuses() {
		l.notBefore = l.o.Now().Add(slowEvery)
		return
	}
	if l.backend == nil && !l.choose(ctx) {
		return
	}
	if !l.synced {
		l.sync(ctx)
	} else if len(l.deltas) > 0 {
		l.apply(ctx)
	} else {
		l.view.AppliedRevision = l.rules.Revision // events that change no rule are in force as they arrive
	}
}

// note keeps a change that the kernel does not have.
func (l *Loop) note(c Change) {
	if c.Delta.Len() == 0 {
		return
	}
	if l.synced {
		l.deltas = append(l.deltas, c.Delta)
	}
	if len(l.received) < buffer {
		l.received = append(l.received, c.Received)
	}
}

// refuses reports whether packets of pods go past the hook, so that rules there would be a false promise.
func (l *Loop) refuses() bool {
	l.look()
	if l.view.Bypassed != "" {
		l.enter(Refused, l.view.Bypassed)
	}
	return l.view.Bypassed != ""
}

// look asks which way packets of the node's pods take.
func (l *Loop) look() {
	if l.o.Path == nil {
		return
	}
	pods := make([]netip.Addr, 0, len(l.rules.Endpoints))
	for a, e := range l.rules.Endpoints {
		if e.Pod != (ruleset.Pod{}) { // nobody is behind a stranger's address, as far as anybody knows
			pods = append(pods, a)
		}
	}
	l.view.Bypassed, l.view.Remark = l.o.Path(pods)
}

// sync makes the kernel hold all of the rules.
func (l *Loop) sync(ctx context.Context) {
	err := l.call(ctx, "sync", func(ctx context.Context) error { return l.backend.Sync(ctx, l.rules) })
	if err != nil {
		l.failed("sync", err)
		return
	}
	l.synced, l.ever = true, true
	l.applied()
}

// apply gives the kernel the deltas it does not have.
func (l *Loop) apply(ctx context.Context) {
	err := l.call(ctx, "apply", func(ctx context.Context) error { return l.backend.Apply(ctx, l.deltas) })
	if err != nil {
		l.failed("apply", err)
		return
	}
	l.applied()
}

// applied notes that the kernel holds rules.
func (l *Loop) applied() {
	now := l.o.Now()
	for _, at := range l.received {
		l.o.Metrics.eventToKernel.Observe(now.Sub(at).Seconds())
	}
	clear(l.deltas)
	l.deltas, l.received = l.deltas[:0], l.received[:0]
	l.backoff, l.notBefore = 0, now.Add(l.o.Interval)
	l.view.AppliedRevision, l.view.AppliedAt, l.view.Error = l.rules.Revision, now, ""
	l.enter(Enforcing, "")
}

// failed notes that the kernel may hold anything between what it held and what it should.
func (l *Loop) failed(operation string, err error) {
	l.synced = false
	clear(l.deltas)
	l.deltas = l.deltas[:0]
	l.backoff = min(max(2*l.backoff, leastBackoff), mostBackoff)
	l.notBefore = l.o.Now().Add(l.backoff)
	l.view.Errors++
	l.view.Error = operation + ": " + err.Error()
	l.o.Metrics.errors.WithLabelValues(operation).Inc()
	l.o.Log.Info("kernel not brought up to date, to be tried again", "operation", operation, "error", err.Error(), "after", l.backoff.String())
	l.enter(Failing, l.view.Error)
}

// verify compares the kernel with what was applied, and has it repaired.
func (l *Loop) verify(ctx context.Context) {
	if !l.synced || l.o.Now().Before(l.notBefore) {
		return
	}
	err := l.call(ctx, "verify", l.backend.Verify)
	var drift *Drift
	switch {
	case err == nil:
	case errors.As(err, &drift):
		l.synced = false
		clear(l.deltas)
		l.deltas = l.deltas[:0]
		l.view.Repairs++
		l.view.LastDrift = drift.What
		l.o.Metrics.repairs.Inc()
		l.o.Log.Info("somebody else changed the kernel's rules, repairing", "what", drift.What)
	default:
		l.failed("verify", err)
	}
}

// slow does what need not be done often.
func (l *Loop) slow(ctx context.Context) {
	if l.ever {
		l.look()
	}
	if l.synced {
		l.removeOthers(ctx)
		l.count(ctx)
	}
}

// call bounds a call of the kernel, and measures it.
func (l *Loop) call(ctx context.Context, operation string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	start := l.o.Now()
	err := f(ctx)
	l.o.Metrics.seconds.WithLabelValues(operation).Observe(l.o.Now().Sub(start).Seconds())
	return err
}

func (l *Loop) close() error {
	if l.backend == nil {
		return nil
	}
	<-l.watched
	return l.backend.Close()
}
