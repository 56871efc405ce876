package selector

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse: no input panics; a refused one says where; an accepted one has a
// canonical form that means the same and parses to itself.
func FuzzParse(f *testing.F) {
	for _, r := range corpus(f) {
		f.Add(r.Selector)
	}
	for _, s := range []string{
		"!(!(a == 'b'))", "!(!(!has(a)))", "a not\tin {'x',\"y\",}", "has(\ta )", strings.Repeat("(", 65), strings.Repeat("!(", 64),
		"a == \"it's\"", "\xff == 'x'", "a == '\xff'", "a in {'\"'}", strings.Repeat("k", 513) + "in {'x'}", "a contains'b'||in in{}&&!global()",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseLimits(in, CalicoLimits())
		strict, strictErr := Parse(in)
		if err != nil {
			checkError(t, in, err)
			if strictErr == nil {
				t.Fatalf("%q: accepted by the default limits only", in)
			}
			return
		}
		if strictErr != nil {
			if DivergenceOf(strictErr) == "" {
				t.Fatalf("%q: refused by the default limits for %v", in, strictErr)
			}
			checkError(t, in, strictErr)
		} else if strict.String() != s.String() {
			t.Fatalf("%q: means %s or %s, by the limits", in, strict, s)
		}
		again, err := ParseLimits(s.String(), CalicoLimits())
		if err != nil {
			t.Fatalf("%q: canonical form %q does not parse: %v", in, s, err)
		}
		// Documented oddity: !(!x) is spelled !!x, which reads as x.
		if again.String() != s.String() && !strings.Contains(s.String(), "!!") {
			t.Fatalf("%q: canonical form %q is not stable: %q", in, s, again)
		}
		for _, m := range labelsFor(s) {
			want := oracle(s.Root(), m)
			for _, l := range allForms(m) {
				if s.Matches(l) != want || again.Matches(l) != want {
					t.Fatalf("%q on %T %v: want %v", in, l, m, want)
				}
			}
			if want && !covered(Refs(s).Grants(), m) {
				t.Fatalf("%q selects %v, which none of its grants %s covers", in, m, Refs(s))
			}
		}
	})
}

func checkError(t *testing.T, in string, err error) {
	t.Helper()
	var (
		syntax *SyntaxError
		limit  *LimitError
		offset int
	)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &limit):
		offset = limit.Offset
	default:
		t.Fatalf("%q: error %v has no position", in, err)
	}
	if offset < 0 || offset > len(in) || err.Error() == "" {
		t.Fatalf("%q: error %v lies outside", in, err)
	}
}

// labelsFor returns label sets at the selector's own edges: nothing, all its
// keys with each of its values, each key left out.
func labelsFor(s *Selector) []Map {
	keys := s.Keys()
	values := []string{""}
	s.Walk(func(n *Node) bool {
		values = append(append(values, n.Values()...), n.Value(), n.Value()+"x")
		return true
	})
	sets := []Map{{}}
	for _, v := range values[:min(len(values), 8)] {
		for skip := -1; skip < min(len(keys), 4); skip++ {
			m := Map{}
			for i, k := range keys {
				if i != skip {
					m[k] = v
				}
			}
			sets = append(sets, m)
		}
	}
	return sets
}
