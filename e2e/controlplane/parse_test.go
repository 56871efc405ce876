package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func TestAuditReaderGivesEachCompleteLineOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	reader := &auditReader{path: path}
	read := func() (ids string) {
		t.Helper()
		if err := reader.next(func(e *auditv1.Event) bool { ids += string(e.AuditID); return true }); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := read(); got != "" {
		t.Errorf("a log that does not exist yet: %q", got)
	}
	for _, step := range []struct{ add, want string }{
		{add: `{"auditID":"a"}` + "\n" + `{"audi`, want: "a"},
		{add: ``, want: ""},
		{add: `tID":"b"}`, want: ""},
		{add: "\n" + `{"auditID":"c"}` + "\n", want: "bc"},
	} {
		appendTo(t, path, step.add)
		if got := read(); got != step.want {
			t.Errorf("after adding %q: %q, want %q", step.add, got, step.want)
		}
	}
	appendTo(t, path, "not JSON\n")
	err := reader.next(func(*auditv1.Event) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("a line that is no event: %v, want an error that names line 4", err)
	}
}

func TestAuditReaderStopsWhereItIsToldTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	appendTo(t, path, `{"auditID":"a"}`+"\n"+`{"auditID":"b"}`+"\n")
	reader := &auditReader{path: path}
	for _, want := range []string{"a", "b"} {
		if err := reader.next(func(e *auditv1.Event) bool {
			if string(e.AuditID) != want {
				t.Errorf("event %s, want %s", e.AuditID, want)
			}
			return false
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadCRDsRefusesWhatIsNone(t *testing.T) {
	const good = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.example.com}\n"
	for _, tc := range []struct {
		name  string
		files map[string]string
		names string
		err   string
	}{
		{name: "one", files: map[string]string{"a.yaml": good}, names: "a.example.com"},
		{name: "two documents with an empty one between", files: map[string]string{"a.yml": good + "---\n# none\n---\n" + good}, names: "a.example.com a.example.com"},
		{name: "no file", files: map[string]string{"a.txt": good}, err: "no *.yaml or *.yml file holds one"},
		{name: "another kind", files: map[string]string{"dir/b.yaml": good + "---\napiVersion: v1\nkind: Secret\n"}, err: `dir/b.yaml, document 2: is "v1" "Secret"`},
		{name: "an old version of the kind", files: map[string]string{"a.yaml": strings.Replace(good, "/v1", "/v1beta1", 1)}, err: "v1beta1"},
		{name: "a key twice", files: map[string]string{"a.yaml": good + "kind: CustomResourceDefinition\n"}, err: "a.yaml, document 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, content := range tc.files {
				tree[name] = &fstest.MapFile{Data: []byte(content)}
			}
			crds, err := readCRDs(tree)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("readCRDs: %v, want an error with %q", err, tc.err)
				}
				return
			}
			var names []string
			for _, crd := range crds {
				names = append(names, crd.name)
			}
			if got := strings.Join(names, " "); err != nil || got != tc.names {
				t.Errorf("readCRDs: %q, %v; want %q", got, err, tc.names)
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
