package certificates

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/internal/rotation"
)

// The simulation: replicas keep the certificate in a cluster in memory. A scheduler decides at every single call which
// replica goes on, whether the call fails, before or after its effect, and whether the replica dies by it; when time passes;
// and what other people break. It is deterministic: only one goroutine runs at any time.

var (
	simTerms = rotation.Terms{Validity: 100 * time.Minute, RenewBefore: 40 * time.Minute, Settle: 5 * time.Minute}
	simNames = rotation.Names{DNS: []string{"saguard.saguard-system.svc"}}
	simStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

const webhooksEach = 2

var errOutage = errors.New("the API server cannot be reached")

// revision is a webhook configuration for as long as it is the latest.
type revision struct {
	version     int
	bundles     [][]byte
	from, until time.Time
}

type world struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	trace  []string

	version int
	secret  map[string][]byte // nil: absent
	at      int               // the Secret's version
	backups []map[string][]byte
	configs map[string][]revision // the last one is the latest

	replicas []*replica
	trusts   map[string]bool

	// faults of caBundles; strictFrom is when their effects are over, zero while they are not.
	bundleFaults bool
	strictFrom   time.Time
	sinceFault   map[*replica]bool
}

type verdict int

const (
	proceed verdict = iota
	failBefore
	failAfter
	dieBefore
	dieAfter
)

// replica is a process with a keeper.
type replica struct {
	name    string
	w       *world
	keeper  *Keeper
	request chan string
	grant   chan verdict
	done    chan error
	running bool
	// clean says that the round under way began after the last fault; idle that the last one found nothing to do.
	clean, idle bool
}

func (w *world) log(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%s %s", w.now.Format("15:04:05"), fmt.Sprintf(format, args...)))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	tail := w.trace[max(0, len(w.trace)-80):]
	for _, line := range tail {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

// call is made by keepers: it hands over to the scheduler.
func (r *replica) call(what string, effect func() error) error {
	r.request <- what
	v := <-r.grant
	if v == dieBefore {
		runtime.Goexit()
	}
	if v == failBefore {
		return errOutage
	}
	err := effect()
	if v == dieAfter {
		runtime.Goexit()
	}
	if v == failAfter {
		return errOutage
	}
	return err
}

type simSecret struct{ r *replica }

func (s simSecret) Read(context.Context) (data map[string][]byte, version string, err error) {
	w := s.r.w
	err = s.r.call("read Secret", func() error {
		if w.secret == nil {
			return ErrAbsent
		}
		data, version = maps.Clone(w.secret), strconv.Itoa(w.at)
		return nil
	})
	return data, version, err
}

func (s simSecret) Make(context.Context) error {
	w := s.r.w
	return s.r.call("make Secret", func() error {
		if w.secret == nil {
			w.putSecret(map[string][]byte{})
		}
		return nil
	})
}

func (s simSecret) Write(_ context.Context, version string, data map[string][]byte) error {
	w := s.r.w
	return s.r.call("write Secret", func() error {
		switch {
		case w.secret == nil:
			return ErrAbsent
		case strconv.Itoa(w.at) != version:
			return ErrChanged
		}
		w.putSecret(maps.Clone(data))
		w.backups = append(w.backups, maps.Clone(data))
		return nil
	})
}

func (w *world) putSecret(data map[string][]byte) {
	w.version++
	w.secret, w.at = data, w.version
}

type simConfiguration struct {
	r    *replica
	name string
}

func (c simConfiguration) Name() string { return c.name }

func (c simConfiguration) Read(context.Context) (bundles []rotation.Bundle, version string, err error) {
	w := c.r.w
	err = c.r.call("read "+c.name, func() error {
		latest := w.latest(c.name)
		for i, text := range latest.bundles {
			bundles = append(bundles, rotation.ParseBundle(strconv.Itoa(i), text))
		}
		version = strconv.Itoa(latest.version)
		return nil
	})
	return bundles, version, err
}

func (c simConfiguration) Write(_ context.Context, version string, bundles []rotation.Text) error {
	w := c.r.w
	return c.r.call("write "+c.name, func() error {
		latest := w.latest(c.name)
		if strconv.Itoa(latest.version) != version {
			return ErrChanged
		}
		next := slices.Clone(latest.bundles)
		for i, b := range bundles {
			if b.Webhook != strconv.Itoa(i) {
				w.t.Errorf("webhook %s is written in the place of %d", b.Webhook, i)
			}
			next[i] = b.PEM
		}
		w.putConfiguration(c.name, next)
		return nil
	})
}

func (w *world) latest(name string) *revision {
	return &w.configs[name][len(w.configs[name])-1]
}

func (w *world) putConfiguration(name string, bundles [][]byte) {
	w.version++
	if len(w.configs[name]) > 0 {
		w.latest(name).until = w.now
	}
	w.configs[name] = append(w.configs[name], revision{version: w.version, bundles: bundles, from: w.now})
}

func newWorld(t *testing.T, seed uint64, replicas int) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: simStart, configs: map[string][]revision{},
		trusts: map[string]bool{}, strictFrom: simStart, secret: map[string][]byte{},
	}
	for _, name := range []string{"validating", "mutating"} {
		w.putConfiguration(name, make([][]byte, webhooksEach))
	}
	for i := range replicas {
		r := &replica{name: fmt.Sprintf("r%d", i), w: w}
		r.boot()
		w.replicas = append(w.replicas, r)
	}
	t.Cleanup(func() {
		for _, r := range w.replicas {
			if r.running {
				r.grant <- dieBefore
				if err := <-r.done; !errors.Is(err, errDied) {
					t.Error(err)
				}
			}
		}
	})
	return w
}

