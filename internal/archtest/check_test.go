package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// law is the architecture of one module.
type law struct {
	// module is the path of go.mod.
	module string
	// mayImport maps each package of the module to those that its production code may import, each with the reason.
	mayImport map[string]map[string]string
	// testsMayImport are further edges of _test.go files.
	testsMayImport map[string]map[string]string
	// confined maps a library, by import path or the beginning of one, to the only packages whose production code may
	// import it, each with the reason. The longest entry that fits an import decides; the package "*" stands for all.
	// A library outside the standard one needs an entry; one of the standard library only if it is confined.
	confined map[string]map[string]string
}

type found struct{ production, tests map[string]bool }

// check parses the Go files of tree and returns a sentence for every breach of l, sorted. It reads the files itself
// instead of asking a `go list` process: the go command caches a passing test, and knows only of files that the test
// itself opened.
func check(tree fs.FS, l law) ([]string, error) {
	packages, err := parse(tree)
	if err != nil {
		return nil, err
	}
	var breaches []string
	breach := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	used := map[string]bool{}

	for name, imports := range packages {
		if _, ok := l.mayImport[name]; !ok {
			breach("%s has no line: say in mayImport what it may import and why", name)
		}
		for imported := range imports.production {
			if own, ok := strings.CutPrefix(imported, l.module+"/"); ok {
				if _, ok := l.mayImport[name][own]; !ok {
					breach("%s must not import %s", name, own)
				}
				used["mayImport "+name+" "+own] = true
				continue
			}
			entry := longest(l.confined, imported)
			if entry == "" {
				if !standard(imported) {
					breach("%s imports %s, a library without a line: say in confined who may import it and why", name, imported)
				}
				continue
			}
			for _, who := range []string{name, "*"} {
				used["confined "+entry+" "+who] = true
			}
			if l.confined[entry][name] == "" && l.confined[entry]["*"] == "" {
				breach("%s must not import %s, which is confined to %s", name, imported, list(l.confined[entry]))
			}
		}
		for imported := range imports.tests {
			own, ok := strings.CutPrefix(imported, l.module+"/")
			if !ok || own == name || imports.production[imported] {
				continue
			}
			_, direct := l.mayImport[name][own]
			_, further := l.testsMayImport[name][own]
			if !direct && !further {
				breach("the tests of %s must not import %s", name, own)
			}
			used["testsMayImport "+name+" "+own] = true
		}
	}

	stale := func(table string, lines map[string]map[string]string) {
		for from, edges := range lines {
			for to, why := range edges {
				if !used[table+" "+from+" "+to] {
					breach("%s: the line %s, %s is stale: nothing uses it", table, from, to)
				}
				if strings.TrimSpace(why) == "" {
					breach("%s: the line %s, %s gives no reason", table, from, to)
				}
			}
		}
	}
	stale("mayImport", l.mayImport)
	stale("testsMayImport", l.testsMayImport)
	stale("confined", l.confined)
	for name := range l.mayImport {
		if _, ok := packages[name]; !ok {
			breach("mayImport: there is no package %s", name)
		}
	}
	slices.Sort(breaches)
	return breaches, nil
}

// parse returns the imports of every package below the root of tree, nested modules and testdata left out.
func parse(tree fs.FS) (map[string]found, error) {
	packages := map[string]found{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name == "." {
				return nil
			}
			if base := path.Base(name); base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(tree, name+"/go.mod"); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		where := path.Dir(name)
		if _, ok := packages[where]; !ok {
			packages[where] = found{map[string]bool{}, map[string]bool{}}
		}
		imports := packages[where].production
		if strings.HasSuffix(name, "_test.go") {
			imports = packages[where].tests
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			imports[imported] = true
		}
		return nil
	})
	return packages, err
}

// longest returns the entry that fits imported best: the import path itself, or the beginning of it up to a slash.
func longest(confined map[string]map[string]string, imported string) string {
	best := ""
	for entry := range confined {
		if (imported == entry || strings.HasPrefix(imported, entry+"/")) && len(entry) > len(best) {
			best = entry
		}
	}
	return best
}

// standard reports whether imported is of the standard library: its first element has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func list(of map[string]string) string {
	if len(of) == 0 {
		return "nobody"
	}
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}
