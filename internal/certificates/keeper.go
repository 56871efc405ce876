package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/rotation"
)

// Errors of reading and writing that are part of the work.
var (
	// ErrAbsent says that the object does not exist.
	ErrAbsent = errors.New("does not exist")
	// ErrChanged says that the object was changed since it was read, and nothing was written.
	ErrChanged = errors.New("changed since it was read")
)

// Secret is where the replicas' store is kept.
type Secret interface {
	// Read returns the data and its version; ErrAbsent.
	Read(ctx context.Context) (data map[string][]byte, version string, err error)
	// Make makes an empty one; one that exists is left as it is.
	Make(ctx context.Context) error
	// Write replaces the store's keys, if the version is still that; ErrChanged, ErrAbsent.
	Write(ctx context.Context, version string, data map[string][]byte) error
}

// Configuration is a webhook configuration.
type Configuration interface {
	// Name as it is said to people.
	Name() string
	// Read returns every webhook's bundle and the version; ErrAbsent.
	Read(ctx context.Context) (bundles []rotation.Bundle, version string, err error)
	// Write replaces the caBundles of all webhooks, in their order, if the version is still that; ErrChanged, ErrAbsent.
	Write(ctx context.Context, version string, bundles []rotation.Text) error
}

// Options of a Keeper. All are needed, except Wake.
type Options struct {
	Secret         Secret
	Configurations []Configuration
	Names          rotation.Names
	Terms          rotation.Terms
	Now            func() time.Time
	Log            logr.Logger
	// Ticks says when to look at everything; Wake that something may have changed.
	Ticks <-chan time.Time
	Wake  <-chan struct{}
}

// Keeper keeps one replica's certificate. GetCertificate, Note and Collector may be called at any time by anybody.
type Keeper struct {
	o      Options
	served atomic.Pointer[rotation.Generation]
	// why says what the last round found in the way; why there is no certificate, or the rotation does not go on.
	why     atomic.Pointer[string]
	metrics *counts

	// Of Start's goroutine alone.
	seen   map[rotation.Fingerprint]time.Time
	logged string
}

// New returns a keeper that serves nothing yet.
func New(o Options) (*Keeper, error) {
	if err := o.Terms.Check(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	k := &Keeper{o: o, metrics: newCounts()}
	k.say("not read yet")
	return k, nil
}

// NeedLeaderElection says that every replica keeps its own certificate.
func (k *Keeper) NeedLeaderElection() bool { return false }

// GetCertificate is for tls.Config. It is the certificate for new connections; open ones go on with theirs.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if g := k.served.Load(); g != nil {
		return g.Certificate(), nil
	}
	return nil, fmt.Errorf("waiting: %s", *k.why.Load())
}

// Note says what is in the way of the rotation while there is a certificate; "" is nothing.
func (k *Keeper) Note() string {
	why := *k.why.Load()
	if why == "" || k.served.Load() == nil {
		return ""
	}
	return "rotation of the certificate: " + why
}

func (k *Keeper) say(why string) { k.why.Store(&why) }

// Limits of one look at everything, and of looks without a pause.
const (
	roundTimeout = 15 * time.Second
	maxRounds    = 8
)

// Start keeps the certificate until ctx ends. What fails is tried again: a replica that cannot reach the API server serves
// what it has.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		k.rounds(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-k.o.Ticks:
		case <-k.o.Wake:
		}
	}
}

// rounds goes on for as long as there is something to do.
func (k *Keeper) rounds(ctx context.Context) {
	for range maxRounds {
		again, err := k.Round(ctx)
		if ctx.Err() != nil {
			return
		}
		k.note(err)
		if err != nil || !again {
			return
		}
	}
}

// note logs an error once, until another or none.
func (k *Keeper) note(err error) {
	if err == nil {
		k.logged = ""
		return
	}
	k.metrics.failed()
	k.say(err.Error())
	if text := err.Error(); text != k.logged {
		k.logged = text
		k.o.Log.Error(err, "certificate cannot be kept")
	}
}

