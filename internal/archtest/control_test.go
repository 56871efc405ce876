package archtest

import (
	"slices"
	"testing"
	"testing/fstest"
)

// TestTheCheckCanFail breaks the law of a small tree in every way there is.
func TestTheCheckCanFail(t *testing.T) {
	lawful := map[string]string{
		"go.mod":               "module m\n",
		"edge/edge.go":         "package edge\nimport (\n\"context\"\n\"m/pure\"\n\"lib.example/http\"\n\"lib.example/http/v2/client\"\n)\n",
		"edge/edge_test.go":    "package edge_test\nimport (\n\"m/edge\"\n\"m/kit\"\n\"m/pure\"\n\"other.example/assert\"\n)\n",
		"pure/pure.go":         "package pure\nimport \"lib.example/types\"\n",
		"kit/kit.go":           "package kit\n",
		"nested/go.mod":        "module nested\n",
		"nested/n.go":          "package nested\nimport \"m/edge\"\n",
		"edge/testdata/bad.go": "package bad\nimport \"m/nowhere\"\n",
		"README.md":            "import \"m/nowhere\"\n",
	}
	tests := []struct {
		name   string
		files  map[string]string // laid over the lawful tree; an empty text removes the file
		change func(*law)
		want   []string
	}{
		{name: "the lawful tree"},
		{
			name:  "an edge that no line allows",
			files: map[string]string{"pure/more.go": "package pure\nimport \"m/kit\"\n"},
			want:  []string{"pure must not import kit"},
		},
		{
			name:  "an edge in a file with a build constraint",
			files: map[string]string{"pure/more_windows.go": "//go:build windows\n\npackage pure\nimport _ \"m/edge\"\n"},
			want:  []string{"pure must not import edge"},
		},
		{
			name:  "production code imports what only tests may",
			files: map[string]string{"edge/more.go": "package edge\nimport \"m/kit\"\n"},
			want:  []string{"edge must not import kit", "testsMayImport: the line edge, kit is stale: nothing uses it"},
		},
		{
			name:  "a test imports what no line allows",
			files: map[string]string{"pure/pure_test.go": "package pure_test\nimport \"m/edge\"\n"},
			want:  []string{"the tests of pure must not import edge"},
		},
		{
			name:  "a package without a line",
			files: map[string]string{"fresh/fresh.go": "package fresh\n"},
			want:  []string{"fresh has no line: say in mayImport what it may import and why"},
		},
		{
			name:  "a package of tests only, without a line",
			files: map[string]string{"fresh/fresh_test.go": "package fresh\n"},
			want:  []string{"fresh has no line: say in mayImport what it may import and why"},
		},
		{
			name:  "a package that is gone",
			files: map[string]string{"kit/kit.go": "", "edge/edge_test.go": ""},
			want:  []string{"mayImport: there is no package kit", "testsMayImport: the line edge, kit is stale: nothing uses it"},
		},
		{
			name:  "an edge that is gone",
			files: map[string]string{"edge/edge.go": "package edge\nimport (\n\"lib.example/http\"\n\"lib.example/http/v2\"\n)\n"},
			want:  []string{"mayImport: the line edge, pure is stale: nothing uses it"},
		},
		{
			name:  "a confined library elsewhere",
			files: map[string]string{"pure/more.go": "package pure\nimport \"lib.example/http/v2\"\n"},
			want:  []string{"pure must not import lib.example/http/v2, which is confined to edge"},
		},
		{
			name:  "a package of the standard library that nobody may import",
			files: map[string]string{"pure/more.go": "package pure\nimport \"log\"\n"},
			want:  []string{"pure must not import log, which is confined to nobody"},
		},
		{
			name:  "a library without a line",
			files: map[string]string{"pure/more.go": "package pure\nimport \"lib.examples/x\"\n"},
			want:  []string{"pure imports lib.examples/x, a library without a line: say in confined who may import it and why"},
		},
		{
			name:   "a confinement that nothing uses",
			change: func(l *law) { l.confined["lib.example/http"]["kit"] = "a reason" },
			want:   []string{"confined: the line lib.example/http, kit is stale: nothing uses it"},
		},
		{
			name:   "a line without a reason",
			change: func(l *law) { l.mayImport["edge"]["pure"] = " " },
			want:   []string{"mayImport: the line edge, pure gives no reason"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := law{
				module:         "m",
				mayImport:      map[string]map[string]string{"edge": {"pure": "asks it"}, "pure": {}, "kit": {}},
				testsMayImport: map[string]map[string]string{"edge": {"kit": "tests with it"}},
				confined: map[string]map[string]string{
					"lib.example":      {"*": "types only"},
					"lib.example/http": {"edge": "serves"},
					"log":              {},
				},
			}
			if test.change != nil {
				test.change(&l)
			}
			tree := fstest.MapFS{}
			for _, files := range []map[string]string{lawful, test.files} {
				for name, text := range files {
					if tree[name] = (&fstest.MapFile{Data: []byte(text)}); text == "" {
						delete(tree, name)
					}
				}
			}
			got, err := check(tree, l)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("breaches %q, want %q", got, test.want)
			}
		})
	}
}

func TestAFileThatDoesNotParseIsAnError(t *testing.T) {
	tree := fstest.MapFS{"a/a.go": {Data: []byte("package a\nimport \"m/b\n")}}
	if _, err := check(tree, law{module: "m"}); err == nil {
		t.Error("no error: what it imports is unknown, so the law could be broken unseen")
	}
}
