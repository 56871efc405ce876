package chart

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	promql "github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
	admissionmetrics "k8s.io/apiserver/pkg/admission/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// foreign are metrics of others in alerts and dashboards, by their type.
var foreign = map[string]string{
	"up": "gauge", // Prometheus' own
	"apiserver_admission_webhook_fail_open_count": "counter",
}

// metricsInSource returns the metrics that the product's code makes, by name with their type: the names in prometheus.*Opts and
// in prometheus.NewDesc, those behind a constant prefix by the calls of the function that adds it.
func metricsInSource(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 || entry.Name() == "e2e" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		for name, kind := range metricsIn(file) {
			if other, twice := found[name]; twice && other != kind {
				t.Errorf("%s is a %s and a %s", name, other, kind)
			}
			found[name] = kind
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func metricsIn(file *ast.File) map[string]string {
	found := map[string]string{}
	prefixes := map[string]string{} // by the function's variable
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			kind, ok := strings.CutSuffix(selectorOf(n.Type, "prometheus"), "Opts")
			for _, element := range n.Elts {
				if pair, isPair := element.(*ast.KeyValueExpr); isPair && ok && fmt.Sprint(pair.Key) == "Name" {
					found[text(pair.Value)] = strings.ToLower(kind)
				}
			}
		case *ast.CallExpr:
			if selectorOf(n.Fun, "prometheus") == "NewDesc" {
				found[text(n.Args[0])] = kindOf(text(n.Args[0]))
			}
		case *ast.AssignStmt:
			for i, value := range n.Rhs {
				function, ok := value.(*ast.FuncLit)
				if !ok || i >= len(n.Lhs) {
					continue
				}
				ast.Inspect(function, func(inner ast.Node) bool {
					if call, ok := inner.(*ast.CallExpr); ok && selectorOf(call.Fun, "prometheus") == "NewDesc" {
						if sum, ok := call.Args[0].(*ast.BinaryExpr); ok {
							prefixes[fmt.Sprint(n.Lhs[i])] = text(sum.X)
						}
					}
					return true
				})
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if function, ok := call.Fun.(*ast.Ident); ok && prefixes[function.Name] != "" {
				name := prefixes[function.Name] + text(call.Args[0])
				found[name] = kindOf(name)
			}
		}
		return true
	})
	delete(found, "")
	return found
}

// kindOf goes by the convention of names, since a Desc has no type.
func kindOf(name string) string {
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

// selectorOf returns x of pkg.x.
func selectorOf(e ast.Expr, pkg string) string {
	if s, ok := e.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == pkg {
		return s.Sel.Name
	}
	return ""
}

func text(e ast.Expr) string {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		s, err := strconv.Unquote(literal.Value)
		if err == nil {
			return s
		}
	}
	return ""
}

// series returns the metrics of an expression, and fails where a function does not suit the type: rate and increase are of
// counters, and quantiles of rates of buckets.
func series(t *testing.T, where, expr string, known map[string]string) []string {
	t.Helper()
	parsed, err := promql.NewParser(promql.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	var names []string
	promql.Inspect(parsed, func(n promql.Node, path []promql.Node) error {
		selector, ok := n.(*promql.VectorSelector)
		if !ok {
			return nil
		}
		name, kind := selector.Name, known[selector.Name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && known[base] == "histogram" {
				name, kind = base, "histogram"
			}
		}
		names = append(names, name)
		rated := slices.ContainsFunc(path, func(p promql.Node) bool {
			call, ok := p.(*promql.Call)
			return ok && slices.Contains([]string{"rate", "increase"}, call.Func.Name)
		})
		if (kind == "counter" || kind == "histogram") != rated {
			t.Errorf("%s: %s is a %s: %s", where, name, kind, expr)
		}
		if kind == "histogram" && name == selector.Name {
			t.Errorf("%s: %s is a histogram without a suffix", where, name)
		}
		return nil
	})
	return names
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource *struct{ Type, UID string }
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct {
		RefID      string
		Expr       string
		Datasource struct{ Type, UID string }
	}
}

type dashboard struct {
	ID            *int
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Datasource *struct{ Type, UID string }
		}
	}
}