// Round looks at everything once and does the next step; again says that another may follow at once.
func (k *Keeper) Round(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	seen := k.read(ctx)
	now := k.o.Now()
	k.seen = rotation.Observe(k.seen, seen.configurations, now)
	plan := rotation.Decide(rotation.Facts{
		Now: now, Names: k.o.Names, Terms: k.o.Terms, Secret: seen.secret, Configurations: seen.configurations,
		Held: k.served.Load(), Seen: k.seen,
	})
	if g := plan.Serve; g != nil && !g.Same(k.served.Load()) {
		k.served.Store(g)
		k.o.Log.Info("serving certificate changed", "serial", g.Serial(), "expires", g.NotAfter().UTC().Format(time.RFC3339))
	}
	k.metrics.state(plan.State)
	k.say("")
	if plan.Serve == nil || plan.State == rotation.Blocked {
		k.say(plan.Why)
	}
	if plan.Step == rotation.Nothing {
		return false, seen.err
	}
	details, err := k.do(ctx, &plan, &seen)
	switch {
	case errors.Is(err, ErrChanged) || errors.Is(err, ErrAbsent):
		// Another replica was faster, or the object went: look again.
		k.metrics.conflict()
		return true, nil
	case err != nil:
		return false, err
	}
	k.metrics.done(plan.Step, plan.Repair)
	if plan.Repair != rotation.NoRepair {
		details = append(details, "repair", plan.Repair)
	}
	k.o.Log.Info("certificate rotation: step done", append([]any{"step", plan.Step}, details...)...)
	return true, nil
}

// sight is what was read in one round.
type sight struct {
	secret         decision.Fact[rotation.Store]
	secretVersion  string
	configurations []rotation.Configuration
	versions       map[string]string
	err            error
}

// read reads the Secret first: what is known of it then is at least as old as what is known of the caBundles.
func (k *Keeper) read(ctx context.Context) sight {
	s := sight{versions: map[string]string{}}
	data, version, err := k.o.Secret.Read(ctx)
	switch {
	case errors.Is(err, ErrAbsent):
		s.secret = decision.Absent[rotation.Store]()
	case err != nil:
		s.secret, s.err = decision.Unknown[rotation.Store](err.Error()), err
	default:
		s.secret, s.secretVersion = decision.Known(rotation.DecodeStore(data)), version
	}
	for _, c := range k.o.Configurations {
		name := c.Name()
		bundles, version, err := c.Read(ctx)
		fact := decision.Known(bundles)
		switch {
		case errors.Is(err, ErrAbsent):
			fact = decision.Absent[[]rotation.Bundle]()
		case err != nil:
			fact, s.err = decision.Unknown[[]rotation.Bundle](err.Error()), errors.Join(s.err, err)
		}
		s.configurations = append(s.configurations, rotation.Configuration{Name: name, Bundles: fact})
		s.versions[name] = version
	}
	return s
}

// do writes one step. details are for the log.
func (k *Keeper) do(ctx context.Context, plan *rotation.Plan, seen *sight) (details []any, err error) {
	switch plan.Step {
	case rotation.MakeSecret:
		return nil, k.o.Secret.Make(ctx)
	case rotation.Trust:
		return k.trust(ctx, plan, seen)
	case rotation.Issue:
		g, err := rotation.NewGeneration(k.o.Now(), k.o.Terms.Validity, plan.Names)
		if err != nil {
			return nil, err
		}
		store, _ := seen.secret.Get() //nolint:errcheck // no error: Issue is planned on a Secret that is known
		next := store.Issued(g, k.o.Now(), k.o.Terms.Settle)
		return []any{"serial", g.Serial(), "expires", g.NotAfter().UTC().Format(time.RFC3339)}, k.o.Secret.Write(ctx, seen.secretVersion, next.Encode())
	case rotation.Promote, rotation.Forget:
		return []any{"current", plan.Store.Current.String()}, k.o.Secret.Write(ctx, seen.secretVersion, plan.Store.Encode())
	default:
		return nil, fmt.Errorf("certificate: step %q is not known", plan.Step)
	}
}

func (k *Keeper) trust(ctx context.Context, plan *rotation.Plan, seen *sight) ([]any, error) {
	for _, c := range k.o.Configurations {
		bundles := plan.Bundles[c.Name()]
		if len(bundles) == 0 {
			continue
		}
		if err := c.Write(ctx, seen.versions[c.Name()], bundles); err != nil {
			return nil, err
		}
	}
	return []any{"configurations", slices.Sorted(maps.Keys(plan.Bundles))}, nil
}
