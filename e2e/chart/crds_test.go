package chart

import (
	"path/filepath"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestCRDsAreTheGeneratedFiles shows that nothing is lost on the way through the template: numbers, texts, rules.
func TestCRDsAreTheGeneratedFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dir, "files/crds/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		crd := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(readFile(t, file)), &crd.Object); err != nil {
			t.Fatal(err)
		}
		want[crd.GetName()] = crd
	}
	for _, name := range []string{"serviceaccountguards.saguard.io", "policybands.saguard.io"} {
		if want[name] == nil {
			t.Errorf("no CRD %s in files/crds; make generate writes it", name)
		}
	}

	tests := map[string]struct {
		values, policy string
		count          int
	}{
		"kept by default":          {``, "keep", len(want)},
		"removed with the release": {`{crds: {keep: false}}`, "", len(want)},
		"not installed":            {`{crds: {enabled: false}}`, "", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			count := 0
			for _, object := range render(t, test.values).Objects {
				if object.GetKind() != "CustomResourceDefinition" {
					continue
				}
				count++
				if got := object.GetAnnotations()["helm.sh/resource-policy"]; got != test.policy {
					t.Errorf("%s: resource-policy %q, want %q", object.GetName(), got, test.policy)
				}
				source := want[object.GetName()]
				if source == nil {
					t.Errorf("%s is in no file", object.GetName())
				} else if !reflect.DeepEqual(numbers(object.Object["spec"]), numbers(source.Object["spec"])) {
					t.Errorf("%s: the spec differs from the file", object.GetName())
				}
			}
			if count != test.count {
				t.Errorf("%d CRDs, want %d", count, test.count)
			}
		})
	}
}

// numbers makes int64 and float64 of the same number equal, as JSON has one type of number.
func numbers(value any) any {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return value
}