// boot is a process that starts: what it held in memory is gone.
func (r *replica) boot() {
	k, err := New(Options{
		Secret:         simSecret{r},
		Configurations: []Configuration{simConfiguration{r, "validating"}, simConfiguration{r, "mutating"}},
		Names:          simNames, Terms: simTerms, Now: func() time.Time { return r.w.now }, Log: logr.Discard(),
	})
	if err != nil {
		r.w.t.Fatal(err)
	}
	r.keeper, r.running = k, false
	r.request, r.grant, r.done = make(chan string), make(chan verdict), make(chan error, 1)
}

var errDied = errors.New("died")

// start begins a round, up to its first call.
func (r *replica) start() {
	r.running, r.clean = true, true
	go func() {
		err := errDied
		defer func() { r.done <- err }()
		again, roundErr := r.keeper.Round(context.WithoutCancel(r.w.t.Context()))
		err = roundErr
		if again && err == nil {
			err = errAgain
		}
	}()
	<-r.request
}

var errAgain = errors.New("there may be more to do")

// step lets the replica make the call it waits to make, and runs it to the next one or the end of the round.
func (r *replica) step(v verdict) {
	w := r.w
	r.grant <- v
	select {
	case <-r.request:
		return
	case err := <-r.done:
		r.running, r.idle = false, err == nil
		w.log("%s: round ends: %v, serves %v", r.name, err, r.keeper.served.Load())
		switch {
		case errors.Is(err, errDied):
			r.boot()
		case err == nil && r.clean && w.sinceFault != nil:
			w.sinceFault[r] = true
			if len(w.sinceFault) == len(w.replicas) {
				w.sinceFault, w.strictFrom = nil, w.now.Add(simTerms.Settle)
			}
		}
	}
}

func (r *replica) kill() {
	if r.running {
		r.step(dieBefore)
		return
	}
	r.boot()
}

// check is the property: whatever a replica may serve now, every caBundle that an API server may use now trusts. A caBundle
// without any CA is not one by which a webhook was ever reached, and a certificate that has expired is not served by a
// replica that is ready.
func (w *world) check() {
	w.t.Helper()
	for name := range w.configs {
		if size := len(w.latest(name).bundles[0]); size > 32<<10 {
			w.fail("a caBundle of %d bytes", size)
		}
	}
	if w.sinceFault != nil || w.now.Before(w.strictFrom) {
		return
	}
	for _, r := range w.replicas {
		g := r.keeper.served.Load()
		if g == nil || w.now.After(g.NotAfter()) {
			continue
		}
		for name, revisions := range w.configs {
			for i := len(revisions) - 1; i >= 0; i-- {
				v := &revisions[i]
				if !v.until.IsZero() && !v.until.After(w.now.Add(-simTerms.Settle)) {
					break
				}
				for hook, text := range v.bundles {
					if len(text) > 0 && !w.trusted(g, text) {
						w.fail("%s serves %v, which %s, webhook %d, does not trust; it was the configuration from %s to %s",
							r.name, g, name, hook, v.from.Format("15:04:05"), v.until.Format("15:04:05"))
					}
				}
			}
		}
	}
}

// trusted asks crypto/x509, as an API server does.
func (w *world) trusted(g *rotation.Generation, bundle []byte) bool {
	leaf := g.Certificate().Leaf
	key := string(leaf.Raw) + string(bundle)
	if known, ok := w.trusts[key]; ok {
		return known
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: simNames.DNS[0], CurrentTime: g.NotAfter().Add(-time.Minute)})
	w.trusts[key] = err == nil
	return err == nil
}

