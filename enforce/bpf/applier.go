//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Applier is an [enforce.Applier]. It works in the network namespace of the thread that calls it.
type Applier struct {
	options Options
	events  *ebpf.Map

	// set is what is attached; nil if nothing is known to be. tables is what is in it; nil before the first Sync, when set is
	// what an earlier process left. broken says that an Apply was given up half-way.
	set    *set
	tables *tables
	broken bool
	// unreadable is why set is nil though something judges.
	unreadable error

	base map[ruleset.RuleID]uint64 // hits in the sets before
}

var _ enforce.Applier = (*Applier)(nil)

// New finds what an earlier process left, and changes nothing but that a BPF file system is mounted if there is none. It fails
// where the kernel or the permissions do not allow BPF at all; [Applier.Probe] says more.
func New(o Options) (*Applier, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	if err := mountBPF(o.Dir); err != nil {
		return nil, err
	}
	a := &Applier{options: o, base: map[ruleset.RuleID]uint64{}}
	if err := a.adopt(); err != nil {
		return nil, err
	}
	if a.set != nil && a.set.Events.MaxEntries() == uint32(o.EventBuffer) {
		a.events, err = a.set.Events.Clone()
	} else {
		a.events, err = newEvents(uint32(o.EventBuffer))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open events: %w", err), a.Close())
	}
	return a, nil
}

// adopt opens the newest set that judges. If it cannot be read, it goes on judging until the next Sync, and Lookup says why it
// knows nothing.
func (a *Applier) adopt() error {
	names, err := setNames(a.options.Dir)
	if err != nil {
		return err
	}
	for i := len(names) - 1; i >= 0; i-- {
		if isAttached(filepath.Join(a.options.Dir, names[i])) {
			a.set, a.unreadable = open(a.options.Dir, names[i])
			return nil
		}
	}
	return nil
}

// Name implements [enforce.Applier].
func (a *Applier) Name() string { return "bpf" }

// Sync implements [enforce.Applier] by new maps and a new program.
func (a *Applier) Sync(ctx context.Context, r *ruleset.Ruleset) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sync revision %d: %w", r.Revision, err)
	}
	if err := a.sync(r); err != nil {
		return fmt.Errorf("sync revision %d: %w", r.Revision, err)
	}
	return nil
}

func (a *Applier) sync(r *ruleset.Ruleset) error {
	t := newTables()
	c, err := t.plan([]*ruleset.Delta{full(r)})
	if err != nil {
		return err
	}
	size := capacityFor(t)
	t.segments.limit, t.places.limit, t.ruleLimit = size.segments, size.subjects, size.rules
	k, err := load(size, a.events, a.options)
	if err != nil {
		return err
	}
	if err := k.write(c); err != nil {
		return errors.Join(err, k.Close())
	}
	if err := conntrackOn(); err != nil {
		return errors.Join(err, k.Close())
	}
	if err := mountBPF(a.options.Dir); err != nil {
		return errors.Join(err, k.Close())
	}
	names, err := setNames(a.options.Dir)
	if err != nil {
		return errors.Join(err, k.Close())
	}
	number := uint64(1)
	if n := len(names); n > 0 {
		_, last, _ := parseSet(names[n-1])
		number = last + 1
	}
	s, err := publish(k, a.options.Dir, number, a.options.Priority)
	if err != nil {
		return errors.Join(err, k.Close())
	}
	return a.replace(s, t, names)
}

// replace takes away whatever judges beside s.
func (a *Applier) replace(s *set, t *tables, names []string) error {
	old, was := a.set, a.tables
	a.set, a.tables, a.broken, a.unreadable = s, t, false, nil
	var errs []error
	if old != nil {
		errs = append(errs, old.detach())
		if was != nil {
			errs = append(errs, a.keepHits(old.kernel, was, t))
		}
		errs = append(errs, old.remove())
	}
	for _, name := range names {
		errs = append(errs, removeSet(filepath.Join(a.options.Dir, name)))
	}
	return errors.Join(errs...)
}

// errNotSynced says that there is nothing that deltas could be applied to.
var errNotSynced = errors.New("nothing was synced, or the last change failed")

// Apply implements [enforce.Applier]: the deltas count all at once, from one packet to the next.
func (a *Applier) Apply(ctx context.Context, deltas []*ruleset.Delta) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if a.tables == nil || a.broken {
		return fmt.Errorf("apply: %w", errNotSynced)
	}
	if len(deltas) == 0 {
		return nil
	}
	a.broken = true
	c, err := a.tables.plan(deltas)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := a.set.write(c); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	for _, id := range c.rules {
		delete(a.base, id)
	}
	a.broken = false
	return nil
}

// Close implements [enforce.Applier].
func (a *Applier) Close() error {
	var errs []error
	if a.set != nil {
		errs = append(errs, a.set.release())
		a.set = nil
	}
	if a.events != nil {
		errs = append(errs, a.events.Close())
		a.events = nil
	}
	a.tables = nil
	return errors.Join(errs...)
}

// Remove takes everything away that any process of this kind has put into the kernel under Options.Dir: links, maps and the
// table for conntrack. From then on nothing is judged.
func (a *Applier) Remove(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	var errs []error
	if a.set != nil {
		errs = append(errs, a.set.remove())
		a.set, a.tables = nil, nil
	}
	a.unreadable = nil
	names, err := setNames(a.options.Dir)
	errs = append(errs, err)
	for _, name := range names {
		errs = append(errs, removeSet(filepath.Join(a.options.Dir, name)))
	}
	if err := os.Remove(a.options.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, fmt.Errorf("remove directory of pins: %w", err))
	}
	errs = append(errs, conntrackOff())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}
