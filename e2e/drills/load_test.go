package drills

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// workers is how many requests of the load can be in flight.
	workers = 8
	// The load is a burst of requests, then some time, which is 100 a second. Each is judged by two webhooks.
	burst, every = 4, 40 * time.Millisecond
	// requestTimeout is how long a client waits.
	requestTimeout = 10 * time.Second
)

// sample is one request of the load.
type sample struct {
	user       string
	start, end time.Time
	err        error // nil where the answer was the right one
	wrong      bool  // allowed what nobody granted
}

// load is users changing labels, seven in eight of them with permission, until stopped.
type load struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	began   time.Time
	mu      sync.Mutex
	samples []sample
}

func (s *site) load(t *testing.T) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, began: time.Now()}
	turns := make(chan int)
	l.done.Go(func() {
		defer close(turns)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for b := range burst {
				select {
				case <-ctx.Done():
					return
				case turns <- n*burst + b: // when all workers wait, the load does too
				}
			}
		}
	})
	for w := range workers {
		l.done.Go(func() {
			for n := range turns {
				one := s.one(context.WithoutCancel(ctx), w, n) // what was asked is answered before the load ends
				l.mu.Lock()
				l.samples = append(l.samples, one)
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (s *site) one(ctx context.Context, worker, n int) sample {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	one := sample{user: alice, start: time.Now()}
	if n%8 == 7 {
		one.user = mallory
	}
	// A label that changes each time: what changes nothing is not sent to the webhook.
	err := s.label(ctx, one.user, worker, fmt.Sprintf("r%d", n/8%2))
	if one.user == mallory {
		one.wrong = err == nil
		if ourDenial(err) {
			err = nil
		}
	}
	one.err, one.end = err, time.Now()
	return one
}

// soFar returns how many requests were answered rightly.
func (l *load) soFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.samples {
		if l.samples[i].err == nil {
			n++
		}
	}
	return n
}

// goOn waits until n more requests were answered rightly.
func (s *site) goOn(t *testing.T, l *load, n int) {
	t.Helper()
	want := l.soFar() + n
	s.await(t, "the load to go on", func(context.Context) error {
		if got := l.soFar(); got < want {
			return fmt.Errorf("%d of %d requests", got, want)
		}
		return nil
	})
}

// stop ends the load and returns what became of it.
func (l *load) stop() []sample {
	l.cancel()
	l.done.Wait()
	return l.samples
}

// line is a row of the table.
type line struct {
	drill                    string
	requests, refused, wrong int
	p50, p99, gap            time.Duration
	remark                   string
}

func (r line) String() string {
	ms := func(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
	return fmt.Sprintf("%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s", r.drill, r.requests, r.refused, r.wrong, ms(r.p50), ms(r.p99), ms(r.gap), r.remark)
}

// rows is the table of all drills. It is safe for concurrent use.
type rows struct {
	mu  sync.Mutex
	all []line
}

var table = &rows{}

func (r *rows) lines() []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// report makes the row of a load, prints it, and fails where anything was allowed that nobody granted.
func report(t *testing.T, drill string, samples []sample, began time.Time, remark string, args ...any) line {
	t.Helper()
	r := line{drill: drill, requests: len(samples), remark: fmt.Sprintf(remark, args...)}
	var took []time.Duration
	answered := []time.Time{began}
	for i := range samples {
		took = append(took, samples[i].end.Sub(samples[i].start))
		if samples[i].wrong {
			r.wrong++
		}
		if samples[i].err != nil {
			r.refused++
		} else {
			answered = append(answered, samples[i].end)
		}
	}
	slices.Sort(took)
	slices.SortFunc(answered, time.Time.Compare)
	for i := range answered[1:] {
		r.gap = max(r.gap, answered[i+1].Sub(answered[i]))
	}
	if len(took) > 0 {
		r.p50, r.p99 = took[len(took)/2], took[len(took)*99/100]
	}
	table.mu.Lock()
	table.all = append(table.all, r)
	table.mu.Unlock()
	t.Logf("requests, refused, wrongly allowed, p50, p99, longest gap: %s", strings.ReplaceAll(r.String(), "\t", " | "))
	if r.wrong > 0 {
		t.Errorf("%d requests were allowed that nobody granted", r.wrong)
	}
	return r
}

// refused returns the requests that got no right answer.
func refused(samples []sample) []sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.err == nil })
}

// byWebhook says that a request was refused because of the webhook, or of the way to it.
func byWebhook(s sample) bool { return s.err != nil && strings.Contains(s.err.Error(), ".saguard.io") }

// show logs a few errors, for whoever has to find out why.
func show(t *testing.T, samples []sample) {
	t.Helper()
	for _, s := range samples[:min(5, len(samples))] {
		t.Logf("%s: after %s: %v", s.user, s.end.Sub(s.start).Round(time.Millisecond), s.err)
	}
}
