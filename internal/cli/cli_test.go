package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/saguard/saguard/policy"
)

func TestExitCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code int
		text string
	}{
		"nothing":           {code: ExitOK},
		"findings":          {err: ErrFindings, code: ExitFindings},
		"wrapped findings":  {err: fmt.Errorf("x: %w", ErrFindings), code: ExitFindings},
		"an error":          {err: errors.New("no\x1b[31m"), code: ExitError, text: "error: no^[[31m"},
		"no code is shared": {err: errors.Join(errors.New("a")), code: ExitError, text: "error: a"},
	} {
		if got, text := ExitCode(tc.err), ErrorText(tc.err); got != tc.code || text != tc.text {
			t.Errorf("%s: %d %q", name, got, text)
		}
	}
}

// Every command says what it is for, how, and with examples; flags that take one of a few words complete them.
func TestCommandsAreDocumented(t *testing.T) {
	root := NewCommand(Options{})
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
			if sub.Short == "" || strings.HasSuffix(sub.Short, ".") {
				t.Errorf("%s: Short is %q", sub.CommandPath(), sub.Short)
			}
			if sub.Name() == "version" {
				continue
			}
			if sub.Long == "" || sub.Example == "" || sub.Args == nil {
				t.Errorf("%s: wants Long, Example and Args", sub.CommandPath())
			}
			if !strings.Contains(sub.Example, "kubectl saguard "+sub.Name()) {
				t.Errorf("%s: the example does not use it", sub.CommandPath())
			}
		}
	}
	visit(root)
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"who-can ":              "use bind",
		"who-can use ":          "label account band",
		"who-can bind ":         "label account",
		"grant use ":            "label account band",
		"who-can use label -o ": "wide json yaml name",
		"verdict --semantics ":  "strict calico",
		"grant use account x ":  "",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		out := run(t, "", args...)["stdout"]
		lines := strings.Split(out, "\n:")[0]
		if got := strings.Join(strings.Fields(strings.TrimPrefix(lines, ":4")), " "); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func FuzzValidateLine(f *testing.F) {
	for _, s := range []string{`{"object":{}}`, `{"object":{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"p"},"spec":{"selector":"a == 'b'"}}}`, `{`, `null`, `[]`, `{"object":null}`, `{"object":[]}`, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			var out strings.Builder
			if err := validateLines(strings.NewReader(line), &out, sem); err != nil {
				t.Fatal(err)
			}
			lines := 0
			for _, l := range strings.Split(line, "\n") {
				if strings.TrimSpace(l) != "" {
					lines++
				}
			}
			answers := strings.Count(out.String(), "\n")
			if answers != lines {
				t.Errorf("%d lines, %d answers", lines, answers)
			}
			if strings.Contains(out.String(), `"valid":false,"causes":[]`) {
				t.Errorf("not valid, and no word why: %s", out.String())
			}
		}
	})
}
