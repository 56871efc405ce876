package cli

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	goldenRoot    = "testdata/golden"
	goldenRefresh = "go test ./internal/cli -run TestGoldens -update"
)

// TestGoldens runs each folder of testdata/golden as a user would: in that folder, the words of its file "cmd", standard input from "stdin" if
// there is one. What comes out is in "stdout", "stderr" and "exit"; a file that is missing means nothing (exit 0), and one that is there must be
// what came out.
func TestGoldens(t *testing.T) {
	cases := goldenCases(t)
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.Abs(filepath.Join(goldenRoot, name))
			if err != nil {
				t.Fatal(err)
			}
			got := runIn(t, dir)
			for _, file := range []string{"stdout", "stderr", "exit"} {
				path := filepath.Join(dir, file)
				if *update {
					writeGolden(t, path, got[file])
					continue
				}
				want, err := os.ReadFile(path)
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if string(want) != got[file] {
					t.Errorf("%s: got\n%s\nwant\n%s\nif this is right: %s", file, got[file], want, goldenRefresh)
				}
			}
		})
	}
}

// goldenCases lists the folders, and fails on one without "cmd" and on a file that no case reads.
func goldenCases(t *testing.T) []string {
	t.Helper()
	known := regexp.MustCompile(`^(cmd|stdin|stdout|stderr|exit|.*\.(yaml|json)|[a-z]+/.*\.(yaml|json|txt))$`)
	var cases []string
	entries, err := os.ReadDir(goldenRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			t.Errorf("%s is no folder of a case", filepath.Join(goldenRoot, e.Name()))
			continue
		}
		dir := os.DirFS(filepath.Join(goldenRoot, e.Name()))
		if _, err := fs.Stat(dir, "cmd"); err != nil {
			t.Errorf("case %s has no cmd", e.Name())
			continue
		}
		cases = append(cases, e.Name())
		err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !known.MatchString(path) {
				t.Errorf("case %s: nothing reads %s", e.Name(), path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return cases
}

// runIn runs the case's command line.
func runIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	line, err := os.ReadFile(filepath.Join(dir, "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := os.ReadFile(filepath.Join(dir, "stdin"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return run(t, string(stdin), words(t, string(line))...)
}

// run runs a command without any cluster.
func run(t *testing.T, stdin string, args ...string) map[string]string {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", "/home/user") // help texts show a folder in it
	var out, errOut bytes.Buffer
	c := NewCommand(Options{Streams: genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut}, Version: "v0.0.0-test"})
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	if text := ErrorText(err); text != "" {
		fmt.Fprintln(&errOut, text)
	}
	exit := ""
	if code := ExitCode(err); code != ExitOK {
		exit = fmt.Sprintln(code)
	}
	return map[string]string{"stdout": out.String(), "stderr": errOut.String(), "exit": exit}
}

// words splits at blanks; single quotes keep a word together.
func words(t *testing.T, line string) []string {
	t.Helper()
	var out []string
	for i, part := range strings.Split(strings.TrimSpace(line), "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	if len(out) == 0 || slices.Contains(out, "kubectl") {
		t.Fatalf("cmd %q: want the words after `kubectl saguard`", line)
	}
	return out
}

func writeGolden(t *testing.T, path, text string) {
	t.Helper()
	if text == "" {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
