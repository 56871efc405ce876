package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// source is one package's declarations with their comments.
type source struct{ files []*ast.File }

// parseSource reads the non-test files of a folder below root.
func parseSource(root, dir string) (*source, error) {
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	s, set := &source{}, token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		s.files = append(s.files, f)
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("parse %s: no Go files", dir)
	}
	return s, nil
}

// general calls f for every const or type declaration and its specs.
func (s *source) general(f func(*ast.GenDecl, ast.Spec)) {
	for _, file := range s.files {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				f(g, spec)
			}
		}
	}
}

// constComment returns the comment of the constant.
func (s *source) constComment(name string) string {
	var out string
	s.general(func(g *ast.GenDecl, spec ast.Spec) {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || !slices.ContainsFunc(v.Names, func(n *ast.Ident) bool { return n.Name == name }) {
			return
		}
		out = comment(v.Doc, v.Comment)
		if out == "" {
			out = comment(g.Doc, nil)
		}
	})
	return out
}

// constsOf returns names of constants with the prefix, in the order of the source.
func (s *source) constsOf(prefix string) []string {
	var out []string
	s.general(func(_ *ast.GenDecl, spec ast.Spec) {
		if v, ok := spec.(*ast.ValueSpec); ok {
			for _, n := range v.Names {
				if strings.HasPrefix(n.Name, prefix) {
					out = append(out, n.Name)
				}
			}
		}
	})
	return out
}

// structOf returns the struct type and its comment; nil if there is none of the name.
func (s *source) structOf(name string) (*ast.StructType, string) {
	var found *ast.StructType
	var doc string
	s.general(func(g *ast.GenDecl, spec ast.Spec) {
		t, ok := spec.(*ast.TypeSpec)
		if !ok || t.Name.Name != name {
			return
		}
		if st, ok := t.Type.(*ast.StructType); ok {
			found, doc = st, comment(t.Doc, nil)
			if doc == "" {
				doc = comment(g.Doc, nil)
			}
		}
	})
	return found, doc
}

// comment joins a doc comment and a trailing one into one line of text.
func comment(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if text := oneLine(g.Text()); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " ")
}

// oneLine joins lines.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// cell makes a text safe in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(oneLine(text))
}
