package rotation

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/saguard/saguard/internal/decision"
)

// Step is the one write that a replica should do next.
type Step string

// The steps, a closed set: they are values of a metric's label.
const (
	// Nothing is to be written.
	Nothing Step = "nothing"
	// MakeSecret makes an empty Secret.
	MakeSecret Step = "make-secret"
	// Trust writes caBundles.
	Trust Step = "trust"
	// Issue stores a new generation as next.
	Issue Step = "issue"
	// Promote stores next as current.
	Promote Step = "promote"
	// Forget takes expired CAs out of the Secret.
	Forget Step = "forget"
)

// State is where the rotation stands, as this replica sees it.
type State string

// The states, a closed set: they are values of a metric's label.
const (
	// Steady is between rotations.
	Steady State = "steady"
	// Issuing: a new generation is due.
	Issuing State = "issuing"
	// Trusting: a caBundle does not hold what it should.
	Trusting State = "trusting"
	// Settling: every caBundle holds the CA of the next generation, not for long enough yet.
	Settling State = "settling"
	// Promoting: the next generation may become the current one.
	Promoting State = "promoting"
	// Blocked: something that is needed cannot be read, or does not exist.
	Blocked State = "blocked"
)

// States lists them all.
func States() []State { return []State{Steady, Issuing, Trusting, Settling, Promoting, Blocked} }

// Repair says what was found broken, beside what a rotation does anyway.
type Repair string

// The repairs, a closed set: they are values of a metric's label.
const (
	// NoRepair is a step of a rotation or of the installation.
	NoRepair Repair = ""
	// SecretMissing was deleted.
	SecretMissing Repair = "secret-missing"
	// SecretEmptied has no current generation while one is served or trusted.
	SecretEmptied Repair = "secret-emptied"
	// SecretDamaged holds what cannot be read.
	SecretDamaged Repair = "secret-damaged"
	// BundleIncomplete lacks the CA of what is served.
	BundleIncomplete Repair = "bundle-incomplete"
)

// Repairs lists them all, NoRepair aside.
func Repairs() []Repair {
	return []Repair{SecretMissing, SecretEmptied, SecretDamaged, BundleIncomplete}
}

// Steps lists those that write.
func Steps() []Step { return []Step{MakeSecret, Trust, Issue, Promote, Forget} }

// Configuration is a webhook configuration as it was read.
type Configuration struct {
	Name string
	// Bundles of its webhooks.
	Bundles decision.Fact[[]Bundle]
}

// Facts are what one replica knows. What was not read is Unknown, which no step is built on.
type Facts struct {
	Now   time.Time
	Names Names
	Terms Terms
	// Secret as it was read before the configurations.
	Secret decision.Fact[Store]
	// Configurations are all that there should be.
	Configurations []Configuration
	// Held is what this replica serves; nil is nothing.
	Held *Generation
	// Seen says since when this replica has seen a CA in every caBundle, at every look.
	Seen map[Fingerprint]time.Time
}

// Plan is what one replica should do.
type Plan struct {
	// Serve is what it serves from now on; nil is nothing yet.
	Serve *Generation
	Step  Step
	State State
	// Repair is counted when the step is done.
	Repair Repair
	// Why completes "waiting: ..." where there is no certificate yet, or the rotation is blocked.
	Why string
	// Bundles are what Trust writes, by the name of the configurations that need it: of each all webhooks, in their order.
	Bundles map[string][]Text
	// Names are what Issue makes a generation for.
	Names Names
	// Store is what Promote and Forget write.
	Store Store
}

// Decide is the state machine. A rotation may stop after any write and goes on from what was stored.
func Decide(f Facts) Plan {
	p := f.next()
	p.Serve = f.serve()
	if p.Serve == nil && p.Why == "" {
		p.Why = fmt.Sprintf("step %s is next", p.Step)
	}
	return p
}

func (f *Facts) next() Plan {
	store, secretKnown := f.Secret.Get()
	if p, ok := f.trust(&store); ok {
		return p
	}
	switch {
	case f.Secret.IsAbsent() && f.registered():
		return Plan{Step: MakeSecret, State: Issuing, Repair: SecretMissing}
	case f.Secret.IsAbsent():
		// A release that is being uninstalled: what it leaves behind nobody would remove.
		return Plan{Step: Nothing, State: Blocked, Why: "the Secret does not exist, nor does a webhook configuration"}
	case !secretKnown:
		return Plan{Step: Nothing, State: Blocked, Why: "the Secret cannot be read: " + f.Secret.WhyUnknown()}
	}
	current, next := store.Current.usable(f.Now, f.Names), store.Next.usable(f.Now, f.Names)
	due := !current || !f.Now.Before(store.Current.NotAfter().Add(-f.Terms.RenewBefore))
	switch {
	case !next && due:
		return Plan{Step: Issue, State: Issuing, Repair: f.issueRepair(&store), Names: f.issueNames(&store)}
	case next:
		return f.promote(&store, current)
	case len(unexpired(store.Retired, f.Now, f.Terms.Settle)) < len(store.Retired) || store.Damaged:
		p := Plan{Step: Forget, State: Steady, Store: store.forgotten(f.Now, f.Terms.Settle)}
		if store.Damaged {
			p.Repair = SecretDamaged
		}
		return p
	}
	return Plan{Step: Nothing, State: Steady}
}

