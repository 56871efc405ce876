package rbac_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/saguard/saguard/rbac"
)

func TestCanI(t *testing.T) {
	cases := map[string]struct {
		q    rbac.Question
		want string
	}{
		"use an account": {q: rbac.UseAccount("prod", "web"), want: "kubectl auth can-i use serviceaccounts/web -n prod"},
		"use a label":    {q: rbac.UseLabel("prod", "", "role", "intern"), want: "kubectl auth can-i use serviceaccounts/role=intern --subresource=labels -n prod"},
		"use a label of an account asks for the plain label": {
			q:    rbac.UseLabel("prod", "web", "example.com/role", "intern"),
			want: "kubectl auth can-i use serviceaccounts/example.com/role=intern --subresource=labels -n prod",
		},
		"bind an account":                 {q: rbac.BindAccount("prod", "web"), want: "kubectl auth can-i bind serviceaccounts/web -n prod"},
		"bind any account of the cluster": {q: rbac.BindAnyAccount(""), want: "kubectl auth can-i bind serviceaccounts -A"},
		"bind a label":                    {q: rbac.BindLabel("", "role", "x"), want: "kubectl auth can-i bind serviceaccounts/role=x --subresource=labels -A"},
		"bind any value of a label": {
			q: rbac.BindAnyLabelValue("prod", "role"), want: "kubectl auth can-i bind 'serviceaccounts/role=*' --subresource=labels -n prod",
		},
		"bind any label": {q: rbac.BindUnrestrictedLabels("prod"), want: "kubectl auth can-i bind serviceaccounts --subresource=labels -n prod"},
		"use a band":     {q: rbac.UseBand("prod", "developer"), want: "kubectl auth can-i use policybands/developer -n prod"},
		"another group": {
			q:    rbac.Question{Verb: "get", Group: "apps", Resource: "deployments", Namespace: "prod"},
			want: "kubectl auth can-i get deployments.apps -n prod",
		},
		"a value with a quote and a space": {
			q:    rbac.BindLabel("prod", "role", `a b'; rm -rf ~ #`),
			want: `kubectl auth can-i bind 'serviceaccounts/role=a b'\''; rm -rf ~ #' --subresource=labels -n prod`,
		},
		"a value with control characters": {
			q:    rbac.BindLabel("prod", "role", "a\n\x1b[2J\xff'1"),
			want: `kubectl auth can-i bind $'serviceaccounts/role=a\012\033[2J\377\'1' --subresource=labels -n prod`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.q.CanI(); got != tc.want {
				t.Errorf("\ngot  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestQuestionString(t *testing.T) {
	cases := map[string]rbac.Question{
		"use serviceaccounts/labels role=intern in prod":       rbac.UseLabel("prod", "web", "role", "intern"),
		"bind serviceaccounts any name cluster-wide":           rbac.BindAnyAccount(""),
		"use policybands.saguard.io developer in prod":         rbac.UseBand("prod", "developer"),
		`bind serviceaccounts/labels "role=a\nb" cluster-wide`: rbac.BindLabel("", "role", "a\nb"),
	}
	for want, q := range cases {
		if got := q.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// unquote reads one shell word the way bash does: plain, '...', \c outside quotes, and $'...' with octal escapes.
func unquote(t *testing.T, word string) string {
	t.Helper()
	var b strings.Builder
	if rest, ok := strings.CutPrefix(word, "$'"); ok {
		rest, ok = strings.CutSuffix(rest, "'")
		if !ok {
			t.Fatalf("%q does not end", word)
		}
		for i := 0; i < len(rest); i++ {
			switch {
			case rest[i] == '\'':
				t.Fatalf("%q ends early", word)
			case rest[i] != '\\':
				b.WriteByte(rest[i])
			case rest[i+1] == '\\' || rest[i+1] == '\'':
				i++
				b.WriteByte(rest[i])
			default:
				b.WriteByte((rest[i+1]-'0')<<6 | (rest[i+2]-'0')<<3 | (rest[i+3] - '0'))
				i += 3
			}
		}
		return b.String()
	}
	for word != "" {
		switch word[0] {
		case '\'':
			inside, rest, ok := strings.Cut(word[1:], "'")
			if !ok {
				t.Fatalf("%q does not end", word)
			}
			b.WriteString(inside)
			word = rest
		case '\\':
			b.WriteByte(word[1])
			word = word[2:]
		default:
			if strings.IndexByte(" \t\n$`\"&|;<>()*?[]#~!{}^", word[0]) >= 0 {
				t.Fatalf("%q has a bare %q", word, word[0])
			}
			b.WriteByte(word[0])
			word = word[1:]
		}
	}
	return b.String()
}

func FuzzShellQuote(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "it's", `\`, "$(x)", "`x`", "a\nb", "\x1b]0;x\a", "\xff", "é", "\u202e", "�", "-n", `\'`, "\n'\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := rbac.ShellQuote(s)
		if got := unquote(t, quoted); got != s {
			t.Fatalf("%q is quoted as %q, which reads %q", s, quoted, got)
		}
		if strings.ContainsFunc(quoted, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is quoted as %q, with characters that do not print", s, quoted)
		}
	})
}
