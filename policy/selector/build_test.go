package selector

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustParse(t testing.TB, s string) *Selector {
	t.Helper()
	p, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return p
}

// must unwraps a constructor in a table.
func must(s *Selector, err error) *Selector {
	if err != nil {
		panic(err)
	}
	return s
}

func TestConstructorsGiveWhatTheTextGives(t *testing.T) {
	a, b := mustParse(t, "a == 'x' && b != 'y'"), mustParse(t, "has(c) || all()")
	tests := []struct {
		name string
		got  *Selector
		text string
	}{
		{name: "all", got: All(), text: ""},
		{name: "none", got: None(), text: "!all()"},
		{name: "has", got: must(Has("k")), text: "has(k)"},
		{name: "equal", got: must(Eq("k", "v'")), text: `k == "v'"`},
		{name: "in sorts and drops duplicates", got: must(In("k", "b", "a", "b")), text: "k in {'a','b'}"},
		{name: "in nothing", got: must(In("k")), text: "k in {}"},
		{name: "not", got: Not(a), text: "!(" + a.String() + ")"},
		{name: "and keeps its operands apart", got: And(a, b), text: "(" + a.String() + ") && (" + b.String() + ")"},
		{name: "and of one", got: And(a), text: a.String()},
		{name: "and of none", got: And(), text: "all()"},
		{name: "or keeps its operands apart", got: Or(a, b, a), text: a.String() + "||(" + b.String() + ")||" + a.String()},
		{name: "or of none", got: Or(), text: "!all()"},
		{name: "prefix", got: And(a, b, Not(mustParse(t, "k in {'v'} && z not in {} || global()"))).PrefixKeys("pcsa."),
			text: "(pcsa.a == 'x' && pcsa.b != 'y') && (has(pcsa.c) || all()) && !(pcsa.k in {'v'} && pcsa.z not in {} || global())"},
		{name: "all() becomes has() without touching values",
			got: mustParse(t, "all() || k == 'all()'").MapLeaves(func(n *Node) *Selector {
				if n.Kind() == KindAll {
					return must(Has("ns"))
				}
				return nil
			}), text: "has(ns) || k == 'all()'"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			want := mustParse(t, tc.text)
			if tc.got.String() != want.String() || !tc.got.Equal(want) || Compare(tc.got, want) != 0 {
				t.Errorf("got %s, want %s", tc.got, want)
			}
			for _, l := range smallLabels("a", "b", "c", "k") {
				if tc.got.Matches(l) != want.Matches(l) {
					t.Errorf("%s and %s differ on %v", tc.got, want, l)
				}
			}
		})
	}
	if a.String() != `(a == "x" && b != "y")` {
		t.Errorf("composition changed an operand to %s", a)
	}
}

func TestConstructorsRefuseWhatNoTextCanSay(t *testing.T) {
	long := strings.Repeat("k", MaxKeyLength+1)
	for name, err := range map[string]error{
		"a value with both quotes": second(In("k", "fine", `'"`)),
		"an equal value with both": second(Eq("k", `"'`)),
		"an empty key":             second(Has("")),
		"a key with a parenthesis": second(Has("a) || all() || has(b")),
		"a key that is too long":   second(In(long, "v")),
		"a key that is not ASCII":  second(Eq("é", "v")),
	} {
		var literal *LiteralError
		if !errors.Is(err, ErrLiteral) || !errors.As(err, &literal) || err.Error() == "" {
			t.Errorf("%s: got %v, want a LiteralError", name, err)
		}
	}
}

func second(_ *Selector, err error) error { return err }

func TestNoValueBecomesSyntax(t *testing.T) {
	hostile := []string{"web'", "x' } || all() || a in {'y", `x" } || all() || a in {"y`, "", "\x00", "a\nb", "}", "||"}
	for _, v := range hostile {
		s := must(In("k", v))
		again := mustParse(t, s.String())
		for _, w := range append(hostile, "web", "x", "y") {
			if got := again.Matches(Map{"k": w}); got != (v == w) {
				t.Errorf("%s on %q = %v", s, w, got)
			}
		}
		if again.Matches(nil) || again.Matches(Map{"a": "y"}) {
			t.Errorf("%s selects things without the label", s)
		}
	}
}

func TestKeysAndAnalysis(t *testing.T) {
	tests := []struct {
		in                     string
		keys                   []string
		unlabelled, all, globe bool
	}{
		{in: "", unlabelled: true, all: true},
		{in: "(all())", unlabelled: true, all: true},
		{in: "!all()"},
		{in: "global()", unlabelled: true, globe: true},
		{in: "!global() && has(a)", keys: []string{"a"}, globe: true},
		{in: "b == 'x' && a == 'x' || b != 'y'", keys: []string{"a", "b"}, unlabelled: true},
		{in: "role != 'intern'", keys: []string{"role"}, unlabelled: true},
		{in: "role != 'intern' && has(role)", keys: []string{"role"}},
		{in: "!has(role)", keys: []string{"role"}, unlabelled: true},
		{in: "!(role == 'a' || role contains 'b')", keys: []string{"role"}, unlabelled: true},
		{in: "role not in {'a'} || role in {'b'}", keys: []string{"role"}, unlabelled: true},
		{in: "!!(role starts with 'a')", keys: []string{"role"}},
		{in: "has(all) || in ends with 'x'", keys: []string{"all", "in"}},
	}
	for _, tc := range tests {
		s := mustParse(t, tc.in)
		if !slices.Equal(s.Keys(), tc.keys) || s.MatchesUnlabelled() != tc.unlabelled || s.IsAll() != tc.all || s.UsesGlobal() != tc.globe {
			t.Errorf("%q: keys %v unlabelled %v all %v global %v", tc.in, s.Keys(), s.MatchesUnlabelled(), s.IsAll(), s.UsesGlobal())
		}
	}
}

func TestTheTreeCannotBeChangedThroughItsAccessors(t *testing.T) {
	s := mustParse(t, "a in {'x','y'} && b == 'z' && !has(c)")
	before := s.String()
	s.Walk(func(n *Node) bool {
		clear(n.Values())
		clear(n.Operands())
		return true
	})
	if s.String() != before || mapLeaves(s.Root(), func(*Node) *Selector { return nil }) == nil {
		t.Errorf("accessors alias the tree")
	}
	if again := string(s.Root().appendText(nil)); again != before {
		t.Errorf("tree is now %s, was %s", again, before)
	}
	var kinds []Kind
	s.Walk(func(n *Node) bool { kinds = append(kinds, n.Kind()); return n.Kind() != KindNot })
	if want := []Kind{KindAnd, KindIn, KindEq, KindNot}; !slices.Equal(kinds, want) {
		t.Errorf("walked %v, want %v", kinds, want)
	}
}
