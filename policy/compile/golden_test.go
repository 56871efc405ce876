package compile_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

var update = flag.Bool("update", false, "write the golden files of what the compiler gives now")

const refresh = "refresh with: go test ./policy/compile -run Golden -update"

// parseWorld parses YAML documents and returns the problems of parsing with them.
func parseWorld(t testing.TB, text string, sem policy.Semantics) ([]policy.Resource, []policy.Problem) {
	t.Helper()
	var out []policy.Resource
	var problems []policy.Problem
	for _, doc := range strings.Split(text, "\n---\n") {
		raw, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			t.Fatalf("read YAML: %v\n%s", err, doc)
		}
		o, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		r, found := policy.Parse(o, sem)
		problems = append(problems, found...)
		if r != nil {
			out = append(out, r)
		}
	}
	return out, problems
}

// Every world has a golden file with the ruleset and the problems, and every golden file a world.
func TestGoldenRulesets(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden worlds: %v", err)
	}
	for _, file := range files {
		name, isWorld := strings.CutSuffix(file, ".yaml")
		if !isWorld {
			if _, err := os.Stat(strings.TrimSuffix(file, ".txt") + ".yaml"); err != nil {
				t.Errorf("%s has no world: remove it", file)
			}
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			resources, problems := parseWorld(t, string(text), policy.Strict)
			r, more := compile.Compile(policy.NewSnapshot(1, policy.Strict, resources), "local")
			if err := r.Check(); err != nil {
				t.Error(err)
			}
			got := r.String()
			for _, p := range append(problems, more...) {
				got += "problem " + p.Error() + "\n"
			}
			golden := name + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s is missing; %s", golden, refresh)
			}
			if err != nil || got != string(want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s\n%s", err, got, want, refresh)
			}
		})
	}
}
