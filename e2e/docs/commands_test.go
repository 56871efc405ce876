package docs_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/saguard/saguard/internal/cli"
)

// command is one simple command of a page, as a shell would run it.
type command struct {
	at    string
	words []string
}

// script is a shell text taken apart.
type script struct {
	commands []command
	// documents are what is fed to commands by "<<".
	documents []string
	// sentence says that it stands in one.
	sentence bool
}

func shellParse(at, text string) (script, error) {
	var out script
	file, err := syntax.NewParser().Parse(strings.NewReader(text), at)
	if err != nil {
		return out, err
	}
	var errs error
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			words, err := expand.Fields(&expand.Config{NoUnset: false}, n.Args...)
			if err != nil {
				errs = err
			}
			if len(words) > 0 {
				out.commands = append(out.commands, command{fmt.Sprintf("%s+%d", at, n.Pos().Line()), words})
			}
		case *syntax.Redirect:
			if n.Hdoc != nil {
				document, err := expand.Document(&expand.Config{}, n.Hdoc)
				if err != nil {
					errs = err
				}
				out.documents = append(out.documents, document)
			}
		}
		return true
	})
	return out, errs
}

// placeholder is what a page writes where anything else may stand.
var placeholder = regexp.MustCompile(`\.\.\.$|^\.\.\.`)

// scripts are a page's shell blocks, and the commands that it names in a sentence.
func scripts(t *testing.T, p *page) []script {
	t.Helper()
	var out []script
	add := func(line int, text string, sentence bool) {
		at := fmt.Sprintf("%s:%d", p.path, line)
		s, err := shellParse(at, text)
		if err != nil {
			t.Errorf("%s: not a shell script: %v", at, err)
			return
		}
		s.sentence = sentence
		out = append(out, s)
	}
	for _, b := range p.shells() {
		add(b.line, b.text, false)
	}
	for _, c := range p.code {
		if strings.HasPrefix(c.text, "kubectl saguard ") || strings.HasPrefix(c.text, "helm ") {
			add(c.line, c.text, true)
		}
	}
	return out
}

// Every `kubectl saguard` line has a command, flags and arguments that there are.
func TestSaguardCommandsParse(t *testing.T) {
	parsed := 0
	for _, p := range pages(t) {
		for _, s := range scripts(t, p) {
			for _, c := range s.commands {
				if len(c.words) < 3 || c.words[0] != "kubectl" || c.words[1] != "saguard" || slices.ContainsFunc(c.words, placeholder.MatchString) {
					continue
				}
				parsed++
				if s.sentence && len(c.words) == 3 {
					c.words = append(c.words, "--help") // a command that is only named
				}
				if err := try(c.words[2:]); err != nil {
					t.Errorf("%s: %s: %v", c.at, strings.Join(c.words, " "), err)
				}
			}
		}
	}
	t.Logf("%d commands", parsed)
	if parsed == 0 {
		t.Error("no command found")
	}
}

// try is what cobra does before it runs a command.
func try(args []string) error {
	root := cli.NewCommand(cli.Options{Streams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}})
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if c == root {
		return fmt.Errorf("no command")
	}
	if err := c.ParseFlags(rest); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err
	}
	return firstError(c.ValidateRequiredFlags, c.ValidateFlagGroups)
}

func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func TestWrongCommandsAreFound(t *testing.T) {
	for line, ok := range map[string]bool{
		"who-can use label role=intern -n prod": true, "who-may use label role=intern": false, "who-can use label": false, "lint --fixed": false,
		"check --as alice -f x": true, "grant use label role=intern -n prod --user alice": true,
	} {
		if err := try(strings.Fields(line)); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// setting is KEY=VALUE of --set.
var setting = regexp.MustCompile(`^([A-Za-z.]+)=`)

// Values that helm lines set are the chart's.
func TestHelmLinesSetValuesThatThereAre(t *testing.T) {
	values := chartValues(t)
	found := 0
	for _, p := range guides(t) {
		for _, s := range scripts(t, p) {
			for _, c := range s.commands {
				for i, w := range c.words {
					if c.words[0] != "helm" || w != "--set" || i+1 == len(c.words) {
						continue
					}
					found++
					m := setting.FindStringSubmatch(c.words[i+1])
					if m == nil || !hasValue(values, m[1]) {
						t.Errorf("%s: the chart has no value %s", c.at, c.words[i+1])
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no --set found")
	}
}
