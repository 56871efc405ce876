package review_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// replayed is what the review says of a replay, the requests by the names of their steps.
type replayed struct {
	denied, allowed    []string
	unchanged, unknown float64
}

func replay(t *testing.T, p *played, args ...string) replayed {
	t.Helper()
	text := saguard(t, p.Installation, append(append([]string{"review", p.CP.AuditLog(), "-o", "json", "--replay"}, p.window()...), args...)...)
	list, ok := normal(t, reviewed(t, text)).(map[string]any)["replay"].(map[string]any)
	if !ok {
		t.Fatalf("no replay in\n%s", text)
	}
	names := func(field string) []string {
		rows, _ := list[field].([]any)
		out := []string{}
		for _, r := range rows {
			out = append(out, r.(map[string]any)["step"].(string))
		}
		return out
	}
	out := replayed{denied: names("newlyDenied"), allowed: names("newlyAllowed")}
	out.unchanged, _ = list["unchanged"].(float64)
	out.unknown, _ = list["unknown"].(float64)
	return out
}

// exportedRBAC is the cluster's, as kubectl prints it, without the binding of a name in prod, and what of it there was.
func exportedRBAC(t *testing.T, p *played, without string) (path string) {
	t.Helper()
	out, err := p.Kubectl(t.Context(), p.Admin, "get", "roles,rolebindings,clusterroles,clusterrolebindings", "-A", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list unstructured.UnstructuredList
	if err := json.Unmarshal([]byte(out.Stdout), &list); err != nil {
		t.Fatal(err)
	}
	all := len(list.Items)
	list.Items = slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool {
		return o.GetKind() == "RoleBinding" && o.GetNamespace() == "prod" && o.GetName() == without
	})
	if removed := all - len(list.Items); removed != 1 && without != "" {
		t.Fatalf("removed %d bindings %s, want 1", removed, without)
	}
	list.SetAPIVersion("v1")
	list.SetKind("List")
	text, err := list.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "rbac.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A replay without one binding lists the steps that need it, and nothing else, from either log.
func TestReplayWithoutOneBinding(t *testing.T) {
	decided := float64(0)
	t.Run("with all", func(t *testing.T) {
		for _, args := range [][]string{nil, {"--rbac", exportedRBAC(t, clusters.metadata, "")}} {
			got := replay(t, clusters.metadata, args...)
			if len(got.denied)+len(got.allowed) > 0 || got.unchanged == 0 || got.unknown > 0 {
				t.Errorf("%q: what was decided would be decided otherwise: %+v", args, got)
			}
			decided = got.unchanged
		}
	})
	bindings := map[string][]string{}
	for _, s := range story() {
		for _, b := range s.needs {
			bindings[b] = append(bindings[b], s.name)
		}
	}
	list, err := clusters.metadata.Kubectl(t.Context(), clusters.metadata.Admin, "get", "rolebindings", "-n", "prod", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var have rbacv1.RoleBindingList
	if err := json.Unmarshal([]byte(list.Stdout), &have); err != nil || len(have.Items) != len(bindings) {
		t.Fatalf("steps need %d bindings, there are %d: %v", len(bindings), len(have.Items), err)
	}
	for binding, want := range bindings {
		t.Run(binding, func(t *testing.T) {
			for level, p := range map[string]*played{"Metadata": clusters.metadata, "RequestResponse": clusters.bodies} {
				got := replay(t, p, "--rbac", exportedRBAC(t, p, binding))
				if !slices.Equal(got.denied, want) || len(got.allowed) > 0 || got.unknown > 0 || got.unchanged != decided-float64(len(want)) {
					t.Errorf("%s: got %+v, want %d of %g newly denied: %q", level, got, len(want), decided, want)
				}
			}
		})
	}
}
