package chart

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "write the golden files anew")

const refresh = "go -C e2e/chart test . -run TestGolden -update"

// TestGolden compares what is rendered with testdata/golden. Generated certificates and the schemas of the CRDs, which
// have tests of their own, are replaced by a word.
func TestGolden(t *testing.T) {
	const golden = "testdata/golden"
	goldens := map[string]func(*testing.T) []*unstructured.Unstructured{
		// What a Helm client runs.
		"hooks": func(t *testing.T) []*unstructured.Unstructured {
			rendered, err := Render(dir, valuesOf(t, cases["everything"]), Options{Live: true})
			if err != nil {
				t.Fatal(err)
			}
			return rendered.Hooks
		},
		"guards": func(t *testing.T) []*unstructured.Unstructured {
			var guards []*unstructured.Unstructured
			for _, profile := range []string{"audit-only", "standard", "strict"} {
				guards = append(guards, guardOf(t, `{profile: `+profile+`, guard: {create: true, name: `+profile+`}}`))
			}
			return guards
		},
	}
	for name, values := range allCases() {
		goldens[name] = func(t *testing.T) []*unstructured.Unstructured { return render(t, values).Objects }
	}
	for name, objects := range goldens {
		t.Run(name, func(t *testing.T) {
			rendered := objects(t)
			for _, object := range rendered {
				redact(t, object)
			}
			data, err := marshal(rendered)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(golden, name+".yaml")
			if *update {
				if err := os.MkdirAll(golden, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := readFile(t, file); string(data) != want {
				t.Errorf("%s differs from line %d on; refresh: %s", file, firstDifference(string(data), want), refresh)
			}
		})
	}

	files, err := filepath.Glob(filepath.Join(golden, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if _, ok := goldens[name]; ok {
			continue
		}
		if !*update {
			t.Errorf("%s belongs to no case; refresh: %s", file, refresh)
		} else if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

func firstDifference(a, b string) int {
	old := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(old) || line != old[i] {
			return i + 1
		}
	}
	return len(old)
}

// laterLabelPolicy are policies that differ from label-use-02 in numbers; safety_net_test.go shows what they do.
var laterLabelPolicy = regexp.MustCompile(`^label-use-(0[3-9]|10)\.`)

// redact replaces what differs from one rendering to the next, or is long and tested elsewhere.
func redact(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	switch object.GetKind() {
	case "ConfigMap":
		if _, ok, err := unstructured.NestedString(object.Object, "data", "saguard.json"); err != nil {
			t.Fatal(err)
		} else if ok {
			object.Object["data"] = map[string]any{"saguard.json": "DASHBOARD"}
		}
	case "CustomResourceDefinition":
		object.Object["spec"] = "SPEC"
	case "ValidatingAdmissionPolicy":
		if laterLabelPolicy.MatchString(object.GetName()) {
			object.Object["spec"] = "LIKE label-use-02, FOR LATER KEYS"
		}
	case "Secret":
		data, ok := object.Object["data"].(map[string]any)
		if !ok && object.Object["data"] != nil {
			t.Fatalf("Secret %s has data of type %T", object.GetName(), object.Object["data"])
		}
		for key := range data {
			data[key] = "GENERATED"
		}
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
		hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil {
			t.Fatal(err)
		}
		given := base64.StdEncoding.EncodeToString([]byte(caBundle))
		for _, hook := range hooks {
			config, ok := hook.(map[string]any)["clientConfig"].(map[string]any)
			if !ok {
				t.Fatalf("%s: a webhook has no clientConfig", object.GetName())
			}
			if bundle, ok := config["caBundle"]; ok && bundle != given {
				config["caBundle"] = "GENERATED"
			}
		}
		object.Object["webhooks"] = hooks
	}
}
