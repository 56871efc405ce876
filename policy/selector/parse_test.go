package selector

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsNamePositionAndWhatWasExpected(t *testing.T) {
	tests := []struct {
		name     string
		in       string
		offset   int
		contains string
	}{
		{name: "an unquoted value points at the value", in: "a == b", offset: 5, contains: "a value in quotes"},
		{name: "a lone word wants an operator", in: "a", offset: 1, contains: "an operator"},
		{name: "an unterminated string points at the end", in: "a == 'b", offset: 7, contains: `the closing quote of 'b`},
		{name: "a missing parenthesis is expected at the end", in: "(a == 'b'", offset: 9, contains: `")"`},
		{name: "a parenthesis too many is found", in: "a == 'b')", offset: 8, contains: `found ")"`},
		{name: "a line break is not a blank", in: "a\n== 'b'", offset: 1, contains: `found "\n`},
		{name: "a dangling && wants an operand", in: "a == 'b' &&", offset: 11, contains: "a label key"},
		{name: "a single & is no operator", in: "a == 'b' & c == 'd'", offset: 9, contains: `"&&"`},
		{name: "a set wants a brace", in: "a in 'b'", offset: 5, contains: `"{"`},
		{name: "set members want a comma", in: "a in {'b' 'c'}", offset: 10, contains: `","`},
		{name: "has wants a key", in: "has()", offset: 4, contains: "a label key"},
		{name: "has wants its parenthesis closed", in: "has(a", offset: 5, contains: `")" after "has(a"`},
		{name: "a quoted key is no key", in: "'a' == 'b'", offset: 0, contains: "a label key"},
		{name: "a key that is too long is refused at its start", in: "  " + strings.Repeat("k", 513) + " == 'x'", offset: 2, contains: "at most 512 bytes"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(tc.in)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || !errors.Is(err, ErrSyntax) || errors.Is(err, ErrLimit) {
				t.Fatalf("Parse(%q) = %v, want a SyntaxError", tc.in, err)
			}
			if syntax.Offset != tc.offset || !strings.Contains(err.Error(), tc.contains) {
				t.Errorf("Parse(%q) = %v, want offset %d and %q", tc.in, err, tc.offset, tc.contains)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	nested := func(n int, open string) string {
		return strings.Repeat(open, n) + "has(a)" + strings.Repeat(")", n)
	}
	long := func(n int) string { return "a == '" + strings.Repeat("v", n-len("a == ''")) + "'" }
	tests := []struct {
		name   string
		in     string
		limits Limits
		what   string // "" = accepted
	}{
		{name: "1024 bytes pass", in: long(1024), limits: DefaultLimits()},
		{name: "1025 bytes do not", in: long(1025), limits: DefaultLimits(), what: whatLength},
		{name: "1025 bytes pass for Calico", in: long(1025), limits: CalicoLimits()},
		{name: "64 parentheses pass", in: nested(64, "("), limits: DefaultLimits()},
		{name: "65 parentheses do not", in: nested(65, "("), limits: DefaultLimits(), what: whatDepth},
		{name: "64 negated parentheses pass", in: nested(64, "!("), limits: DefaultLimits()},
		{name: "65 negated parentheses do not", in: nested(65, "!("), limits: DefaultLimits(), what: whatDepth},
		{name: "parentheses beside each other do not nest", in: strings.Repeat("(all())&&", 90) + "all()", limits: DefaultLimits()},
		{name: "negations without parentheses do not nest", in: strings.Repeat("!", 1000) + "all()", limits: DefaultLimits()},
		{name: "10,000 negated parentheses pass for Calico", in: nested(10_000, "!("), limits: CalicoLimits()},
		{name: "10,001 do not, whatever is asked for", in: nested(10_001, "!("), limits: Limits{Length: 1 << 40, Depth: 1 << 40}, what: whatDepth},
		{name: "a million do not overflow the stack", in: nested(1_000_000, "("), limits: CalicoLimits(), what: whatDepth},
		{name: "more bytes than an API object holds are not looked at", in: nested(1_100_000, "("), limits: CalicoLimits(), what: whatLength},
		{name: "zero limits refuse any text", in: "all()", limits: Limits{}, what: whatLength},
		{name: "negative limits refuse even none", in: "", limits: Limits{Length: -1, Depth: -1}, what: whatLength},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s, err := ParseLimits(tc.in, tc.limits)
			if tc.what == "" {
				if err != nil {
					t.Fatal(err)
				}
				if again, err := ParseLimits(s.String(), CalicoLimits()); err != nil || again.Matches(nil) != s.Matches(nil) {
					t.Errorf("canonical form does not parse back: %v", err)
				}
				return
			}
			var limit *LimitError
			if !errors.As(err, &limit) || !errors.Is(err, ErrLimit) || limit.What != tc.what {
				t.Errorf("got %v, want a %s error", err, tc.what)
			}
		})
	}
}

func TestNeitherZeroNorNilSelects(t *testing.T) {
	for name, s := range map[string]*Selector{"zero": {}, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			for _, l := range append(allForms(map[string]string{"a": "b"}), nil, (*Set)(nil), Map(nil)) {
				if s.Matches(l) {
					t.Errorf("selects %v", l)
				}
			}
			if s.String() != "!all()" || s.Keys() != nil || s.IsAll() || s.UsesGlobal() || s.Root() != nil {
				t.Errorf("does not look like a selector that selects nothing")
			}
			if And(s, All()).Matches(nil) || Or(s).Matches(nil) || !Not(s).Matches(nil) || s.PrefixKeys("x").Matches(nil) {
				t.Errorf("selects once composed")
			}
			if f := Refs(s); !(f.Op == OpGrant && f.Grant.Kind == GrantUnrestricted) {
				t.Errorf("asks for %v", f)
			}
		})
	}
}
