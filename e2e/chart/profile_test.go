package chart

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// guardOf renders the guard of values.
func guardOf(t *testing.T, values string) *unstructured.Unstructured {
	t.Helper()
	var guard *unstructured.Unstructured
	for _, object := range render(t, values).Objects {
		if object.GetKind() == "ServiceAccountGuard" {
			guard = object
		}
	}
	if guard == nil {
		t.Fatal("no guard")
	}
	return guard
}

// modes are the fields of a guard that take a mode, by the CRD: path to mode.
func modesInCRD(t *testing.T) []string {
	t.Helper()
	crd := map[string]any{}
	if err := yaml.Unmarshal([]byte(readFile(t, dir, "files/crds/saguard.io_serviceaccountguards.yaml")), &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("%d versions: %v", len(versions), err)
	}
	spec, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var walk func(map[string]any, string)
	walk = func(properties map[string]any, prefix string) {
		for name, value := range properties {
			property, ok := value.(map[string]any)
			if !ok {
				continue
			}
			if enum, ok := property["enum"].([]any); ok && slices.Contains(enum, any("Audit")) {
				paths = append(paths, prefix+name)
			}
			if inner, ok := property["properties"].(map[string]any); ok {
				walk(inner, prefix+name+".")
			}
		}
	}
	walk(spec, "")
	slices.Sort(paths)
	return paths
}

func modesOf(t *testing.T, guard *unstructured.Unstructured) map[string]string {
	t.Helper()
	modes := map[string]string{}
	for _, path := range modesInCRD(t) {
		mode, found, err := unstructured.NestedString(guard.Object, append([]string{"spec"}, strings.Split(path, ".")...)...)
		if err != nil {
			t.Fatal(err)
		}
		if found {
			modes[path] = mode
		}
	}
	return modes
}

