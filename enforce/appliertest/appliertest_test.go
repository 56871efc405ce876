package appliertest

import (
	"context"
	"errors"
	"path"
	"testing"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// idle is an Applier that answers from the ruleset in memory and leaves the kernel alone.
type idle struct{ rules *ruleset.Ruleset }

func (*idle) Name() string { return "idle" }

func (f *idle) Sync(_ context.Context, r *ruleset.Ruleset) error {
	f.rules = r
	return nil
}
func (*idle) Apply(context.Context, []*ruleset.Delta) error { return nil }
func (*idle) Verify(context.Context) error                  { return nil }
func (*idle) Close() error                                  { return nil }
func (*idle) Hits(context.Context) (map[ruleset.RuleID]enforce.Hits, error) {
	return nil, errors.New("not counted")
}

func (*idle) Watch(ctx context.Context, _ func(enforce.Event)) error {
	<-ctx.Done()
	return nil
}

func (f *idle) Lookup(_ context.Context, flow ruleset.Flow) (enforce.Answer, error) {
	decision := func(d ruleset.Decision) enforce.KernelDecision {
		return enforce.KernelDecision{Applies: d.Applies, Allow: d.Allow, Rule: d.ID}
	}
	egress, ingress := f.rules.Eval(flow)
	return enforce.Answer{
		Egress: decision(egress), Ingress: decision(ingress),
		Source: f.rules.IdentityOf(flow.Source), Destination: f.rules.IdentityOf(flow.Destination),
	}, nil
}

func idleBackend() Backend {
	return Backend{
		Name: "idle", Open: func(Node) (enforce.Applier, error) { return &idle{rules: ruleset.New()}, nil },
		Remove: func(Node) error { return nil },
	}
}

// Without rules in the kernel, every packet of every table arrives: what a backend denies was not lost by the rig.
func TestEveryPacketOfTheTablesArrivesWithoutRules(t *testing.T) {
	needNamespaces(t)
	w := newCast(t, idleBackend())
	entries, err := testdata.ReadDir("testdata/table")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		_, rows := readTable(t, path.Join("testdata/table", entry.Name()))
		probes := w.probes(rows)
		for i := range probes {
			probes[i].want = true
		}
		w.send(probes)
	}
}

// What the tables say is what policy/eval says, and what a ruleset in memory looks up.
func TestTablesAgreeWithTheOracle(t *testing.T) {
	needNamespaces(t)
	w := newCast(t, idleBackend())
	entries, err := testdata.ReadDir("testdata/table")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		objects, rows := readTable(t, path.Join("testdata/table", entry.Name()))
		w.set(objects...)
		w.sync()
		s := w.snapshot()
		for _, p := range w.probes(rows) {
			if got := w.allowed(s, p.Flow); got != p.want {
				t.Errorf("%s: %s: the table says allow %v, policy/eval %v", entry.Name(), p, p.want, got)
			}
			if got, err := w.lookup(p.Flow); err != nil || got != p.want {
				t.Errorf("%s: %s: Lookup says %v, %v, want %v", entry.Name(), p, got, err, p.want)
			}
		}
		for _, o := range objects {
			w.remove(refOf(o.Value))
		}
	}
}

// The flood itself loses nothing while the machine is busy: what a story counts as lost was lost by the backend.
func TestFloodLosesNothingByItself(t *testing.T) {
	needNamespaces(t)
	w := newCast(t, idleBackend())
	w.set(mustDecode(t, called)...)
	w.apply()
	good, bad := w.goodAndBad()
	f := w.rig.flood(append(good, bad...), nil)
	for i := range 500 {
		w.churn(i)
		w.apply()
	}
	if err := f.more(50); err != nil {
		t.Error(err)
	}
	w.clean(f)
}
