package nft

import (
	"slices"
	"testing"

	"github.com/saguard/saguard/enforce"
)

// moment is the table after some of the phases of a commit, as a packet sees it that came when rulesUpTo phases were
// committed, and looks elements up when elementsUpTo are.
type moment struct {
	model                   *model
	rulesUpTo, elementsUpTo int
}

// The phases by their place in the list, counted from 1.
const (
	phaseExtend  = 2
	phaseReplace = 3
	phaseRetract = 4
	phaseDelete  = 5
)

func (m moment) chainRules(name string) ([]rule, error) {
	was, changed := m.model.wasChain[name]
	now := m.model.chains[name]
	switch {
	case !changed:
		return m.model.chainRules(name)
	case was == nil && m.rulesUpTo == 0:
		return nil, nil // to this packet it is empty
	case was == nil:
		return now.rules, nil
	case now == nil || m.rulesUpTo < phaseExtend:
		return *was, nil
	case m.rulesUpTo < phaseRetract:
		return bothRules(*was, now.rules), nil
	default:
		return now.rules, nil
	}
}

func (m moment) lookUp(name, key string) (element, bool, error) {
	s := m.model.sets[name]
	if s == nil {
		return element{}, false, nil // nothing leads there
	}
	if was, made := m.model.wasSet[name]; made && was == nil {
		return m.model.lookUp(name, key)
	}
	then := &set{setSpec: s.setSpec, elements: map[string]element{}}
	for k, e := range s.elements {
		then.elements[k] = e
	}
	for k, was := range m.model.wasElement[name] {
		now, is := s.elements[k]
		from := phaseReplace
		switch {
		case s.intervals:
		case was == nil:
			from = phaseExtend
		case !is:
			from = phaseRetract
		}
		switch {
		case m.elementsUpTo >= from && is:
			then.elements[k] = now
		case m.elementsUpTo >= from:
			delete(then.elements, k)
		case was != nil:
			then.elements[k] = *was
		default:
			delete(then.elements, k)
		}
	}
	e, ok := then.find(key)
	return e, ok, nil
}

// TestNoPhaseAllowsWhatNeitherRulesetAllows plays packets through every moment of commits: all phases, and packets that came
// a phase before the elements that they look up. One that the ruleset before and the one after both allow passes, and one
// that both deny does not.
func TestNoPhaseAllowsWhatNeitherRulesetAllows(t *testing.T) {
	played, lost := 0, 0
	for seed := range uint64(120) {
		w := newWorld(seed)
		l := newLowering(1)
		l.recents.most = 3
		if err := l.apply(w.step(60)); err != nil {
			t.Fatal(err)
		}
		l.committed()
		for step := range 8 {
			before := clone(w.now)
			if w.IntN(2) == 0 {
				l.epoch += 2
				l.collectAll()
				l.committed() // a commit of its own: see Applier.collect
			}
			if err := l.apply(w.step(1 + w.IntN(12))); err != nil {
				t.Fatal(err)
			}
			l.promoteIfDue()
			for round := 0; ; round++ {
				for range 40 {
					f := w.flow()
					old, now := expected(before, f), expected(w.now, f)
					for phase := range phaseDelete + 1 {
						for _, rules := range []int{phase, max(phase-1, 0)} {
							got, err := answer(moment{l.model, rules, phase}, f)
							if err != nil {
								t.Fatal(err)
							}
							played++
							for _, end := range [][3]enforce.KernelDecision{{old.Egress, now.Egress, got.Egress}, {old.Ingress, now.Ingress, got.Ingress}} {
								if passes(end[2]) && !passes(end[0]) && !passes(end[1]) {
									t.Fatalf("seed %d step %d round %d phase %d of a packet of phase %d: %+v passes %+v\nbefore %+v\nafter %+v",
										seed, step, round, phase, rules, f, got, old, now)
								}
								if !passes(end[2]) && passes(end[0]) && passes(end[1]) {
									lost++
								}
							}
						}
					}
				}
				l.committed()
				if !l.settle() {
					break
				}
			}
		}
	}
	if played < 100_000 || lost*2000 > played {
		t.Errorf("%d packets, of which %d were lost although both rulesets allow them", played, lost)
	}
	t.Logf("%d packets, of which %d were lost although both rulesets allow them", played, lost)
}

func passes(d enforce.KernelDecision) bool { return !d.Applies || d.Allow }

func TestBothRulesHaveTheLastOfTheNew(t *testing.T) {
	a, b, c := rule{set: "a", verdict: goTo, chain: "x"}, rule{set: "b", verdict: goTo, chain: "y"}, rule{set: "c", verdict: goTo, chain: "z"}
	last := rule{verdict: drop}
	for name, tt := range map[string]struct{ was, now, want []rule }{
		"one that comes":          {was: []rule{a, last}, now: []rule{a, b, last}, want: []rule{a, b, last}},
		"one that goes":           {was: []rule{a, b, last}, now: []rule{b, last}, want: []rule{b, a, last}},
		"one in place of another": {was: []rule{a, last}, now: []rule{c, last}, want: []rule{c, a, last}},
		"another end":             {was: []rule{a, {verdict: accept}}, now: []rule{last}, want: []rule{a, last}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bothRules(tt.was, tt.now); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
