// Package enforcetest holds a kernel in memory, for tests of whoever drives an enforce.Applier. It refuses what a real one
// refuses: a delta that does not follow what it holds, references to what is not there, calls at the same time.
package enforcetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Kernel holds the tables of every backend of one node. It is safe for concurrent use.
type Kernel struct {
	mu     sync.Mutex
	tables map[string]*ruleset.Ruleset
	edited map[string]string // drift of a backend's table
	fail   map[string][]error
	log    []string
	report func(enforce.Event)
	open   int
}

// New returns an empty kernel.
func New() *Kernel {
	return &Kernel{tables: map[string]*ruleset.Ruleset{}, edited: map[string]string{}, fail: map[string][]error{}}
}

// Candidate is a backend of that name.
func (k *Kernel) Candidate(name string) enforce.Candidate {
	return enforce.Candidate{Name: name, Open: func() (enforce.Backend, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if err := k.next(name + " open"); err != nil {
			return nil, err
		}
		k.open++
		return &applier{kernel: k, name: name}, nil
	}}
}

// Fail makes the next calls of an operation ("nft sync") fail, one for each error.
func (k *Kernel) Fail(operation string, errs ...error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail[operation] = append(k.fail[operation], errs...)
}

// Edit changes a backend's table, as somebody else would.
func (k *Kernel) Edit(name, what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tables[name], k.edited[name] = ruleset.New(), what
}

// Put is a table that another process left.
func (k *Kernel) Put(name string, r *ruleset.Ruleset) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tables[name] = clone(r)
}

// Table returns a copy of what a backend's table holds, nil if there is none.
func (k *Kernel) Table(name string) *ruleset.Ruleset {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tables[name] == nil {
		return nil
	}
	return clone(k.tables[name])
}

// Log returns the operations so far that change something, as "nft sync" or "nft apply 2" with the number of deltas.
func (k *Kernel) Log() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.log)
}

// Open returns how many appliers are open.
func (k *Kernel) Open() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open
}

// Report is a packet that the kernel saw; false if nobody watches.
func (k *Kernel) Report(e enforce.Event) bool {
	k.mu.Lock()
	report := k.report
	k.mu.Unlock()
	if report == nil {
		return false
	}
	report(e)
	return true
}

// next returns the error that the operation is to fail with; k.mu is held.
func (k *Kernel) next(operation string) error {
	if queue := k.fail[operation]; len(queue) > 0 {
		k.fail[operation] = queue[1:]
		return queue[0]
	}
	return nil
}

// applier is one open backend.
type applier struct {
	kernel *Kernel
	name   string
	synced bool
	closed bool
}

var errClosed = errors.New("applier is closed")

// Name implements enforce.Applier.
func (a *applier) Name() string { return a.name }

func (a *applier) begin(operation string) (func(), error) {
	if !a.kernel.mu.TryLock() {
		// Readers of the test hold it for a moment; another call of an applier never does.
		a.kernel.mu.Lock()
	}
	if a.closed {
		a.kernel.mu.Unlock()
		return nil, errClosed
	}
	if err := a.kernel.next(a.name + " " + operation); err != nil {
		a.kernel.mu.Unlock()
		return nil, err
	}
	return a.kernel.mu.Unlock, nil
}

// Probe implements enforce.Backend.
func (a *applier) Probe(context.Context) error {
	end, err := a.begin("probe")
	if err != nil {
		return err
	}
	end()
	return nil
}