// breakSecret is what other people do to the Secret.
func (w *world) breakSecret() {
	switch w.random.IntN(5) {
	case 0:
		w.log("the Secret is deleted")
		w.secret = nil
	case 1:
		w.log("the Secret is emptied")
		w.putSecret(map[string][]byte{})
	case 2:
		data := maps.Clone(w.secret)
		for key, value := range data {
			if w.random.IntN(2) == 0 {
				data[key] = append(bytes.Clone(value[:len(value)/2]), 'x')
			}
		}
		w.log("the Secret is damaged")
		w.putSecret(data)
	case 3:
		data := maps.Clone(w.secret)
		for key := range data {
			if w.random.IntN(2) == 0 {
				delete(data, key)
			}
		}
		w.log("some of the Secret is deleted")
		w.putSecret(data)
	case 4:
		if len(w.backups) > 0 {
			w.log("the Secret is restored from a backup")
			w.putSecret(maps.Clone(w.backups[w.random.IntN(len(w.backups))]))
		}
	}
	if w.secret == nil {
		return
	}
	w.secret = maps.Clone(w.secret)
}

func (w *world) breakBundle() {
	names := slices.Sorted(maps.Keys(w.configs))
	name := names[w.random.IntN(len(names))]
	bundles := slices.Clone(w.latest(name).bundles)
	foreign, err := rotation.NewGeneration(w.now, simTerms.Validity, simNames)
	if err != nil {
		w.t.Fatal(err)
	}
	store := rotation.Store{Current: foreign}
	replacement := [][]byte{nil, []byte("nonsense"), store.Encode()["ca.crt"]}[w.random.IntN(3)]
	for i := range bundles {
		if w.random.IntN(2) == 0 {
			bundles[i] = replacement
		}
	}
	w.log("a caBundle of %s is broken", name)
	w.putConfiguration(name, bundles)
	w.sinceFault = map[*replica]bool{}
	for _, r := range w.replicas {
		r.clean = false
	}
}

// play makes n random choices. Some replicas are favoured for a while, so that others are late.
func (w *world) play(n int, secretFaults bool) {
	favoured := w.replicas[0]
	secretBroken := w.now
	for i := range n {
		if i%50 == 0 {
			favoured = w.replicas[w.random.IntN(len(w.replicas))]
		}
		r := favoured
		if w.random.IntN(4) == 0 {
			r = w.replicas[w.random.IntN(len(w.replicas))]
		}
		switch p := w.random.IntN(1000); {
		case p < 5:
			w.log("%s is killed", r.name)
			r.kill()
		case p < 8 && secretFaults && w.now.Sub(secretBroken) > simTerms.Validity/10:
			// Rarely enough for what a caBundle may hold of former generations.
			secretBroken = w.now
			w.breakSecret()
		case p < 10 && w.bundleFaults:
			w.breakBundle()
		case p < 100:
			w.now = w.now.Add(time.Duration(w.random.Int64N(int64(simTerms.Settle / 2))))
		case !r.running:
			r.start()
		default:
			v := proceed
			if w.random.IntN(20) == 0 {
				v = verdict(w.random.IntN(5))
			}
			r.step(v)
		}
		w.check()
	}
}

// settle lets every replica do all it wants, for a while, without trouble.
func (w *world) settle() {
	for range 12 {
		for _, r := range w.replicas {
			for r.idle = false; !r.idle; {
				if !r.running {
					r.start()
				}
				for r.running {
					r.step(proceed)
				}
				w.check()
			}
		}
		w.now = w.now.Add(simTerms.Settle / 2)
		w.check()
	}
}

// healthy asserts what has to be so after settle: all replicas serve the Secret's current generation.
func (w *world) healthy() {
	w.t.Helper()
	store := rotation.DecodeStore(w.secret)
	if store.Current == nil || store.Damaged {
		w.fail("the Secret holds %v, damaged: %v", store.Current, store.Damaged)
	}
	for _, r := range w.replicas {
		if g := r.keeper.served.Load(); !g.Same(store.Current) || w.now.After(g.NotAfter()) {
			w.fail("%s serves %v, the Secret says %v; %s", r.name, g, store.Current, *r.keeper.why.Load())
		}
	}
	for name := range w.configs {
		for hook, text := range w.latest(name).bundles {
			if !w.trusted(store.Current, text) {
				w.fail("%s, webhook %d, does not trust %v", name, hook, store.Current)
			}
		}
	}
}
