package selector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestContains(t *testing.T) {
	cases := map[string]struct {
		wide, narrow string
		want         bool
	}{
		"everything contains all":                       {wide: "all()", narrow: "a == 'x'", want: true},
		"a selector contains itself":                    {wide: "a == 'x' && has(b)", narrow: "a == 'x' && has(b)", want: true},
		"whatever the order of its parts":               {wide: "has(b) && a == 'x'", narrow: "a == 'x' && has(b)", want: true},
		"a part contains the whole":                     {wide: "a == 'x'", narrow: "(a == 'x') && b == 'y'", want: true},
		"the whole does not contain a part":             {wide: "(a == 'x') && b == 'y'", narrow: "a == 'x'"},
		"a set contains its values":                     {wide: "a in {'x','y'}", narrow: "a == 'x'", want: true},
		"and smaller sets":                              {wide: "a in {'x','y','z'}", narrow: "a in {'x','z'}", want: true},
		"not larger ones":                               {wide: "a in {'x','y'}", narrow: "a in {'x','z'}"},
		"a value does not contain the set":              {wide: "a == 'x'", narrow: "a in {'x','y'}"},
		"has contains tests of the key":                 {wide: "has(a)", narrow: "a starts with 'x'", want: true},
		"but not the negative ones":                     {wide: "has(a)", narrow: "a != 'x'"},
		"and not those of other keys":                   {wide: "has(a)", narrow: "b == 'x'"},
		"a value that differs":                          {wide: "a != 'x'", narrow: "a == 'y'", want: true},
		"a value that does not":                         {wide: "a != 'x'", narrow: "a == 'x'"},
		"a set without the value":                       {wide: "a != 'x'", narrow: "a in {'y','z'}", want: true},
		"a set with the value":                          {wide: "a != 'x'", narrow: "a in {'x','y'}"},
		"excluding less is wider":                       {wide: "a not in {'x'}", narrow: "a not in {'x','y'}", want: true},
		"excluding more is not":                         {wide: "a not in {'x','y'}", narrow: "a != 'x'"},
		"absence is not presence":                       {wide: "a == 'x'", narrow: "!has(a)"},
		"nor does exclusion imply presence":             {wide: "a in {'x','y'}", narrow: "a != 'z'"},
		"absence is exclusion":                          {wide: "a != 'x'", narrow: "!has(a)", want: true},
		"an alternative is contained":                   {wide: "a == 'x' || b == 'y'", narrow: "b == 'y'", want: true},
		"alternatives are contained one by one":         {wide: "a in {'x','y'}", narrow: "a == 'x' || a == 'y'", want: true},
		"not if one is not":                             {wide: "a == 'x'", narrow: "a == 'x' || b == 'y'"},
		"negations are pushed to the leaves":            {wide: "!(a == 'x' && b == 'y')", narrow: "a != 'x'", want: true},
		"double negation is none":                       {wide: "!(!(a == 'x'))", narrow: "a == 'x'", want: true},
		"a longer prefix":                               {wide: "a starts with 'x'", narrow: "a starts with 'xy'", want: true},
		"a shorter prefix":                              {wide: "a starts with 'xy'", narrow: "a starts with 'x'"},
		"a suffix contains a substring":                 {wide: "a contains 'y'", narrow: "a ends with 'xyz'", want: true},
		"a prefix does not imply a suffix":              {wide: "a ends with 'x'", narrow: "a starts with 'x'"},
		"a value with a prefix":                         {wide: "a starts with 'x'", narrow: "a in {'xa','xb'}", want: true},
		"nothing is contained in everything":            {wide: "a == 'x'", narrow: "!all()", want: true},
		"nothing contains only nothing":                 {wide: "!all()", narrow: "a == 'x'"},
		"an intern of prod among all interns":           {wide: "pcsa.role == 'intern'", narrow: "(pcsa.role == 'intern') && projectcalico.org/namespace == 'prod'", want: true},
		"everybody in a namespace among all namespaces": {wide: "has(projectcalico.org/namespace)", narrow: "projectcalico.org/namespace == 'prod'", want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			wide, narrow := mustParse(t, tc.wide), mustParse(t, tc.narrow)
			if got := wide.Contains(narrow); got != tc.want {
				t.Errorf("%s contains %s: %v, want %v", wide, narrow, got, tc.want)
			}
		})
	}
	var none *Selector
	if none.Contains(All()) || !All().Contains(none) || !none.Contains(none) || !(&Selector{}).Contains(nil) {
		t.Error("what selects nothing contains something, or is not contained")
	}
}

// A proof is never wrong: no label set is in the narrower selector and not in the wider one.
func TestContainsIsSound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	keys := []string{"a", "b"}
	var sets []Map
	for _, a := range []string{"-", "", "x", "y", "xy"} {
		for _, b := range []string{"-", "", "x", "y", "xy"} {
			m := Map{}
			if a != "-" {
				m["a"] = a
			}
			if b != "-" {
				m["b"] = b
			}
			sets = append(sets, m)
		}
	}
	proved, holding := 0, 0
	for range 60_000 {
		wide, narrow := randomNode(r, r.IntN(4), keys), randomNode(r, r.IntN(4), keys)
		outside := slices.ContainsFunc(sets, func(m Map) bool { return oracle(narrow, m) && !oracle(wide, m) })
		if !outside {
			holding++
		}
		if newSelector(wide).Contains(newSelector(narrow)) {
			proved++
			if outside {
				t.Fatalf("%s does not contain %s", newSelector(wide), newSelector(narrow))
			}
		}
	}
	t.Logf("%d proved of %d that hold on these labels", proved, holding)
	if proved < 3000 {
		t.Errorf("only %d proofs: the law is hardly tested", proved)
	}
}

// A proof that would take long is given up.
func TestContainsIsBounded(t *testing.T) {
	// Each operand of one is tried with each of the other.
	join := func(key, operator string) *Selector {
		var parts []string
		for i := range 60 {
			parts = append(parts, fmt.Sprintf("%s%d == 'x'", key, i))
		}
		return mustParseLimits(t, strings.Join(parts, operator))
	}
	wide, narrow := join("a", " || "), join("b", " && ")
	p := prover{steps: maxContainsSteps}
	if p.implies(literal{n: narrow.node()}, literal{n: wide.node()}) {
		t.Error("proved what does not hold")
	}
	if p.steps >= 0 {
		t.Errorf("%d steps left: the case does not reach the bound", p.steps)
	}
}

func mustParseLimits(t *testing.T, text string) *Selector {
	t.Helper()
	s, err := ParseLimits(text, CalicoLimits())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
