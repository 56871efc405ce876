package reachview_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/internal/reach"
	"github.com/saguard/saguard/internal/reachview"
	"github.com/saguard/saguard/policy"
)

// parse reads YAML documents.
func parse(t testing.TB, text string) *policy.Snapshot {
	t.Helper()
	var out []policy.Resource
	for _, doc := range strings.Split(text, "\n---\n") {
		raw, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		o, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		r, problems := policy.Parse(o, policy.Strict)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, doc)
		}
		out = append(out, r)
	}
	return policy.NewSnapshot(1, policy.Strict, out)
}

// shop is a small cluster as people have it.
func shop(t testing.TB) *policy.Snapshot {
	t.Helper()
	text, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// many is a cluster of so many accounts: teams of ten that let each other in, and a few that everybody may reach.
func many(t testing.TB, accounts int) *policy.Snapshot {
	t.Helper()
	var docs []string
	add := func(format string, args ...any) { docs = append(docs, fmt.Sprintf(format, args...)) }
	for n := 0; n*10 < accounts; n++ {
		ns := fmt.Sprintf("team-%02d", n)
		add("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {kubernetes.io/metadata.name: %s}}", ns, ns)
		for i := range min(10, accounts-10*n) {
			add("apiVersion: v1\nkind: Pod\nmetadata: {name: svc-%d-0, namespace: %s, labels: {app: svc-%d}}\nspec: {nodeName: n1, serviceAccountName: svc-%d, containers: [{name: c}]}\nstatus: {phase: Running, podIPs: [{ip: 10.0.%d.%d}]}",
				i, ns, i, i, n, i+1)
		}
		add("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: own, namespace: %s}\nspec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}]}]}", ns)
		add("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: front, namespace: %s}\nspec: {podSelector: {matchLabels: {app: svc-0}}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-%02d}}}], ports: [{port: 443}]}]}", ns, (n*7+1)%(accounts/10))
		if n%8 == 3 {
			add("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, namespace: %s}\nspec: {podSelector: {matchLabels: {app: svc-1}}, policyTypes: [Ingress], ingress: [{}]}", ns)
		}
	}
	return parse(t, strings.Join(docs, "\n---\n"))
}

// page writes the HTML page of a cluster to a file.
func page(t testing.TB, s *policy.Snapshot, title string) string {
	t.Helper()
	var out bytes.Buffer
	if err := reachview.HTML(&out, reach.New(s), reachview.Filter{}, reachview.Page{Title: title, Source: "manifests/", Semantics: "strict"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "map.html")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d kB", title, out.Len()/1000)
	return file
}
