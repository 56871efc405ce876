package advisories_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/e2e/advisories"
)

var update = flag.Bool("update", false, "write docs/advisories.md")

const root = "../.."

// Every test that the table cites is there, every test that stands here is cited, and every advisory has one of its own here.
func TestTableIsClosed(t *testing.T) {
	tests := map[string]map[string]bool{}
	in := func(folder string) map[string]bool {
		if tests[folder] == nil {
			tests[folder] = testsOf(t, filepath.Join(root, filepath.FromSlash(folder)))
		}
		return tests[folder]
	}
	const here = "e2e/advisories"
	cited, ids := map[string]bool{}, map[string]bool{}
	for _, a := range advisories.Table() {
		if len(a.IDs) == 0 || a.Project == "" || a.Hole == "" || a.Avoided == "" {
			t.Errorf("%+v: a field is empty", a)
		}
		for _, id := range a.IDs {
			if ids[id] {
				t.Errorf("%s stands twice", id)
			}
			ids[id] = true
		}
		own := false
		for _, test := range a.Tests {
			if !in(test.Package)[test.Name] {
				t.Errorf("%s: there is no %s in %s", a.IDs[0], test.Name, test.Package)
			}
			if test.Package == here {
				own, cited[test.Name] = true, true
			}
		}
		if !own {
			t.Errorf("%s: no test of %s", a.IDs[0], here)
		}
	}
	ofTheTable := []string{"TestTableIsClosed", "TestPageIsTheTable"}
	for name := range in(here) {
		if !cited[name] && !slices.Contains(ofTheTable, name) {
			t.Errorf("%s is cited by no advisory", name)
		}
	}
}

// testsOf returns the names of the test functions in a folder that no build constraint of a name leaves out here.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files of tests, %v", dir, len(files), err)
	}
	names := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

func TestPageIsTheTable(t *testing.T) {
	page := filepath.Join(root, "docs", "advisories.md")
	want := advisories.Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil || string(text) != want {
		t.Errorf("docs/advisories.md is not what the table says (%v): run go -C e2e test ./advisories -run TestPageIsTheTable -update", err)
	}
}
