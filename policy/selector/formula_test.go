package selector

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRefsFollowTheSpecification(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{name: "equality asks for the pair", in: "role == 'intern'", want: "role=intern"},
		{name: "a set asks for each", in: "role in {'b','a'}", want: "role=a and role=b"},
		{name: "an empty set asks for nothing", in: "role in {}", want: "nothing"},
		{name: "has asks for any value", in: "has(role)", want: "role=*"},
		{name: "contains asks for any value", in: "role contains 'x'", want: "role=*"},
		{name: "starts with asks for any value", in: "role starts with 'x'", want: "role=*"},
		{name: "ends with asks for any value", in: "role ends with 'x'", want: "role=*"},
		{name: "inequality asks for all", in: "role != 'x'", want: "*"},
		{name: "not in asks for all", in: "role not in {'x'}", want: "*"},
		{name: "negated has asks for all", in: "!has(role)", want: "*"},
		{name: "all asks for all", in: "all()", want: "*"},
		{name: "the negation of all asks for all, too", in: "!all()", want: "*"},
		{name: "global asks for all", in: "global()", want: "*"},
		{name: "either side of an and will do", in: "a == '1' && b == '2'", want: "a=1 or b=2"},
		{name: "both sides of an or are needed", in: "a == '1' || b == '2'", want: "a=1 and b=2"},
		{name: "negation turns and into or", in: "!(a != '1' && b != '2')", want: "a=1 and b=2"},
		{name: "negation turns or into and", in: "!(a != '1' || b not in {'2','3'})", want: "a=1 or (b=2 and b=3)"},
		{name: "double negation is none", in: "!(!(a == '1'))", want: "a=1"},
		{name: "a negative side of an and needs no grant", in: "a == '1' && b != '2'", want: "a=1 or *"},
		{name: "a negative side of an or needs it", in: "a == '1' || b != '2'", want: "a=1 and *"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := Refs(mustParse(t, tc.in)).String(); got != tc.want {
				t.Errorf("Refs(%s) = %s, want %s", tc.in, got, tc.want)
			}
		})
	}
}

// allGrants is every grant over two keys and two values.
func allGrants(keys ...string) []Grant {
	grants := []Grant{{}}
	for _, k := range keys {
		grants = append(grants, Grant{Kind: GrantAnyValue, Key: k},
			Grant{Kind: GrantValue, Key: k, Value: "x"}, Grant{Kind: GrantValue, Key: k, Value: "y"})
	}
	return grants
}

// holder decides like an authorizer: a wider grant answers for a narrower one.
func holder(held []Grant) func(Grant) bool {
	return func(g Grant) bool {
		for _, h := range held {
			switch {
			case h.Kind == GrantUnrestricted,
				h.Kind == GrantAnyValue && g.Kind != GrantUnrestricted && h.Key == g.Key,
				h == g:
				return true
			}
		}
		return false
	}
}

func subsets(grants []Grant) [][]Grant {
	var all [][]Grant
	for bits := range 1 << len(grants) {
		var s []Grant
		for i, g := range grants {
			if bits&(1<<i) != 0 {
				s = append(s, g)
			}
		}
		all = append(all, s)
	}
	return all
}

func covered(held []Grant, l Labels) bool {
	for _, g := range held {
		if g.Covers(l) {
			return true
		}
	}
	return false
}

// Whoever holds grants that satisfy the formula has each selected label set
// covered by one of them: all holders, all label sets, over a small alphabet.
func TestRefsAreSound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	keys := []string{"a", "b"}
	labels, holders := smallLabels(keys...), subsets(allGrants(keys...))
	var narrow int // satisfied without the unrestricted grant
	for range 3_000 {
		s := newSelector(randomNode(r, 3, keys))
		f := Refs(s)
		for _, held := range holders {
			if !f.Holds(holder(held)) {
				continue
			}
			if !holder(held)(Grant{}) {
				narrow++
			}
			for _, l := range labels {
				if s.Matches(l) && !covered(held, l) {
					t.Fatalf("%s: %v satisfies %s but does not cover %v", s, held, f, l)
				}
			}
		}
		if !f.Holds(holder([]Grant{{}})) {
			t.Fatalf("%s: the unrestricted grant does not satisfy %s", s, f)
		}
	}
	if narrow < 10_000 {
		t.Errorf("only %d narrow holders satisfied a formula: the test shows little", narrow)
	}
}

