package nft

import (
	"maps"
	"testing"

	"github.com/saguard/saguard/enforce"
)

// moment is the table in the course of [Applier.commitPhases], as a packet sees it that came after the first `rules` phases,
// and looks elements up after the first `elements`.
type moment struct {
	model           *model
	together        bool
	rules, elements int
	// torn says that elements which the phase replaces are missing: kernels before 6.17 may not find them.
	torn bool
}

// The number of phases after which something has happened.
const (
	created   = 1
	exchanged = 2 // rules; in the phases of elements with the new ones
	replaced  = 3
	retracted = 4
	deleted   = 5
)

// old marks the name of a set that was exchanged.
const old = "old "

func (m moment) chainRules(name string) ([]rule, error) {
	was, changed := m.model.wasChain[name]
	now := m.model.chains[name]
	switch {
	case !changed:
		return m.model.chainRules(name)
	case was == nil && m.rules < created:
		return nil, nil // to this packet it is empty
	case was == nil || now != nil && m.rules >= exchanged:
		return now.rules, nil
	}
	var out []rule
	for _, r := range *was {
		if _, ok := m.model.renewed[r.set]; ok {
			r.set = old + r.set
		}
		out = append(out, r)
	}
	return out, nil
}

func (m moment) lookUp(name, key string) (element, bool, error) {
	if len(name) > len(old) && name[:len(old)] == old {
		name = name[len(old):]
		e, ok := before(m.model, name).find(key)
		return e, ok, nil
	}
	s := m.model.sets[name]
	if _, renewed := m.model.renewed[name]; s == nil || renewed {
		return m.model.lookUp(name, key)
	}
	if was, made := m.model.wasSet[name]; made && was == nil {
		return m.model.lookUp(name, key)
	}
	then := before(m.model, name)
	for k, was := range m.model.wasElement[name] {
		now, is := s.elements[k]
		switch {
		case was != nil && is && *was != now && m.torn:
			delete(then.elements, k)
		case was == nil && m.elements < exchanged:
		case was != nil && is && m.elements < replaced:
		case !is && m.elements < retracted:
		case is:
			then.elements[k] = now
		default:
			delete(then.elements, k)
		}
	}
	e, ok := then.find(key)
	return e, ok, nil
}

// before is a set as it was at the last commit.
func before(m *model, name string) *set {
	s := m.sets[name]
	out := &set{setSpec: s.setSpec, elements: maps.Clone(s.elements)}
	for k, was := range m.wasElement[name] {
		delete(out.elements, k)
		if was != nil {
			out.elements[k] = *was
		}
	}
	return out
}

func passes(d enforce.KernelDecision) bool { return !d.Applies || d.Allow }

// TestNoMomentAllowsWhatNeitherRulesetAllows plays packets through every moment of the commits that random deltas become,
// also packets that came a phase earlier than the elements that they look up. What neither the ruleset before nor the one
// after allows never passes. What both allow is not lost, but where two ends change at once: if an endpoint goes at the moment in
// which its peer gets another identity, the program that it had may deny that one.
func TestNoMomentAllowsWhatNeitherRulesetAllows(t *testing.T) {
	played, lost, moved := 0, 0, 0
	for seed := range uint64(100) {
		w := newWorld(seed)
		l := newLowering(1)
		l.recents.most = 3
		if err := l.load(stepped(w, 60)); err != nil {
			t.Fatal(err)
		}
		l.committed()
		for step := range 8 {
			was := clone(w.now)
			if w.IntN(2) == 0 {
				l.epoch += 2
				l.collectAll()
				l.committed() // a commit of its own: see Applier.collect
			}
			d := w.step(1 + w.IntN(one(w, 1, 2, 8)))
			l.together = l.changesRules(d)
			if err := l.apply(d); err != nil {
				t.Fatal(err)
			}
			now := w.now
			play := func(what string, together bool) {
				t.Helper()
				for range 30 {
					f := w.flow()
					a, b := expected(was, f), expected(now, f)
					for phase := range deleted + 1 {
						for _, at := range []moment{
							{rules: phase}, {rules: max(phase-1, 0)}, {rules: phase, torn: true}, {rules: max(phase-1, 0), torn: true},
						} {
							at.model, at.together, at.elements = l.model, together, phase
							got, err := answer(at, f)
							if err != nil {
								t.Fatal(err)
							}
							played++
							for _, end := range [][3]enforce.KernelDecision{{a.Egress, b.Egress, got.Egress}, {a.Ingress, b.Ingress, got.Ingress}} {
								if passes(end[2]) && !passes(end[0]) && !passes(end[1]) {
									t.Fatalf("seed %d step %d %s phase %d, packet of phase %d: %+v passes %+v\nbefore %+v\nafter  %+v",
										seed, step, what, phase, at.rules, f, got, a, b)
								}
								if !passes(end[2]) && passes(end[0]) && passes(end[1]) {
									lost++
								}
							}
						}
					}
				}
			}
			// As Applier.commitAll does it.
			if l.together {
				moved += len(l.moved)
				l.renew()
				play("together", true)
				l.committed()
			} else {
				l.promoteIfDue()
				l.renewIntervals()
				play("elements", false)
				l.committed()
			}
			if l.settleMoved() {
				was = w.now
				play("settling moved", false)
				l.committed()
			}
			if l.settle() {
				was = w.now
				play("settling", false)
				l.committed()
			}
		}
	}
	t.Logf("%d packets, %d lost, %d addresses moved together with rules", played, lost, moved)
	if played < 100_000 || moved < 100 || lost*50_000 > played {
		t.Errorf("%d packets, %d lost, %d addresses moved together with rules", played, lost, moved)
	}
}
