package rbac_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/rbac"
)

func TestNameCandidates(t *testing.T) {
	cases := map[string]struct {
		name rbac.Name
		want []string
		text string
	}{
		"a name is itself":           {name: rbac.Exact("web"), want: []string{"web"}, text: "web"},
		"no name is the empty name":  {name: rbac.Exact(""), want: []string{""}},
		"the zero name is unlimited": {want: []string{""}},
		"a label":                    {name: rbac.Label("", "role", "intern"), want: []string{"role=intern", "role=*"}, text: "role=intern"},
		"a label with a key prefix": {
			name: rbac.Label("", "example.com/role", "x"), want: []string{"example.com/role=x", "example.com/role=*", "example.com/*"},
			text: "example.com/role=x",
		},
		"a label of an account": {
			name: rbac.Label("web", "example.com/role", "x"), text: "example.com/role=x",
			want: []string{
				"example.com/role=x", "example.com/role=*", "example.com/*",
				"web:example.com/role=x", "web:example.com/role=*", "web:example.com/*", "web:*",
			},
		},
		"an empty value":                           {name: rbac.Label("web", "role", ""), want: []string{"role=", "role=*", "web:role=", "web:role=*", "web:*"}, text: "role="},
		"a value that is a star":                   {name: rbac.Label("", "role", "*"), want: []string{"role=*"}, text: "role=*"},
		"any value":                                {name: rbac.AnyValue("example.com/role"), want: []string{"example.com/role=*", "example.com/*"}, text: "example.com/role=*"},
		"a key that begins with a slash":           {name: rbac.AnyValue("/role"), want: []string{"/role=*"}, text: "/role=*"},
		"an empty key is unrestricted":             {name: rbac.Label("", "", "x"), want: []string{""}},
		"a key that could pass for another label":  {name: rbac.Label("", "role=a", "x"), want: []string{""}},
		"a key that could pass for an account's":   {name: rbac.Label("", "web:role", "x"), want: []string{""}},
		"an account that could pass for a label's": {name: rbac.Label("role=x", "role", "x"), want: []string{""}},
		"any value of a malformed key":             {name: rbac.AnyValue("web:role"), want: []string{""}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.name.Candidates(); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := tc.name.String(); got != tc.text || tc.name.IsUnrestricted() != (tc.text == "") {
				t.Errorf("String is %q, unrestricted %v", got, tc.name.IsUnrestricted())
			}
		})
	}
}

// FuzzNameMatches holds the comparison in pieces against the list of candidates, and that against the list written out here.
func FuzzNameMatches(f *testing.F) {
	f.Add("web", "example.com/role", "intern", "web:example.com/role=intern")
	f.Add("web", "example.com/role", "intern", "web:*")
	f.Add("web", "role", "*", "web:role=*")
	f.Add("", "role", "intern", ":role=intern")
	f.Add("", "role", "intern", "role=")
	f.Add("w", "w", "w", "w:w=w")
	f.Add("a", "/k", "v", "/*")
	f.Add("a", "k/", "v", "k/*")
	f.Add("a:b", "k", "v", "a:b:k=v")
	f.Add("", "k=v", "w", "k=v=w")
	f.Add("", "", "", "")
	f.Fuzz(func(t *testing.T, account, key, value, probe string) {
		label, anyValue, exact := rbac.Label(account, key, value), rbac.AnyValue(key), rbac.Exact(value)
		if !label.IsUnrestricted() {
			want := slices.Compact(nameCandidates(account, key, value))
			got := label.Candidates()
			slices.Sort(want)
			if slices.Sort(got); !slices.Equal(got, slices.Compact(want)) {
				t.Fatalf("candidates %q, want %q", got, want)
			}
		}
		probes := []string{probe, account + ":" + probe, "", "*", ":*", "=", strings.ToUpper(probe)}
		for _, n := range []rbac.Name{label, anyValue, exact} {
			candidates := n.Candidates()
			if len(candidates) == 0 || len(candidates) > 7 || candidates[0] != n.String() {
				t.Fatalf("candidates of %q: %q", n, candidates)
			}
			for _, p := range candidates {
				probes = append(probes, p, p+"x", p+"*", ":"+p, strings.TrimSuffix(p, "*"), "x"+p)
			}
		}
		for _, n := range []rbac.Name{label, anyValue, exact} {
			for _, p := range probes {
				if got, want := n.Matches(p), slices.Contains(n.Candidates(), p); got != want {
					t.Fatalf("%#v matches %q: %v, but candidates are %q", n, p, got, n.Candidates())
				}
			}
		}
	})
}

// Two different labels must not be answered by the same exact grant: whoever may set one must not get the other.
func FuzzLabelsAreToldApart(f *testing.F) {
	f.Add("role", "a=b", "role=a", "b")
	f.Add("web:role", "x", "role", "x")
	f.Add("a", "b", "a", "c")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		if key1 == key2 && value1 == value2 || value1 == "*" || value2 == "*" {
			return
		}
		a, b := rbac.Label("", key1, value1), rbac.Label("", key2, value2)
		if !a.IsUnrestricted() && !b.IsUnrestricted() && b.Matches(a.String()) {
			t.Fatalf("a grant of %q=%q answers for %q=%q", key1, value1, key2, value2)
		}
	})
}