// Of a selector that mixes keys, what grants on some of the keys do not cover
// is selected for the other keys alone.
func TestOnlyIsSound(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	labels, holders := smallLabels("a", "b", "z"), subsets(allGrants("a", "b"))
	keep := func(key string) bool { return key != "z" }
	var some, none, others int
	for range 3_000 {
		s := newSelector(randomNode(r, 3, []string{"a", "b", "z"}))
		f, ok := Refs(s).Only(keep)
		if !ok {
			none++
			f = Formula{Op: OpAll}
		} else {
			some++
		}
		for _, g := range f.Grants() {
			if !keep(g.Key) {
				t.Fatalf("%s: %s still asks for %s", s, f, g)
			}
		}
		for _, held := range holders {
			if !f.Holds(holder(held)) {
				continue
			}
			for _, l := range labels {
				if !s.Matches(l) || covered(held, l) {
					continue
				}
				others++
				rest := Map{}
				if z, ok := l["z"]; ok {
					rest["z"] = z
				}
				if !s.Matches(rest) {
					t.Fatalf("%s: %v satisfies %s but does not cover %v", s, held, f, l)
				}
			}
		}
	}
	if some < 500 || none < 100 || others < 1000 {
		t.Errorf("lopsided sample: %d with, %d without account keys, %d matches for others", some, none, others)
	}
}

func TestOnlyKeepsWhatItNames(t *testing.T) {
	tests := []struct{ in, want string }{
		{in: "app == 'x'", want: ""},
		{in: "sa == 'a'", want: "sa=a"},
		{in: "app == 'x' && sa == 'a'", want: "sa=a"},
		{in: "app == 'x' || sa == 'a'", want: "sa=a"},
		{in: "(app == 'x' || sa == 'a') && sa == 'b'", want: "sa=b"},
		{in: "(app == 'x' || sa == 'a') && (app == 'y' || sa == 'b')", want: "sa=a and sa=b"},
		{in: "app == 'x' && sa != 'a'", want: "*"},
		{in: "app == 'x' && all()", want: ""},
		{in: "sa in {}", want: ""},
	}
	for _, tc := range tests {
		f, ok := Refs(mustParse(t, tc.in)).Only(func(key string) bool { return key == "sa" })
		got := ""
		if ok {
			got = f.String()
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestTheFormulaGrowsWithTheSelectorOnly(t *testing.T) {
	// Alternating && and || would square or double in a normal form.
	deep := "a == 'x'"
	for range 30 {
		deep = "(" + deep + " && b in {'x','y'} || !(c == 'z'))"
	}
	s, err := ParseLimits(deep, CalicoLimits())
	if err != nil {
		t.Fatal(err)
	}
	var nodes, size int
	s.Walk(func(n *Node) bool { nodes += 1 + len(n.Values()); return true })
	var count func(Formula)
	count = func(f Formula) {
		size++
		for _, u := range f.Terms {
			count(u)
		}
	}
	f := Refs(s)
	count(f)
	if size > nodes {
		t.Errorf("%d formula nodes for %d selector nodes and values", size, nodes)
	}
	if g := f.Grants(); len(g) != 4 {
		t.Errorf("grants %v, want 4", g)
	}
	if !strings.HasPrefix(f.String(), "((") && !strings.Contains(f.String(), "b=x and b=y") {
		t.Errorf("%s", f)
	}
}

func TestTheZeroFormulaNeedsEverything(t *testing.T) {
	var f Formula
	if f.String() != "*" || f.Holds(holder([]Grant{{Kind: GrantAnyValue, Key: "a"}})) || !f.Holds(holder([]Grant{{}})) {
		t.Errorf("zero formula is %s", f)
	}
	if (Formula{Op: OpAny}).Holds(func(Grant) bool { return true }) {
		t.Error("no alternative at all holds")
	}
}
