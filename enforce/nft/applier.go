package nft

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Options say which tables are ours and how packets are reported. The zero value is good.
type Options struct {
	// Suffix makes the tables "saguard_<Suffix>_<number>"; without, they are "saguard_<number>". Letters, digits and
	// underscores, at most 32.
	Suffix string
	// NFLOGGroup is the netfilter log group of denied and logged packets, 1 to 65535; 0 is DefaultNFLOGGroup. A group has one
	// listener in a network namespace.
	NFLOGGroup uint16
	// EventRate is how many packets are reported per second at most, for all rules together; 0 is DefaultEventRate.
	EventRate uint32
}

// Defaults of [Options].
const (
	DefaultNFLOGGroup = 5722
	DefaultEventRate  = 100
)

var suffixes = regexp.MustCompile(`^[A-Za-z0-9_]{0,32}$`)

// errNotSynced says that it is not known what the kernel holds.
var errNotSynced = errors.New("not synced")

// epoch is longer than any packet takes through the chains, also on a machine that is stopped now and then.
const epoch = 100 * time.Millisecond

// Applier is an enforce.Applier over nftables. Make it with [New].
type Applier struct {
	options Options
	prefix  string // of the tables' names
	kernel  *kernel
	events  *listener

	// lowering holds what was committed last; nil if that is not known.
	lowering *lowering
	epochAt  time.Time
	// generation is that of the last commit, if it is verified that since nobody else has changed our table.
	generation uint32
	verified   bool
	// loaded says that the table is one of this process's.
	loaded bool
	// hits are the counts of tables that were replaced.
	hits map[ruleset.RuleID]uint64

	watched atomic.Bool
}

