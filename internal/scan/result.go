package scan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/saguard/saguard/api/v1alpha1"
)

// Result is what a scan found. The counts are of all there is, the lists at most as long as the limits.
type Result struct {
	// Objects is how many were looked at.
	Objects    int64       `json:"objects"`
	Violations []Violation `json:"violations"`
	Unjudged   []Unjudged  `json:"unjudged"`
	// Total and TotalUnjudged count what was found, NotShown what of it is not in the lists.
	Total         int64 `json:"total"`
	TotalUnjudged int64 `json:"totalUnjudged"`
	NotShown      int64 `json:"notShown,omitempty"`

	// ByCheck counts violations by check and certainty, ByGuard by the name of the guard.
	ByCheck map[string]map[Certainty]int64 `json:"byCheck"`
	ByGuard map[string]GuardCount          `json:"byGuard"`
	// ByNamespace counts by the namespace of the object, "" for what has none.
	ByNamespace map[string]Count `json:"-"`
}

// Count is how much was found.
type Count struct {
	// Tolerated are those of Violations that no guard would refuse, because its mode is Warn or Audit, or because no check finds them.
	Violations, Tolerated, Unjudged int64
}

// GuardCount is what was found of one guard.
type GuardCount struct {
	Violations int64            `json:"violations"`
	ByCheck    map[string]int64 `json:"byCheck"`
	Unjudged   int64            `json:"unjudged"`
}

// Limits bound the lists of a Result; 0 is no limit.
type Limits struct {
	// PerNamespace is of each list and namespace, Total of both lists together.
	PerNamespace, Total int
}

// Tally adds verdicts up.
type Tally struct {
	limits Limits
	out    Result
}

// NewTally returns an empty tally of the guards.
func NewTally(limits Limits, guards []string) *Tally {
	t := &Tally{limits: limits, out: Result{
		Violations: []Violation{}, Unjudged: []Unjudged{}, ByCheck: map[string]map[Certainty]int64{}, ByGuard: map[string]GuardCount{}, ByNamespace: map[string]Count{},
	}}
	for _, g := range guards {
		t.out.ByGuard[g] = GuardCount{ByCheck: map[string]int64{}}
	}
	return t
}

// Mark returns a mark to go back to: what is added afterwards can be forgotten.
func (t *Tally) Mark() *Mark {
	m := &Mark{t.out}
	m.out.ByCheck, m.out.ByGuard, m.out.ByNamespace = make(map[string]map[Certainty]int64), make(map[string]GuardCount), maps.Clone(t.out.ByNamespace)
	for check, counts := range t.out.ByCheck {
		m.out.ByCheck[check] = maps.Clone(counts)
	}
	for guard, c := range t.out.ByGuard {
		c.ByCheck = maps.Clone(c.ByCheck)
		m.out.ByGuard[guard] = c
	}
	return m
}

// Back forgets what was added after the mark, which is used up by it.
func (t *Tally) Back(m *Mark) {
	m.out.Violations, m.out.Unjudged = t.out.Violations[:len(m.out.Violations)], t.out.Unjudged[:len(m.out.Unjudged)]
	t.out = m.out
}

// Mark is a state of a Tally.
type Mark struct{ out Result }

// Looked counts objects.
func (t *Tally) Looked(n int) { t.out.Objects += int64(n) }

// Objects is how many have been looked at.
func (t *Tally) Objects() int64 { return t.out.Objects }

// Add adds what was found of one object.
func (t *Tally) Add(v Verdict) {
	for i := range v.Violations {
		x := &v.Violations[i]
		t.out.Total++
		if t.out.ByCheck[x.Check] == nil {
			t.out.ByCheck[x.Check] = make(map[Certainty]int64)
		}
		t.out.ByCheck[x.Check][x.Certainty]++
		for _, g := range x.Guards {
			c := t.guard(g)
			c.Violations++
			c.ByCheck[x.Check]++
			t.out.ByGuard[g] = c
		}
		c := t.out.ByNamespace[x.Object.Namespace]
		c.Violations++
		if x.Mode != v1alpha1.ModeEnforce {
			c.Tolerated++
		}
		t.out.ByNamespace[x.Object.Namespace] = c
		if t.room(c.Violations) {
			t.out.Violations = append(t.out.Violations, *x)
		}
	}
	for i := range v.Unjudged {
		x := &v.Unjudged[i]
		t.out.TotalUnjudged++
		for _, g := range x.Guards {
			c := t.guard(g)
			c.Unjudged++
			t.out.ByGuard[g] = c
		}
		c := t.out.ByNamespace[x.Object.Namespace]
		c.Unjudged++
		t.out.ByNamespace[x.Object.Namespace] = c
		if t.room(c.Unjudged) {
			t.out.Unjudged = append(t.out.Unjudged, *x)
		}
	}
}

func (t *Tally) guard(name string) GuardCount {
	c, ok := t.out.ByGuard[name]
	if !ok {
		c.ByCheck = map[string]int64{}
	}
	return c
}

// room reports whether the nth finding of a namespace goes into the lists; else it is counted as not shown.
func (t *Tally) room(nth int64) bool {
	if t.limits.PerNamespace > 0 && nth > int64(t.limits.PerNamespace) || t.limits.Total > 0 && len(t.out.Violations)+len(t.out.Unjudged) >= t.limits.Total {
		t.out.NotShown++
		return false
	}
	return true
}

// Result returns what was added so far, sorted. Nothing may be added afterwards.
func (t *Tally) Result() *Result {
	rank := make(map[Certainty]int)
	for i, c := range Certainties() {
		rank[c] = i
	}
	slices.SortFunc(t.out.Violations, func(a, b Violation) int {
		return cmp.Or(compareObjects(&a.Object, &b.Object), cmp.Compare(a.Check, b.Check), cmp.Compare(rank[a.Certainty], rank[b.Certainty]),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Power, b.Power), cmp.Compare(a.Reason, b.Reason))
	})
	slices.SortFunc(t.out.Unjudged, func(a, b Unjudged) int {
		return cmp.Or(compareObjects(&a.Object, &b.Object), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason))
	})
	return &t.out
}
