package selector_test

import (
	"fmt"
	"testing"

	"github.com/saguard/saguard/policy/selector"
)

func TestMergedLabelsAreThoseOfThePartsAndTheFirstWins(t *testing.T) {
	cases := map[string]struct {
		parts []selector.Prepared
		want  map[string]string
	}{
		"nothing":          {want: map[string]string{}},
		"empty parts":      {parts: []selector.Prepared{{}, prepare("x.", nil)}, want: map[string]string{}},
		"prefixes":         {parts: []selector.Prepared{prepare("", map[string]string{"a": "1"}), prepare("p.", map[string]string{"a": "2"})}, want: map[string]string{"a": "1", "p.a": "2"}},
		"the first wins":   {parts: []selector.Prepared{prepare("", map[string]string{"p.a": "1"}), prepare("p.", map[string]string{"a": "2", "b": "3"})}, want: map[string]string{"p.a": "1", "p.b": "3"}},
		"one more label":   {parts: []selector.Prepared{prepare("p.", map[string]string{"a": "2"}).With("name", "n")}, want: map[string]string{"p.a": "2", "name": "n"}},
		"an empty value":   {parts: []selector.Prepared{prepare("", map[string]string{"a": ""})}, want: map[string]string{"a": ""}},
		"of many, all are": {parts: []selector.Prepared{prepare("k", many(40)), prepare("k", many(60))}, want: prefixed("k", many(60))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, plain := selector.Merge(tc.parts...), selector.NewSet(tc.want)
			for k, v := range tc.want {
				if have, ok := got.Get(k); !ok || have != v {
					t.Errorf("%s is %q, %v, want %q", k, have, ok, v)
				}
			}
			for _, text := range []string{"has(a)", "has(p.a)", "a == '1'", "a == ''", "p.a == '2'", "p.b != '3'", "has(k59)", "has(k60)", "name in {'n'}", "all()"} {
				s, err := selector.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if s.Matches(got) != s.Matches(plain) {
					t.Errorf("%s: %v, want %v as with a plain set", text, s.Matches(got), s.Matches(plain))
				}
			}
		})
	}
}

func many(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprint(i)] = "v"
	}
	return out
}

func prefixed(prefix string, in map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		out[prefix+k] = v
	}
	return out
}

func prepare(prefix string, labels map[string]string) selector.Prepared {
	var p selector.Prepared
	for k, v := range labels {
		p = p.With(prefix+k, v)
	}
	return p
}
