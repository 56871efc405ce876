package selector

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
)

// row is one line of testdata/selectors.jsonl.gz: what Calico's own parser
// answers (master of August 2026).
type row struct {
	Selector   string `json:"selector"`
	Valid      bool   `json:"valid"`
	Normalized string `json:"normalized"`
	Matches    []struct {
		Labels map[string]string `json:"labels"`
		Match  bool              `json:"match"`
	} `json:"matches"`
}

func corpus(t testing.TB) []row {
	t.Helper()
	f, err := os.Open("testdata/selectors.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 400 {
		t.Fatalf("corpus has %d rows, want 400: is testdata complete?", len(rows))
	}
	return rows
}

func TestAgreesWithCalicoOnEveryRowOfTheCorpus(t *testing.T) {
	for _, limits := range []struct {
		name   string
		limits Limits
		exact  bool
	}{
		{name: "calico limits", limits: CalicoLimits(), exact: true},
		{name: "default limits", limits: DefaultLimits()},
	} {
		t.Run(limits.name, func(t *testing.T) {
			var agree, evaluations int
			diverged := map[string]int{}
			for _, r := range corpus(t) {
				s, err := ParseLimits(r.Selector, limits.limits)
				if (err == nil) != r.Valid {
					if id := DivergenceOf(err); id != "" && !limits.exact {
						t.Logf("%s: %.60q: %v", id, r.Selector, err)
						diverged[id]++
						continue
					}
					t.Errorf("%q: valid = %v (%v), Calico says %v", r.Selector, err == nil, err, r.Valid)
					continue
				}
				agree++
				if !r.Valid {
					continue
				}
				if s.String() != r.Normalized {
					t.Errorf("%q: normalized %q, Calico says %q", r.Selector, s, r.Normalized)
				}
				for _, m := range r.Matches {
					for _, l := range allForms(m.Labels) {
						if got := s.Matches(l); got != m.Match {
							t.Errorf("%q on %T %v = %v, Calico says %v", r.Selector, l, m.Labels, got, m.Match)
						}
					}
					evaluations++
				}
			}
			t.Logf("%d rows agree, %d evaluations, divergences %v", agree, evaluations, diverged)
			if agree+diverged[DivergenceLength]+diverged[DivergenceDepth] != 400 {
				t.Errorf("rows unaccounted for")
			}
		})
	}
}

func TestEveryListedDivergenceIsOne(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Divergences() {
		t.Logf("%s: %s: %s", d.ID, d.Rule, d.Reason)
		if seen[d.ID] {
			t.Errorf("%s is listed twice", d.ID)
		}
		seen[d.ID] = true
		if _, err := ParseLimits(d.Example, CalicoLimits()); err != nil {
			t.Errorf("%s: Calico refuses the example too: %v", d.ID, err)
		}
		if _, err := Parse(d.Example); DivergenceOf(err) != d.ID {
			t.Errorf("%s: the example's error %v belongs to %q", d.ID, err, DivergenceOf(err))
		}
	}
	for _, id := range []string{DivergenceLength, DivergenceDepth} {
		if !seen[id] {
			t.Errorf("%s is not listed", id)
		}
	}
}

// custom is a Labels that the evaluator knows nothing about.
type custom struct{ Map }

func allForms(m map[string]string) []Labels {
	return []Labels{Map(m), NewSet(m), custom{Map: m}}
}