// Sync implements enforce.Applier.
func (a *applier) Sync(_ context.Context, r *ruleset.Ruleset) error {
	end, err := a.begin("sync")
	if err != nil {
		a.synced = false
		return err
	}
	defer end()
	if err := r.Check(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	a.kernel.tables[a.name] = clone(r)
	delete(a.kernel.edited, a.name)
	a.kernel.log = append(a.kernel.log, a.name+" sync")
	a.synced = true
	return nil
}

// Apply implements enforce.Applier.
func (a *applier) Apply(_ context.Context, deltas []*ruleset.Delta) error {
	end, err := a.begin("apply")
	if err != nil {
		a.synced = false
		return err
	}
	defer end()
	if !a.synced {
		return errors.New("apply: not synced")
	}
	table := a.kernel.tables[a.name]
	for _, d := range deltas {
		if err := follows(table, d); err != nil {
			a.synced = false
			return fmt.Errorf("apply: %w", err)
		}
		table.Apply(d)
		if err := table.Check(); err != nil {
			a.synced = false
			return fmt.Errorf("apply: %w", err)
		}
	}
	a.kernel.log = append(a.kernel.log, fmt.Sprintf("%s apply %d", a.name, len(deltas)))
	return nil
}

// Verify implements enforce.Applier.
func (a *applier) Verify(context.Context) error {
	end, err := a.begin("verify")
	if err != nil {
		return err
	}
	defer end()
	if what := a.kernel.edited[a.name]; what != "" {
		return &enforce.Drift{What: what}
	}
	return nil
}

// Hits implements enforce.Applier: every rule decided as many packets as its ID says.
func (a *applier) Hits(context.Context) (map[ruleset.RuleID]enforce.Hits, error) {
	end, err := a.begin("hits")
	if err != nil {
		return nil, err
	}
	defer end()
	out := map[ruleset.RuleID]enforce.Hits{}
	for id := range a.kernel.tables[a.name].Rules {
		out[id] = enforce.Hits{Packets: uint64(id)}
	}
	return out, nil
}

// Watch implements enforce.Applier.
func (a *applier) Watch(ctx context.Context, report func(enforce.Event)) error {
	end, err := a.begin("watch")
	if err != nil {
		return err
	}
	a.kernel.report = report
	end()
	<-ctx.Done()
	a.kernel.mu.Lock()
	a.kernel.report = nil
	a.kernel.mu.Unlock()
	return nil
}

// Lookup implements enforce.Applier.
func (a *applier) Lookup(_ context.Context, f ruleset.Flow) (enforce.Answer, error) {
	end, err := a.begin("lookup")
	if err != nil {
		return enforce.Answer{}, err
	}
	defer end()
	table := a.kernel.tables[a.name]
	egress, ingress := table.Eval(f)
	decision := func(d ruleset.Decision) enforce.KernelDecision {
		return enforce.KernelDecision{Applies: d.Applies, Allow: d.Allow, Rule: d.ID}
	}
	return enforce.Answer{
		Egress: decision(egress), Ingress: decision(ingress),
		Source: table.IdentityOf(f.Source), Destination: table.IdentityOf(f.Destination),
	}, nil
}

// Remove implements enforce.Backend.
func (a *applier) Remove(context.Context) error {
	end, err := a.begin("remove")
	if err != nil {
		return err
	}
	defer end()
	if a.kernel.tables[a.name] != nil {
		a.kernel.log = append(a.kernel.log, a.name+" remove")
	}
	delete(a.kernel.tables, a.name)
	return nil
}

// Close implements enforce.Applier.
func (a *applier) Close() error {
	end, err := a.begin("close")
	if err != nil {
		return err
	}
	defer end()
	a.closed = true
	a.kernel.open--
	return nil
}

// follows refuses a delta that is not of the ruleset that r is.
func follows(r *ruleset.Ruleset, d *ruleset.Delta) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if d.Revision < r.Revision {
		bad("revision %d after %d", d.Revision, r.Revision)
	}
	for _, c := range d.Rules {
		if old, ok := r.Rules[c.ID]; ok && old != c.Rule {
			bad("rule %d changes", c.ID)
		}
	}
	for _, c := range d.Rows {
		if old, ok := r.Rows[c.ID]; ok && !reflect.DeepEqual(old, c.Row) {
			bad("row %d changes", c.ID)
		}
	}
	for _, c := range d.Identities {
		if old, ok := r.Identities[c.ID]; ok && !reflect.DeepEqual(old, c.Identity) {
			bad("identity %d changes", c.ID)
		}
	}
	programs := map[ruleset.ProgramID]bool{}
	for _, c := range d.Programs {
		programs[c.ID] = true
	}
	for _, c := range d.Cells {
		if r.Programs[c.Program] == nil && !programs[c.Program] {
			bad("cell of program %d, which is missing", c.Program)
		}
	}
	errs = append(errs, gone("endpoint", r.Endpoints, d.GoneEndpoints), gone("address", r.Addresses, d.GoneAddresses),
		gone("subject", r.Subjects, d.GoneSubjects), gone("program", r.Programs, d.GonePrograms),
		gone("identity", r.Identities, d.GoneIdentities), gone("row", r.Rows, d.GoneRows), gone("rule", r.Rules, d.GoneRules))
	return errors.Join(errs...)
}

func gone[K comparable, V any](what string, have map[K]V, keys []K) error {
	for _, key := range keys {
		if _, ok := have[key]; !ok {
			return fmt.Errorf("%s %v is gone and never was", what, key)
		}
	}
	return nil
}

// clone copies what Ruleset.Apply changes.
func clone(r *ruleset.Ruleset) *ruleset.Ruleset {
	c := &ruleset.Ruleset{
		Revision: r.Revision, Identities: maps.Clone(r.Identities), Addresses: maps.Clone(r.Addresses), Endpoints: maps.Clone(r.Endpoints),
		Subjects: maps.Clone(r.Subjects), Programs: map[ruleset.ProgramID]*ruleset.Program{}, Rows: maps.Clone(r.Rows), Rules: maps.Clone(r.Rules),
	}
	for id, p := range r.Programs {
		q := *p
		q.Rows = maps.Clone(p.Rows)
		c.Programs[id] = &q
	}
	return c
}
