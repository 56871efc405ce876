package review_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/e2e/install"
)

const (
	goldenFolder = "testdata/golden"
	refresh      = "go -C e2e test ./review -run TestReviewOfTheStory -update"
)

// golden compares with the files of testdata/golden; one that is missing and one too many fail.
func golden(t *testing.T, got map[string][]byte) {
	t.Helper()
	if *update {
		for name, text := range got {
			if err := os.WriteFile(filepath.Join(goldenFolder, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir(goldenFolder)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range files {
		have = append(have, f.Name())
		if _, known := got[f.Name()]; !known {
			t.Errorf("%s is no golden file of any test", f.Name())
		}
	}
	for name, text := range got {
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing; refresh with: %s", name, refresh)
			continue
		}
		want, err := os.ReadFile(filepath.Join(goldenFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s: %s\nif this is right, refresh with: %s", name, difference(text, want), refresh)
		}
	}
}

// difference shows the first line that differs, with those around it: a whole review has a thousand.
func difference(got, want []byte) string {
	const around = 12
	x, y := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	excerpt := func(lines []string) string {
		return strings.Join(lines[max(0, n-around):min(len(lines), n+around)], "\n")
	}
	return fmt.Sprintf("line %d: got\n%s\nwant\n%s", n+1, excerpt(x), excerpt(y))
}

// saguard runs the CLI that was built once for all clusters.
func saguard(t *testing.T, i *install.Installation, args ...string) string {
	t.Helper()
	out, err := clusters.metadata.Saguard(t.Context(), i.Admin, args...)
	if err != nil {
		t.Fatal(err)
	}
	if out.Code != 0 {
		t.Fatalf("kubectl saguard %s: exit code %d\n%s", strings.Join(args, " "), out.Code, out.Stderr)
	}
	return out.Stdout
}

// reviewed decodes a review, and asserts that all of the log could be read.
func reviewed(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	read, _ := out["read"].(map[string]any)
	for _, counter := range []string{"malformed", "incomplete", "oversize", "truncated", "unknownVersion", "backwards"} {
		if n, counted := read[counter]; counted {
			t.Errorf("%s: %v of the lines of a log that the API server wrote whole: %v", counter, n, read["examples"])
		}
	}
	if n, _ := read["events"].(float64); n == 0 {
		t.Error("no event was read")
	}
	return out
}

// normal puts the names of steps in the place of audit IDs, and takes off what differs from run to run.
func normal(t *testing.T, v any) any {
	t.Helper()
	steps := map[string]string{}
	for n, s := range story() {
		steps[stepID(n)] = s.name
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for _, k := range []string{"time", "file", "line", "sourceIP", "from", "to", "first", "last", "read"} {
				delete(v, k)
			}
			if id, ok := v["auditID"].(string); ok {
				delete(v, "auditID")
				v["step"] = steps[id]
				if steps[id] == "" {
					t.Errorf("row of a request that is no step: %v", v)
				}
			}
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	return walk(v)
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}
