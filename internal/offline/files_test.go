package offline_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

// write puts files into a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	yamlWorld = `# comment
---
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
---
apiVersion: v1
kind: PodList
items:
- metadata: {name: web, namespace: prod}
  spec: {nodeName: a, serviceAccountName: web}
  status: {podIPs: [{ip: 10.0.0.1}]}
`
	jsonWorld = `{"apiVersion":"v1","kind":"List","items":[
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"db","namespace":"prod"},"spec":{"nodeName":"a"},"status":{"podIPs":[{"ip":"10.0.0.2"}]}},
 {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"db"}}]}
{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"prod"},"spec":{"podSelector":{}}}`
)

func TestVerdictReadsFilesDirectoriesAndStreams(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": yamlWorld, "sub/b.json": jsonWorld, "README.md": "not { YAML"})
	flows := map[string]string{
		"a JSON array":   `[{"from":"prod/web","to":"prod/db","protocol":"TCP","port":80}]`,
		"a JSON stream":  ` {"from":"prod/web","to":"prod/db","protocol":"TCP","port":80}`,
		"a YAML list":    "- {from: prod/web, to: prod/db, protocol: TCP, port: 80}",
		"YAML documents": "from: prod/web\nto: prod/db\nprotocol: TCP\nport: 80\n---\n",
	}
	sources := map[string][]string{
		"a directory":   {dir},
		"files":         {filepath.Join(dir, "a.yaml"), filepath.Join(dir, "sub", "b.json")},
		"stdin and one": {"-", filepath.Join(dir, "sub")},
	}
	for flowName, flow := range flows {
		for sourceName, paths := range sources {
			t.Run(flowName+" on "+sourceName, func(t *testing.T) {
				var out, notes bytes.Buffer
				err := offline.Verdict(offline.VerdictConfig{
					Paths: paths, Flows: strings.NewReader(flow), Stdin: strings.NewReader(yamlWorld),
					Semantics: policy.Strict, Format: offline.FormatJSON, Out: &out, Notes: &notes,
				})
				if err != nil {
					t.Fatal(err)
				}
				var got []struct {
					Ingress   string
					IngressBy offline.By
				}
				if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 1 {
					t.Fatalf("got %s, %v, want an array of one", out.Bytes(), err)
				}
				if got[0].Ingress != "Deny" || got[0].IngressBy != (offline.By{Tier: "default", Policy: "prod/knp.default.p", Rule: -1}) {
					t.Errorf("got %+v", got[0])
				}
				if notes.String() != "ignored: 1 of apps/v1 Deployment\n" {
					t.Errorf("notes %q", notes.String())
				}
			})
		}
	}
}

func TestNamespacesOfManifestsAreAssumedAndThoseOfScenariosAreNot(t *testing.T) {
	const pods = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"nodeName":"a"},"status":{"podIP":"10.0.0.1"}}`
	const flow = `{"from":"default/web","to":"192.0.2.1","protocol":"TCP","port":80}`
	var out, notes bytes.Buffer
	err := offline.Verdict(offline.VerdictConfig{
		Paths: []string{write(t, map[string]string{"a.json": pods})}, Flows: strings.NewReader(flow),
		Semantics: policy.Strict, Format: offline.FormatJSON, Out: &out, Notes: &notes,
	})
	if err != nil || !strings.Contains(out.String(), `"egress": "Allow"`) || notes.String() != "assumed: namespace default exists\n" {
		t.Errorf("manifests: got %v, %s, notes %q", err, out.String(), notes.String())
	}
	lines, _ := stream(t, policy.Strict, scenario("s", pods, flow))
	if !strings.Contains(lines[0], `"egress":"Deny"`) || !strings.Contains(lines[0], `"egressBy":{"tier":"","policy":"","rule":-1}`) {
		t.Errorf("scenario: got %s, want Deny for want of the namespace", lines[0])
	}
}