func TestProfiles(t *testing.T) {
	strictness := []string{"Off", "Audit", "Warn", "Enforce"}
	paths := modesInCRD(t)
	if len(paths) < 8 {
		t.Fatalf("only %v are modes", paths)
	}
	var before map[string]string
	for _, profile := range []string{"audit-only", "standard", "strict"} {
		guard := guardOf(t, `{profile: `+profile+`, guard: {create: true}}`)
		modes := modesOf(t, guard)
		if got := slices.Sorted(maps.Keys(modes)); !slices.Equal(got, paths) {
			t.Errorf("%s: says nothing of a mode\n%v\nwant\n%v", profile, got, paths)
		}
		for path, mode := range modes {
			switch profile {
			case "audit-only":
				if mode != "Audit" {
					t.Errorf("%s: %s is %s", profile, path, mode)
				}
			case "strict":
				if mode != "Enforce" {
					t.Errorf("%s: %s is %s", profile, path, mode)
				}
			}
			if before != nil && slices.Index(strictness, mode) < slices.Index(strictness, before[path]) {
				t.Errorf("%s: %s is %s, laxer than %s", profile, path, mode, before[path])
			}
		}
		if before != nil && maps.Equal(before, modes) {
			t.Errorf("%s is as strict as the one before", profile)
		}
		before = modes
		mounts, _, err := unstructured.NestedBool(guard.Object, "spec", "defaultAccount", "disableTokenMount")
		if err != nil || mounts != (profile == "strict") {
			t.Errorf("%s: disableTokenMount %v, %v", profile, mounts, err)
		}

		want := "Fail"
		if profile == "audit-only" {
			want = "Ignore"
		}
		for _, hook := range hooks(t, render(t, `{profile: `+profile+`}`)) {
			if got := string(*hook.GetFailurePolicy()); got != want {
				t.Errorf("%s: %s has failurePolicy %s", profile, hook.GetName(), got)
			}
		}
		for _, hook := range hooks(t, render(t, `{profile: `+profile+`, webhook: {failurePolicy: {validating: Fail, mutating: Ignore}}}`)) {
			given := "Fail"
			if hook.GetType() == "admit" {
				given = "Ignore"
			}
			if got := string(*hook.GetFailurePolicy()); got != given {
				t.Errorf("%s: %s has failurePolicy %s in the place of what was given", profile, hook.GetName(), got)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "files/guards/*.yaml"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v: a file of no profile, or a profile without file", files, err)
	}
}

func TestProfileIsStandardUnlessAskedOtherwise(t *testing.T) {
	if got, want := guardOf(t, `{guard: {create: true}}`).Object["spec"], guardOf(t, `{profile: standard, guard: {create: true}}`).Object["spec"]; !equalJSON(t, got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := yaml.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

func TestSpecOfTheGuardIsLaidOverTheProfile(t *testing.T) {
	guard := guardOf(t, `{profile: strict, guard: {create: true, name: ours, spec: {namespaceSelector: {matchLabels: {a: b}}, labels: {keys: [role], fromPolicies: false}, workloads: {connect: "Off"}}}}`)
	if guard.GetName() != "ours" {
		t.Errorf("named %s", guard.GetName())
	}
	modes := modesOf(t, guard)
	if modes["workloads.connect"] != "Off" || modes["workloads.mode"] != "Enforce" || modes["labels.mode"] != "Enforce" {
		t.Errorf("modes %v", modes)
	}
	keys, _, err := unstructured.NestedStringSlice(guard.Object, "spec", "labels", "keys")
	fromPolicies, _, err2 := unstructured.NestedBool(guard.Object, "spec", "labels", "fromPolicies")
	if err != nil || err2 != nil || !slices.Equal(keys, []string{"role"}) || fromPolicies {
		t.Errorf("keys %v, fromPolicies %v, %v, %v", keys, fromPolicies, err, err2)
	}
}

// TestGuardNeedsItsCRD: Helm cannot make an object whose kind the cluster gets by the same installation.
func TestGuardNeedsItsCRD(t *testing.T) {
	served := []string{"saguard.io/v1alpha1/ServiceAccountGuard"}
	tests := map[string]struct {
		options Options
		refused bool
	}{
		"a first installation":                  {options: Options{Live: true}, refused: true},
		"the CRDs are from an installation ago": {options: Options{Live: true, APIs: served}},
		"an upgrade":                            {options: Options{Live: true, Upgrade: true}},
		"helm template, which knows no cluster": {options: Options{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Render(dir, valuesOf(t, `{guard: {create: true}}`), test.options)
			if refused := err != nil && strings.Contains(err.Error(), "guard.create: the cluster does not know"); refused != test.refused || (err != nil) != test.refused {
				t.Errorf("refused %v, want %v: %v", refused, test.refused, err)
			}
		})
	}
	for _, object := range render(t, "").Objects {
		if object.GetKind() == "ServiceAccountGuard" {
			t.Error("a guard that nobody asked for")
		}
	}
}

func TestNotesOfProfiles(t *testing.T) {
	tests := map[string]struct {
		values   string
		want     []string
		wantNone []string
	}{
		"default":        {want: []string{"Nothing is enforced until", "guard.create=true", "failurePolicy Fail", "helm test saguard"}, wantNone: []string{"WARNING"}},
		"audit-only":     {values: `{profile: audit-only}`, want: []string{"WARNING", "profile audit-only"}},
		"with a guard":   {values: `{guard: {create: true, name: ours}}`, want: []string{"ServiceAccountGuard ours is in force"}, wantNone: []string{"Nothing is enforced until"}},
		"without a test": {values: `{hooks: {test: false}}`, wantNone: []string{"helm test"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			notes := render(t, test.values).Notes
			for _, want := range test.want {
				if !strings.Contains(notes, want) {
					t.Errorf("the notes do not say %q", want)
				}
			}
			for _, none := range test.wantNone {
				if strings.Contains(notes, none) {
					t.Errorf("the notes say %q", none)
				}
			}
		})
	}
}