// New opens the sockets, in the network namespace of the calling thread. It changes nothing.
func New(o Options) (*Applier, error) {
	if !suffixes.MatchString(o.Suffix) {
		return nil, fmt.Errorf("suffix of the table %q: only letters, digits and underscores, at most 32", o.Suffix)
	}
	if o.NFLOGGroup == 0 {
		o.NFLOGGroup = DefaultNFLOGGroup
	}
	if o.EventRate == 0 {
		o.EventRate = DefaultEventRate
	}
	prefix := "saguard_"
	if o.Suffix != "" {
		prefix += o.Suffix + "_"
	}
	k, err := dial()
	if err != nil {
		return nil, err
	}
	l, err := listen(o.NFLOGGroup)
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	a := &Applier{options: o, prefix: prefix, kernel: k, events: l, hits: map[ruleset.RuleID]uint64{}}
	if err := a.findTable(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Name implements enforce.Applier.
func (a *Applier) Name() string { return "nft" }

// Close implements enforce.Applier. The table stays, and goes on enforcing.
func (a *Applier) Close() error { return errors.Join(a.kernel.close(), a.events.close()) }

// Sync implements enforce.Applier. A new table comes beside the old one, both judge, and then the old one goes: a packet
// passes only what both allow, until only the new one is left.
func (a *Applier) Sync(ctx context.Context, r *ruleset.Ruleset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	old, err := a.tables()
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	l := newLowering(a.options.NFLOGGroup)
	if err := l.load(r); err != nil {
		return fmt.Errorf("lower rules: %w", err)
	}
	counted, err := a.counts()
	if err != nil {
		counted = nil // rules in force matter more than their counts
	}
	b := &batch{table: a.unusedName(old)}
	b.addTable()
	b.addObjects(a.options.EventRate)
	b.create(l.model)
	a.lowering, a.verified = nil, false
	if err := a.kernel.transact(b); err != nil {
		return err
	}
	a.use(b.table)
	a.loaded = true
	if err := a.retire(old); err != nil {
		return err
	}
	l.committed()
	a.lowering, a.epochAt = l, time.Now()
	for id, n := range counted {
		a.hits[id] += n
	}
	for id := range a.hits {
		if _, ok := r.Rules[id]; !ok {
			delete(a.hits, id)
		}
	}
	return nil
}

// Apply implements enforce.Applier: all deltas are applied at once, in as few commits as it takes (see phases).
func (a *Applier) Apply(ctx context.Context, deltas []*ruleset.Delta) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := a.lowering
	if l == nil {
		return fmt.Errorf("apply changes: %w", errNotSynced)
	}
	a.lowering = nil // until it is known to be in the kernel
	if err := a.collect(l); err != nil {
		return err
	}
	l.together = slices.ContainsFunc(deltas, l.changesRules)
	for _, d := range deltas {
		if err := l.apply(d); err != nil {
			return fmt.Errorf("lower rules: %w", err)
		}
	}
	if err := a.commitAll(l); err != nil {
		return err
	}
	a.lowering = l
	for _, d := range deltas {
		for _, id := range d.GoneRules {
			delete(a.hits, id)
		}
	}
	return nil
}

// collect commits the removal of what no packet can be on its way through. That is a commit of its own: a name that it frees
// may be used in the next.
func (a *Applier) collect(l *lowering) error {
	now := time.Now()
	if now.Sub(a.epochAt) < epoch {
		return nil
	}
	l.epoch++
	a.epochAt = now
	l.collectAll()
	return a.commitPhases(l, elementPhases())
}

// commitAll commits what the model notes, and then what makes the next changes cheap.
func (a *Applier) commitAll(l *lowering) error {
	if l.together {
		l.renew()
		if err := a.commitPhases(l, rulePhases()); err != nil {
			return err
		}
	} else {
		l.promoteIfDue()
		l.renewIntervals()
		if err := a.commitPhases(l, elementPhases()); err != nil {
			return err
		}
	}
	if l.settleMoved() {
		if err := a.commitPhases(l, elementPhases()); err != nil {
			return err
		}
	}
	if l.settle() {
		return a.commitPhases(l, elementPhases())
	}
	return nil
}

// commitPhases commits what the model notes.
func (a *Applier) commitPhases(l *lowering, phases []phase) error {
	for _, phase := range phases {
		b := a.kernel.batch()
		phase(b, l.model)
		if len(b.messages) == 0 {
			continue
		}
		if err := a.commit(b); err != nil {
			return err
		}
	}
	l.committed()
	return nil
}

// commit commits b, and notes whether it is certain that nobody else had a part in what our table is now.
func (a *Applier) commit(b *batch) error {
	before, err := a.kernel.generation()
	if err != nil {
		return fmt.Errorf("read generation: %w", err)
	}
	untouched := a.verified && a.generation == before
	a.verified = false
	if err := a.kernel.transact(b); err != nil {
		return err
	}
	after, err := a.kernel.generation()
	if err != nil {
		return fmt.Errorf("read generation: %w", err)
	}
	a.generation, a.verified = after, untouched && after == nextGeneration(before)
	return nil
}

// Hits implements enforce.Applier.
func (a *Applier) Hits(ctx context.Context) (map[ruleset.RuleID]enforce.Hits, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := map[ruleset.RuleID]enforce.Hits{}
	counted, err := a.counts()
	if err != nil {
		return nil, err
	}
	for id, n := range a.hits {
		counted[id] += n
	}
	for id, n := range counted {
		if id != 0 && n > 0 {
			out[id] = enforce.Hits{Packets: n}
		}
	}
	return out, nil
}

// counts reads the counters of the table that this process loaded; before there is one, none.
func (a *Applier) counts() (map[ruleset.RuleID]uint64, error) {
	out := map[ruleset.RuleID]uint64{}
	if !a.loaded {
		return out, nil
	}
	rules, err := a.kernel.rules("")
	if errors.Is(err, unix.ENOENT) {
		return out, nil // somebody removed the table, and with it the counters
	}
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	for _, r := range rules {
		if o, ok := outcomeOf(r.chain); ok {
			out[o.rule] += packets(r.expressions)
		}
	}
	return out, nil
}
