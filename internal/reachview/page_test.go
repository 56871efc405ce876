package reachview_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/reach"
	"github.com/saguard/saguard/internal/reachview"
	"github.com/saguard/saguard/policy"
)

// Names in manifests can be any text: nothing of them may become markup, script or another line of a graph.
func TestHostileNamesStayText(t *testing.T) {
	const evil = `x"]; evil [label="</script><script>alert(1)</script><img src=x onerror=alert(1)>`
	namespace := &policy.Namespace{Name: evil}
	s := parse(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: {nodeName: n1, containers: [{name: c}]}\nstatus: {podIPs: [{ip: 10.0.0.1}]}")
	w := *s.Workloads[0]
	w.Namespace = evil
	m := reach.New(policy.NewSnapshot(1, policy.Strict, []policy.Resource{namespace, &w}))
	var out bytes.Buffer
	if err := reachview.HTML(&out, m, reachview.Filter{}, reachview.Page{Title: evil, Source: evil, Semantics: "strict"}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "<script>alert") || strings.Contains(text, "<img") || strings.Count(text, "<script") != 2 || strings.Count(text, "</script>") != 2 {
		t.Errorf("a name became markup:\n%s", text[:min(len(text), 2000)])
	}
	if !strings.Contains(text, `alert(1)`) {
		t.Error("the name is not in the page at all")
	}
	for _, line := range strings.Split(reachview.DOT(m, reachview.Filter{}), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "evil") || strings.Contains(line, `x"]`) && !strings.Contains(line, `x\"]`) {
			t.Errorf("a name became DOT: %s", line)
		}
	}
}

// The page asks nobody: no address but the SVG namespace, which is a name, is in it.
func TestPageIsSelfContained(t *testing.T) {
	var out bytes.Buffer
	if err := reachview.HTML(&out, reach.New(shop(t)), reachview.Filter{}, reachview.Page{Title: "t", Semantics: "strict"}); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(out.String(), "http://www.w3.org/2000/svg", "")
	for _, bad := range []string{"http:", "https:", "src=", "href=", "@import", "url(//", "fetch(", "XMLHttpRequest", "innerHTML", "eval("} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(text, "default-src &#39;none&#39;") {
		t.Error("the page has no content security policy")
	}
}

func TestFilter(t *testing.T) {
	m := reach.New(shop(t))
	cases := map[string]struct {
		filter reachview.Filter
		rows   int
		err    string
	}{
		"from an account to a namespace":         {filter: reachview.Filter{From: "shop/web", To: "data"}, rows: 1},
		"a namespace with a slash":               {filter: reachview.Filter{From: "pay/api", To: "data/"}, rows: 1},
		"from outside":                           {filter: reachview.Filter{From: "0.0.0.0/0", To: "shop"}, rows: 1},
		"a namespace at one end":                 {filter: reachview.Filter{Namespace: "pay", To: "data"}, rows: 1},
		"an account that is not there":           {filter: reachview.Filter{From: "shop/wob"}, err: "--from shop/wob"},
		"a namespace that is not there":          {filter: reachview.Filter{Namespace: "shap"}, err: "--namespace shap"},
		"an address is no namespace":             {filter: reachview.Filter{Namespace: "0.0.0.0/0"}, err: "--namespace 0.0.0.0/0"},
		"the beginning of a name is not enough":  {filter: reachview.Filter{To: "sho"}, err: "--to sho"},
		"an account of another namespace is not": {filter: reachview.Filter{To: "pay/web"}, err: "--to pay/web"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.filter.Check(m.Parties())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if rows := reachview.Rows(m, tc.filter, false); err != nil || len(rows) != tc.rows {
				t.Errorf("got %d rows, %v: %+v", len(rows), err, rows)
			}
		})
	}
}