// trust sees to it that every caBundle holds whatever a replica may serve, now or next. It comes before all else: without
// it requests fail.
func (f *Facts) trust(store *Store) (Plan, bool) {
	served := []*x509.Certificate{}
	for _, g := range []*Generation{f.Held, store.Current} {
		if g != nil {
			served = addCAs(served, g.ca)
		}
	}
	served = unexpired(served, f.Now, 0)
	wanted := addCAs(slices.Clone(served), unexpired(store.Retired, f.Now, 0)...)
	if store.Next != nil {
		wanted = addCAs(wanted, unexpired([]*x509.Certificate{store.Next.ca}, f.Now, 0)...)
	}
	p := Plan{Step: Trust, State: Trusting, Bundles: map[string][]Text{}}
	for _, c := range f.Configurations {
		bundles, ok := c.Bundles.Get()
		if !ok {
			continue
		}
		var texts []Text
		changed := false
		for _, b := range bundles {
			cas := b.repaired(wanted, f.Now, f.Terms.Settle)
			texts = append(texts, Text{Webhook: b.Webhook, PEM: encodeCAs(cas)})
			changed = changed || b.Damaged || !slices.EqualFunc(cas, b.CAs, (*x509.Certificate).Equal)
			for _, ca := range served {
				if !b.holds(fingerprint(ca)) {
					p.Repair = BundleIncomplete
				}
			}
		}
		if changed {
			p.Bundles[c.Name] = texts
		}
	}
	return p, len(p.Bundles) > 0
}

// promote decides whether the next generation may become the current one. current says that there is one that can be served.
// That every caBundle which could be read holds the next CA is known: trust comes first.
func (f *Facts) promote(store *Store, current bool) Plan {
	inUse := current || f.Held.usable(f.Now, f.Names)
	for _, c := range f.Configurations {
		bundles, ok := c.Bundles.Get()
		switch {
		case c.Bundles.IsAbsent() && inUse:
			// It may come back with an old caBundle.
			return Plan{Step: Nothing, State: Blocked, Why: c.Name + " does not exist"}
		case c.Bundles.IsAbsent():
			continue
		case !ok:
			return Plan{Step: Nothing, State: Blocked, Why: c.Name + " cannot be read: " + c.Bundles.WhyUnknown()}
		}
		for _, b := range bundles {
			for _, ca := range unexpired(b.CAs, f.Now, 0) {
				// Somebody serves by it, perhaps: another replica, or the release before.
				inUse = inUse || fingerprint(ca) != store.Next.Fingerprint()
			}
		}
	}
	if since, ok := f.Seen[store.Next.Fingerprint()]; inUse && (!ok || f.Now.Before(since.Add(f.Terms.Settle))) {
		return Plan{Step: Nothing, State: Settling, Why: fmt.Sprintf("API servers have %s to trust it", f.Terms.Settle)}
	}
	p := Plan{Step: Promote, State: Promoting, Store: store.promoted(f.Held, f.Now, f.Terms.Settle)}
	if store.Damaged {
		p.Repair = SecretDamaged
	}
	return p
}

// serve chooses between what this replica serves and what the Secret says.
func (f *Facts) serve() *Generation {
	store, _ := f.Secret.Get() //nolint:errcheck // no error: a Secret that is not known is the zero store, without a current generation
	switch {
	case !store.Current.usable(f.Now, f.Names) || store.Current.Same(f.Held):
		return f.Held
	case f.Held.usable(f.Now, f.Names):
		// A replica does not believe the Secret more than its own eyes: the Secret may be from a backup.
		since, ok := f.Seen[store.Current.Fingerprint()]
		if !ok || f.Now.Before(since.Add(f.Terms.Settle)) {
			return f.Held
		}
		return store.Current
	}
	for _, c := range f.Configurations {
		bundles, _ := c.Bundles.Get() //nolint:errcheck // no error: what is not known is no reason to have no certificate
		for _, b := range bundles {
			if !b.holds(store.Current.Fingerprint()) {
				return f.Held
			}
		}
	}
	return store.Current
}

// registered tells whether a configuration is known to exist.
func (f *Facts) registered() bool {
	return slices.ContainsFunc(f.Configurations, func(c Configuration) bool {
		_, ok := c.Bundles.Get()
		return ok
	})
}

// issueRepair tells a rotation or an installation from a loss.
func (f *Facts) issueRepair(store *Store) Repair {
	switch {
	case store.Damaged:
		return SecretDamaged
	case store.Current == nil && f.Held != nil:
		return SecretEmptied
	}
	return NoRepair
}

// issueNames are those that are asked for, and those of the current generation if it was given up for its names alone:
// replicas of the release before would give up one without theirs in turn.
func (f *Facts) issueNames(store *Store) Names {
	if store.Current == nil || store.Current.usable(f.Now, f.Names) || f.Now.After(store.Current.NotAfter()) {
		return f.Names
	}
	return f.Names.with(store.Current.leaf)
}

// Observe updates since when every caBundle holds each CA; now is a moment after the configurations were read. What could
// not be read changes nothing; a configuration that does not exist holds nothing and lacks nothing.
func Observe(seen map[Fingerprint]time.Time, configurations []Configuration, now time.Time) map[Fingerprint]time.Time {
	var everywhere map[Fingerprint]bool
	for _, c := range configurations {
		bundles, ok := c.Bundles.Get()
		if !ok && !c.Bundles.IsAbsent() {
			return seen
		}
		for _, b := range bundles {
			held := fingerprints(b.CAs)
			if everywhere == nil {
				everywhere = held
				continue
			}
			for ca := range everywhere {
				if !held[ca] {
					delete(everywhere, ca)
				}
			}
		}
	}
	out := map[Fingerprint]time.Time{}
	for ca := range everywhere {
		out[ca] = now
		if since, ok := seen[ca]; ok {
			out[ca] = since
		}
	}
	return out
}
