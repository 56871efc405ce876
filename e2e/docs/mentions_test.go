package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/e2e/reference"
	"github.com/saguard/saguard/webhook"
)

func unmarshal(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func chartValues(t *testing.T) map[string]any {
	t.Helper()
	var values map[string]any
	unmarshal(t, "charts/saguard/values.yaml", &values)
	return values
}

// hasValue reports whether the chart reads the value. What is below an empty map is free.
func hasValue(values map[string]any, path string) bool {
	name, rest, more := strings.Cut(path, ".")
	v, ok := values[name]
	if !ok || !more {
		return ok
	}
	inner, isMap := v.(map[string]any)
	return isMap && (len(inner) == 0 || hasValue(inner, rest))
}

// everywhere calls f for what a page has between backquotes and in blocks.
func everywhere(p *page, f func(at, text string)) {
	for _, c := range p.code {
		f(fmt.Sprintf("%s:%d", p.path, c.line), c.text)
	}
	for _, b := range p.blocks {
		f(fmt.Sprintf("%s:%d", p.path, b.line), b.text)
	}
}

// spans calls f for what stands between backquotes.
func spans(p *page, f func(at, text string)) {
	for _, c := range p.code {
		f(fmt.Sprintf("%s:%d", p.path, c.line), c.text)
	}
}

func TestChartValuesExist(t *testing.T) {
	values := chartValues(t)
	var top []string
	for name := range values {
		top = append(top, name)
	}
	slices.Sort(top)
	mention := regexp.MustCompile(`(?:^|[\s(])((?:` + strings.Join(top, "|") + `)(?:\.[a-z][A-Za-z0-9]*)+)`)
	found := 0
	for _, p := range guides(t) {
		spans(p, func(at, text string) {
			for _, m := range mention.FindAllStringSubmatch(text, -1) {
				found++
				if !hasValue(values, m[1]) {
					t.Errorf("%s: the chart has no value %s", at, m[1])
				}
			}
		})
	}
	t.Logf("%d values", found)
	if found == 0 {
		t.Error("no value found")
	}
}

// metric is a name, or several: saguard_cache_{synced,absent}.
var metric = regexp.MustCompile(`\bsaguard_[a-z_]+(?:\{([a-z_,]+)\})?`)

func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	all, err := reference.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, part := range all {
		for _, m := range part {
			names[m.Name] = true
			if m.Type == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					names[m.Name+suffix] = true
				}
			}
		}
	}
	return names
}

func TestMetricsExist(t *testing.T) {
	names := metricNames(t)
	found := 0
	check := func(at, text string) {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			alternatives := []string{m[0]}
			// After a whole name the braces are labels, as in PromQL.
			if before, _, ok := strings.Cut(m[0], "{"); ok {
				alternatives = []string{before}
				if strings.HasSuffix(before, "_") {
					alternatives = nil
					for _, a := range strings.Split(m[1], ",") {
						alternatives = append(alternatives, before+a)
					}
				}
			}
			for _, name := range alternatives {
				found++
				if !names[name] {
					t.Errorf("%s: there is no metric %s", at, name)
				}
			}
		}
	}
	for _, p := range guides(t) {
		everywhere(p, check)
	}
	for _, file := range []string{"charts/saguard/files/alerts.yaml", "charts/saguard/files/dashboards/saguard.json"} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		check(file, string(text))
	}
	if found == 0 {
		t.Error("no metric found")
	}
}

// What the code names as a metric is in the reference, so that none is forgotten there.
func TestEveryMetricOfTheCodeIsInTheReference(t *testing.T) {
	names := metricNames(t)
	literal := regexp.MustCompile(`"(saguard_[a-z_]+[a-z])"`)
	found := 0
	for _, dir := range []string{"authz", "cmd", "enforce", "internal", "webhook"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
			if err != nil {
				return err
			}
			for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
				found++
				if !names[m[1]] {
					t.Errorf("%s: metric %s is not in the reference: register it in e2e/reference/metrics.go", file, m[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no metric found in the code")
	}
}

func TestChecksExist(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range webhook.Checks() {
		ids[c.ID] = true
	}
	// Reasons of the identity check are no checks.
	mention := regexp.MustCompile(`^(?:label|account|policy|reserved|default|guard)-[a-z]+$`)
	reasons := []string{"policy-rule", "guard-off", "guard-scope", "default-deny", "label-diff"}
	named := map[string]bool{}
	for _, p := range pages(t) {
		spans(p, func(at, text string) {
			if !mention.MatchString(text) || slices.Contains(reasons, text) {
				return
			}
			if !ids[text] {
				t.Errorf("%s: there is no check %s", at, text)
			}
			if p.path == "docs/concepts.md" {
				named[text] = true
			}
		})
	}
	for id := range ids {
		if !named[id] {
			t.Errorf("docs/concepts.md does not name check %s", id)
		}
	}
}

// Tests that a page names as evidence are there.
func TestNamedTestsExist(t *testing.T) {
	mention := regexp.MustCompile(`^([a-z0-9/]+): ((?:Test|Fuzz)[A-Za-z0-9]+)$`)
	found := 0
	for _, p := range pages(t) {
		spans(p, func(at, text string) {
			m := mention.FindStringSubmatch(text)
			if m == nil {
				return
			}
			found++
			files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(m[1]), "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(files, func(f string) bool {
				code, err := os.ReadFile(f)
				return err == nil && strings.Contains(string(code), "\nfunc "+m[2]+"(")
			}) {
				t.Errorf("%s: there is no test %s in %s", at, m[2], m[1])
			}
		})
	}
	t.Logf("%d tests", found)
	if found == 0 {
		t.Error("no test found")
	}
}

// foreign are flags of other programs that pages name.
func foreign() []string {
	return []string{
		"--namespace", "--create-namespace", "--reset-then-reuse-values", "--reuse-values", "--set", "--wait", "--logs", "--no-hooks", "--type", "--for", "--overwrite", "--server-side",
		"--as", "--as-group", "--subresource", "--all", "--dry-run", "--cascade", "--timeout", "--verb", "--image", "--default-service-account", "--use-service-account-credentials",
		"--predicate", "--bundle",
	}
}

func TestFlagsExist(t *testing.T) {
	flag := regexp.MustCompile(`(?:^|[\s("])(--[a-z][a-z0-9-]+)`)
	known := map[string]bool{}
	for _, f := range foreign() {
		known[f] = true
	}
	for _, name := range []string{"cli", "webhook", "agent"} {
		for _, b := range read(t, reference.Dir+"/"+name+".md").blocks {
			for _, m := range flag.FindAllStringSubmatch(b.text, -1) {
				known[m[1]] = true
			}
		}
	}
	for _, p := range guides(t) {
		if p.generated() {
			continue
		}
		everywhere(p, func(at, text string) {
			for _, m := range flag.FindAllStringSubmatch(text, -1) {
				if !known[m[1]] {
					t.Errorf("%s: no program has flag %s", at, m[1])
				}
			}
		})
	}
}

// Files, folders and make targets that pages name are there.
func TestFilesAndTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile(`^(?:api|audit|authz|charts|cmd|docs|e2e|enforce|internal|policy|rbac|webhook|tools|release)/[A-Za-z0-9_./-]+$`)
	target := regexp.MustCompile(`^make ([a-z0-9-]+)`)
	for _, p := range pages(t) {
		spans(p, func(at, text string) {
			if file.MatchString(text) {
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(text))); err != nil {
					t.Errorf("%s: no file %s", at, text)
				}
			}
			if m := target.FindStringSubmatch(text); m != nil && !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: make has no target %s", at, m[1])
			}
		})
	}
}