// TestAlertsAndDashboardAreOfMetricsThatThereAre, and the dashboard shows each that there is.
func TestAlertsAndDashboardAreOfMetricsThatThereAre(t *testing.T) {
	source := metricsInSource(t)
	for _, name := range []string{"saguard_admission_decisions_total", "saguard_cache_age_seconds", "saguard_agent_state", "saguard_ready"} {
		if source[name] == "" {
			t.Fatalf("%s was not found in the source, so this test could not fail", name)
		}
	}
	known := maps.Clone(source)
	maps.Copy(known, foreign)

	used := map[string]bool{}
	for name, rule := range alerts(t) {
		for _, metric := range series(t, name, rule.Expr.String(), known) {
			used[metric] = true
		}
	}
	shown := map[string]bool{}
	for _, p := range theDashboard(t).Panels {
		for _, target := range p.Targets {
			for _, metric := range series(t, p.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"), known) {
				shown[metric] = true
			}
		}
	}
	for name := range used {
		if known[name] == "" {
			t.Errorf("alert on %s, which nothing makes", name)
		}
	}
	for name := range shown {
		if known[name] == "" {
			t.Errorf("dashboard shows %s, which nothing makes", name)
		}
	}
	for name := range source {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for name := range foreign {
		if !used[name] && !shown[name] {
			t.Errorf("%s is used nowhere", name)
		}
	}
}

// TestForeignMetricsAreThoseOfTheAPIServer asks its own code.
func TestForeignMetricsAreThoseOfTheAPIServer(t *testing.T) {
	admissionmetrics.Metrics.ObserveWebhookFailOpen(t.Context(), "pods.validate.saguard.io", "validating")
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "apiserver_admission_webhook_fail_open_count" {
			continue
		}
		for _, label := range family.GetMetric()[0].GetLabel() {
			if label.GetName() == "name" && label.GetValue() == "pods.validate.saguard.io" {
				return
			}
		}
	}
	t.Error("no apiserver_admission_webhook_fail_open_count with the webhook's name")
}

func theDashboard(t *testing.T) dashboard {
	t.Helper()
	config := one[*corev1.ConfigMap](t, render(t, `{grafanaDashboard: {enabled: true}}`))
	var d dashboard
	if err := json.Unmarshal([]byte(config.Data["saguard.json"]), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboard(t *testing.T) {
	d := theDashboard(t)
	if d.ID != nil {
		t.Error("the dashboard has an id, which is of one Grafana's database")
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 30 || len(d.Panels) == 0 {
		t.Errorf("uid %q, title %q, schema %d, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Panels))
	}
	if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Errorf("the first variable does not choose the data source: %+v", d.Templating.List)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	row := ""
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: id %d is not its own", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			row = p.Title
			continue
		}
		if titles[row+p.Title] || p.Title == "" {
			t.Errorf("two panels of row %s have the title %q", row, p.Title)
		}
		titles[row+p.Title] = true
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("%s: refId %q is not its own", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			if !strings.Contains(target.Expr, `namespace=~"$namespace"`) {
				t.Errorf("%s: shows other namespaces too: %s", p.Title, target.Expr)
			}
		}
		if p.GridPos.W <= 0 || p.GridPos.H <= 0 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: outside of the 24 columns: %+v", p.Title, p.GridPos)
		}
	}
	for i, a := range d.Panels {
		for _, b := range d.Panels[i+1:] {
			if a.GridPos.X < b.GridPos.X+b.GridPos.W && b.GridPos.X < a.GridPos.X+a.GridPos.W &&
				a.GridPos.Y < b.GridPos.Y+b.GridPos.H && b.GridPos.Y < a.GridPos.Y+a.GridPos.H {
				t.Errorf("%s and %s overlap", a.Title, b.Title)
			}
		}
	}
	// No data source by name or by a uid of somebody's Grafana, wherever in the JSON.
	var whole any
	if err := json.Unmarshal([]byte(readFile(t, dir, "files/dashboards/saguard.json")), &whole); err != nil {
		t.Fatal(err)
	}
	sources := 0
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			if source, ok := v["datasource"]; ok {
				sources++
				if !maps.Equal(stringMap(source), map[string]string{"type": "prometheus", "uid": "${datasource}"}) {
					t.Errorf("hard-coded data source: %v", source)
				}
			}
			for _, element := range v {
				walk(element)
			}
		}
	}
	walk(whole)
	if sources < len(d.Panels) {
		t.Errorf("only %d data sources were looked at", sources)
	}
}

func stringMap(value any) map[string]string {
	out := map[string]string{}
	if m, ok := value.(map[string]any); ok {
		for k, v := range m {
			out[k] = fmt.Sprint(v)
		}
	}
	return out
}

func TestValuesOfTheDashboard(t *testing.T) {
	config := one[*corev1.ConfigMap](t, render(t, `{grafanaDashboard: {enabled: true, labels: {own: label}, annotations: {grafana_folder: Security}}}`))
	if config.Labels["grafana_dashboard"] != "1" || config.Labels["own"] != "label" || config.Annotations["grafana_folder"] != "Security" {
		t.Errorf("labels %v, annotations %v", config.Labels, config.Annotations)
	}
	if strings.TrimSpace(config.Data["saguard.json"]) != strings.TrimSpace(readFile(t, dir, "files/dashboards/saguard.json")) {
		t.Error("the dashboard is not the file")
	}
}
