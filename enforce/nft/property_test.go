package nft

import (
	"fmt"
	"strings"
	"testing"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// expected is what the ruleset says, in an Applier's words.
func expected(r *ruleset.Ruleset, f ruleset.Flow) enforce.Answer {
	egress, ingress := r.Eval(f)
	words := func(d ruleset.Decision) enforce.KernelDecision {
		return enforce.KernelDecision{Applies: d.Applies, Allow: d.Allow, Rule: d.ID}
	}
	return enforce.Answer{
		Egress: words(egress), Ingress: words(ingress), Source: r.IdentityOf(f.Source), Destination: r.IdentityOf(f.Destination),
	}
}

// TestModelJudgesAsTheRuleset plays packets through the chains that random rulesets and deltas become.
func TestModelJudgesAsTheRuleset(t *testing.T) {
	applied := 0
	for seed := range uint64(300) {
		w := newWorld(seed)
		l := newLowering(1)
		l.recents.most = w.IntN(8)
		for step := range 20 {
			d := w.step(1 + w.IntN(one(w, 1, 3, 30)))
			if err := w.now.Check(); err != nil {
				t.Fatalf("seed %d step %d: the world is wrong: %v", seed, step, err)
			}
			l.together = step > 0 && l.changesRules(d)
			if err := l.apply(d); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			check := func(packets int) {
				t.Helper()
				for range packets {
					f := w.flow()
					want := expected(w.now, f)
					got, err := answer(l.model, f)
					if err != nil || got != want {
						t.Fatalf("seed %d step %d: %+v\ngot  %+v %v\nwant %+v\n%s\n%s", seed, step, f, got, err, want, w.now, l.describe())
					}
					if want.Egress.Applies || want.Ingress.Applies {
						applied++
					}
				}
				l.committed()
			}
			// As Applier.commitAll does it, with packets after each commit.
			if l.together {
				l.renew()
			} else {
				l.promoteIfDue()
				l.renewIntervals()
			}
			check(50)
			l.settleMoved()
			check(50)
			l.settle()
			check(50)
			if w.IntN(2) == 0 {
				continue
			}
			l.promote()
			check(0)
			l.settle()
			l.epoch += 2
			l.collectAll()
			if err := sameAsNew(l, w.now); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
		}
	}
	if applied < 100_000 {
		t.Fatalf("only %d packets met an endpoint", applied)
	}
}

// sameAsNew compares sizes with those of a lowering from nothing: nothing is left over.
func sameAsNew(l *lowering, r *ruleset.Ruleset) error {
	fresh := newLowering(1)
	if err := fresh.load(r); err != nil {
		return err
	}
	count := func(l *lowering) (chains, sets, elements int) {
		for name := range l.chains {
			// Outcomes stay as long as the rule, for its counter; the digits of identities depend on who was there before.
			if _, ok := outcomeOf(name); !ok && !strings.Contains(name, "recent") {
				chains++
			}
		}
		for name, s := range l.sets {
			elements += len(s.elements)
			if !strings.Contains(name, "recent") {
				sets++
			}
		}
		return chains, sets, elements
	}
	c, s, e := count(l)
	fc, fs, fe := count(fresh)
	if c != fc || s != fs || e != fe {
		var differ []string
		for name, s := range l.sets {
			f := fresh.sets[name]
			if f == nil || len(f.elements) != len(s.elements) {
				differ = append(differ, fmt.Sprintf("%s %+v, from nothing %+v", name, s, f))
			}
		}
		return fmt.Errorf("%d chains, %d sets, %d elements; from nothing %d, %d, %d; %s", c, s, e, fc, fs, fe, strings.Join(differ, "; "))
	}
	if len(l.programs) != len(r.Programs) || len(l.rows) != len(r.Rows) || len(l.identities) != len(r.Identities) || len(l.hosts)+len(l.nets) != len(r.Addresses) {
		return fmt.Errorf("the lowering remembers things that are gone")
	}
	return nil
}