func TestTableIsForPeople(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": yamlWorld, "b.json": jsonWorld})
	var out, notes bytes.Buffer
	err := offline.Verdict(offline.VerdictConfig{
		Paths: []string{dir}, Semantics: policy.Strict, Format: offline.FormatTable, Out: &out, Notes: &notes,
		Flows: strings.NewReader(`[{"from":"prod/web","to":"192.0.2.1","protocol":"TCP","port":80},{"from":"192.0.2.1","to":"prod/db","protocol":47}]`),
	})
	want := `FROM        TO          PROTOCOL   PORT   VERDICT   EGRESS BY          INGRESS BY
prod/web    192.0.2.1   TCP        80     Allow     Allow: no policy   -
192.0.2.1   prod/db     47         -      Deny      -                  Deny: end of tier default, after prod/knp.default.p
`
	if err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestWhatCannotBeReadIsNamedWithFileAndDocument(t *testing.T) {
	cases := map[string]struct {
		files map[string]string
		want  []string
	}{
		"YAML that is none": {
			files: map[string]string{"a.yaml": "kind: Pod\n---\na: [b\n---\nkind: Pod\n"},
			want:  []string{"a.yaml: document 1: decode object", "a.yaml: document 2:", "a.yaml: document 3: decode object"},
		},
		"a key twice":        {files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: x}\n"}, want: []string{"a.yaml: document 1:", "kind"}},
		"JSON that is none":  {files: map[string]string{"a.json": `{"apiVersion":"v1"`}, want: []string{"a.json: read JSON value 1"}},
		"an item of a list":  {files: map[string]string{"a.json": `{"kind":"List","apiVersion":"v1","items":[{"kind":"Pod","apiVersion":"v1"}]}`}, want: []string{"a.json: document 1: items[0]", "metadata.name"}},
		"several files":      {files: map[string]string{"a.yaml": "x", "b.yaml": "[1]"}, want: []string{"a.yaml: document 1", "b.yaml: document 1"}},
		"twice":              {files: map[string]string{"a.yaml": yamlWorld, "b.yaml": yamlWorld}, want: []string{"b.yaml: document 2: Namespace prod is also in", "b.yaml: document 3: items[0]: Pod prod/web is also in", "a.yaml"}},
		"an empty directory": {files: map[string]string{"a.txt": ""}, want: []string{"no .yaml, .yml or .json"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out, notes bytes.Buffer
			err := offline.Verdict(offline.VerdictConfig{Paths: []string{write(t, tc.files)}, Flows: strings.NewReader("[]"), Out: &out, Notes: &notes})
			if err == nil || out.Len() > 0 {
				t.Fatalf("got %v and output %q, want an error alone", err, out.String())
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error\n%v\nlacks %q", err, want)
				}
			}
		})
	}
	if _, err := offline.ReadPaths([]string{"nowhere.yaml"}, nil, policy.Strict); err == nil {
		t.Error("a file that does not exist is no error")
	}
}

func TestFlowsThatCannotBeReadGiveNoAnswer(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": yamlWorld})
	for name, flows := range map[string]string{
		"a flow without protocol": `[{"from":"prod/web","to":"192.0.2.1","protocol":"TCP","port":80},{"from":"prod/web","to":"192.0.2.1"}]`,
		"a pod that is missing":   `[{"from":"prod/web","to":"192.0.2.1","protocol":"TCP","port":80},{"from":"prod/x","to":"192.0.2.1","protocol":"TCP","port":80}]`,
		"not JSON":                `[{`,
		"not YAML":                "a: [",
	} {
		t.Run(name, func(t *testing.T) {
			var out, notes bytes.Buffer
			err := offline.Verdict(offline.VerdictConfig{Paths: []string{dir}, Flows: strings.NewReader(flows), Out: &out, Notes: &notes})
			if err == nil || out.Len() > 0 || !strings.Contains(err.Error(), "flows") {
				t.Errorf("got %v and output %q, want an error alone", err, out.String())
			}
		})
	}
}
