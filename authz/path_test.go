package authz

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	cases := map[string]struct {
		in     string
		want   string // "" if it is not comparable
		calico string // if other than strictly; "-" if not comparable
	}{
		"plain":                              {in: "/a/b", want: "/a/b"},
		"root":                               {in: "/", want: "/"},
		"empty":                              {in: "", want: "/"},
		"query":                              {in: "/a?b=/c", want: "/a"},
		"fragment":                           {in: "/a#/../b", want: "/a"},
		"an encoded question mark":           {in: "/a%3Fb", want: "/a?b"},
		"slash at the end":                   {in: "/a/b/", want: "/a/b"},
		"double slashes":                     {in: "//a///b", want: "/a/b"},
		"one dot":                            {in: "/a/./b/.", want: "/a/b"},
		"two dots":                           {in: "/a/b/../c", want: "/a/c"},
		"two dots at the end":                {in: "/a/b/..", want: "/a"},
		"out of the root":                    {in: "/../../a", want: "/a"},
		"three dots":                         {in: "/.../a", want: "/.../a"},
		"a name with a dot":                  {in: "/.well-known/a", want: "/.well-known/a"},
		"encoded dots":                       {in: "/a/%2e%2E/b", want: "/b"},
		"an encoded slash":                   {in: "/a%2fb", want: "/a/b"},
		"an encoded letter":                  {in: "/%61", want: "/a"},
		"bytes beyond ASCII":                 {in: "/caf%C3%A9", want: "/café"},
		"bytes that are no UTF-8":            {in: "/%ff", want: "/\xff"},
		"backslash":                          {in: `/a\..\b`, want: "/b"},
		"an encoded backslash":               {in: "/a/%5c..%5cb", want: "/b"},
		"matrix parameters":                  {in: "/a;v=1/b;w", want: "/a/b"},
		"two dots with parameters":           {in: "/a/..;/b", want: "/b"},
		"encoded parameters":                 {in: "/a/..%3b/b", want: "/b"},
		"parameters alone":                   {in: "/a/;x/b", want: "/a/b"},
		"NUL":                                {in: "/a\x00", want: ""},
		"an encoded NUL":                     {in: "/a%00", want: ""},
		"double encoding of dots":            {in: "/a/%252e%252e/b", want: ""},
		"double encoding of a slash":         {in: "/a%252Fb", want: ""},
		"double encoding of a backslash":     {in: "/a%255cb", want: ""},
		"double encoding of anything else":   {in: "/a%2541", want: "", calico: "/a%41"},
		"a percent sign, encoded":            {in: "/100%25", want: "/100%"},
		"a percent sign before what is none": {in: "/100%25zz", want: "/100%zz"},
		"a bad escape":                       {in: "/a%zz", want: ""},
		"half an escape":                     {in: "/a%2", want: ""},
		"a percent sign at the end":          {in: "/a%", want: ""},
		"as long as it may be":               {in: "/" + strings.Repeat("a", maxPath-1), want: "/" + strings.Repeat("a", maxPath-1)},
		"too long":                           {in: "/" + strings.Repeat("a", maxPath), want: "", calico: "/" + strings.Repeat("a", maxPath)},
		"too long with its query alone":      {in: "/a?" + strings.Repeat("a", maxPath), want: "", calico: "/a"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.calico == "" {
				tc.calico = tc.want
			}
			for strict, want := range map[bool]string{true: tc.want, false: tc.calico} {
				got, ok := normalize(tc.in, strict)
				if got != want || ok != (want != "") {
					t.Errorf("strict %v: got %q, %v, want %q", strict, got, ok, want)
				}
			}
		})
	}
}

func TestUnderIsSegmentBySegment(t *testing.T) {
	for _, tc := range []struct {
		path, prefix string
		want         bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/", "/", true}, {"/x", "/", true}, {"/A", "/a", false}, {"/", "/a", false},
	} {
		if got := under(tc.path, tc.prefix); got != tc.want {
			t.Errorf("under(%q, %q) is %v", tc.path, tc.prefix, got)
		}
	}
}

// FuzzNormalize holds the result to its own form, and against the standard library where that reads a path in the same way.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"/", "", "/a/../b", "/%2e%2e/a", "/a%252e", "/a;b/c", `\a\..`, "/a%00", "/a?b#c", "//", "/%", "*", "http://x/y", "/\xff%ff", "/a/./b/", "/a/..;x/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := normalize(in, true)
		loose, looseOK := normalize(in, false)
		if ok && (!looseOK || got != loose) {
			t.Fatalf("%q: strict %q, else %q, %v", in, got, loose, looseOK)
		}
		if !ok {
			if got != "" {
				t.Fatalf("%q: not comparable, but %q", in, got)
			}
			return
		}
		if got != path.Clean(got) || got[0] != '/' || strings.ContainsAny(got, "\x00\\;") {
			t.Fatalf("%q: %q is not normal", in, got)
		}
		raw, _, _ := strings.Cut(in, "?")
		raw, _, _ = strings.Cut(raw, "#")
		if strings.ContainsAny(raw, `\;`) || strings.Contains(strings.ToLower(raw), "%5c") || strings.Contains(strings.ToLower(raw), "%3b") {
			return
		}
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("%q: %v, but %q", in, err, got)
		}
		if want := path.Clean("/" + decoded); got != want {
			t.Fatalf("%q: got %q, want %q", in, got, want)
		}
	})
}
