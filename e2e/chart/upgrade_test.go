package chart

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestHelmCertificateIsKeptByUpgrades: a new one at every upgrade would leave replicas whose certificate the API server
// does not trust until the nodes have refreshed the mounted Secret.
func TestHelmCertificateIsKeptByUpgrades(t *testing.T) {
	first := one[*corev1.Secret](t, render(t, cases["helm"]))
	tests := map[string]struct {
		change func(*corev1.Secret)
		kept   bool
	}{
		"complete":             {func(*corev1.Secret) {}, true},
		"of another name":      {func(s *corev1.Secret) { s.Name = "other" }, false},
		"of another namespace": {func(s *corev1.Secret) { s.Namespace = "other" }, false},
		"without the key":      {func(s *corev1.Secret) { delete(s.Data, "tls.key") }, false},
		"without the CA":       {func(s *corev1.Secret) { delete(s.Data, "ca.crt") }, false},
		"without any data":     {func(s *corev1.Secret) { s.Data = nil }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stored := first.DeepCopy()
			test.change(stored)
			upgraded, err := Render(dir, valuesOf(t, cases["helm"]), Options{cluster: clusterWith(stored), Upgrade: true})
			if err != nil {
				t.Fatal(err)
			}
			secret := one[*corev1.Secret](t, upgraded)
			if kept := bytes.Equal(secret.Data["tls.crt"], first.Data["tls.crt"]); kept != test.kept {
				t.Errorf("kept %v, want %v", kept, test.kept)
			}
			for _, config := range clientConfigs(t, upgraded) {
				if !bytes.Equal(config.CABundle, secret.Data["ca.crt"]) {
					t.Error("a caBundle is not the ca.crt of the Secret")
				}
			}
		})
	}
}

// readPrevious returns the objects that the previous release rendered.
func readPrevious(t *testing.T, name string) map[string]*unstructured.Unstructured {
	t.Helper()
	objects := map[string]*unstructured.Unstructured{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(readFile(t, "testdata/previous", name+".yaml")), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects[object.GetKind()+" "+object.GetName()] = object
	}
}

// TestValuesOfThePreviousReleaseAreStillValues: an upgrade with what was given before must neither be refused nor mean less. The
// default values of the previous release (testdata/previous/values.yaml) name all that could have been given.
func TestValuesOfThePreviousReleaseAreStillValues(t *testing.T) {
	previous, err := chartutil.ReadValuesFile("testdata/previous/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	current := documented(t)
	for _, path := range documentedIn(t, readFile(t, "testdata/previous/values.yaml")) {
		// A value may have become a section.
		if !slices.ContainsFunc(current, func(p string) bool { return p == path || strings.HasPrefix(p, path+".") }) {
			t.Errorf("%s is no value any more", path)
		}
	}
	for _, agent := range []bool{false, true} {
		given := chartutil.CoalesceTables(map[string]any{"agent": map[string]any{"enabled": agent}}, previous.AsMap())
		if _, err := Render(dir, given, Options{Upgrade: true}); err != nil {
			t.Errorf("agent %v: all that could be given before is refused: %v", agent, err)
		}
	}
	if _, err := Render(dir, map[string]any{"replicas": 1}, Options{Upgrade: true}); err == nil {
		t.Error("what never was a value is not refused, so this test could not fail")
	}
}

// TestUpgradeFromThePreviousRelease compares with what it rendered: nothing that Kubernetes lets nobody change may differ, pods that
// run must go on being selected, and what goes, goes on purpose.
func TestUpgradeFromThePreviousRelease(t *testing.T) {
	immutable := map[string][][]string{
		"Deployment":         {{"spec", "selector"}},
		"DaemonSet":          {{"spec", "selector"}},
		"ClusterRoleBinding": {{"roleRef"}},
		"RoleBinding":        {{"roleRef"}},
		"Secret":             {{"type"}},
		"Service":            {{"spec", "selector"}, {"spec", "type"}, {"spec", "clusterIP"}},
	}
	tests := map[string]struct {
		previous, values string
		gone             map[string]bool
	}{
		"the certificate of Helm kept": {previous: "default", values: `{certificates: {source: helm}}`},
		"with the agent":               {previous: "agent", values: `{certificates: {source: helm}, agent: {enabled: true}}`},
		// The webhook makes its certificate itself now, in a Secret of its own.
		"nothing given": {previous: "default", gone: map[string]bool{"Secret saguard-tls": true}},
	}
	for name, test := range tests {
		now := map[string]*unstructured.Unstructured{}
		for _, object := range render(t, test.values).Objects {
			now[object.GetKind()+" "+object.GetName()] = object
		}
		for key := range test.gone {
			if now[key] != nil {
				t.Errorf("%s: %s is still there", name, key)
			}
		}
		compared := 0
		for key, before := range readPrevious(t, test.previous) {
			after, ok := now[key]
			if !ok {
				if !test.gone[key] {
					t.Errorf("%s: %s is gone", name, key)
				}
				continue
			}
			if before.GetAPIVersion() != after.GetAPIVersion() || before.GetNamespace() != after.GetNamespace() {
				t.Errorf("%s: %s is %s in %q, and was %s in %q", name, key, after.GetAPIVersion(), after.GetNamespace(), before.GetAPIVersion(), before.GetNamespace())
			}
			for _, path := range immutable[before.GetKind()] {
				x, _, err := unstructured.NestedFieldNoCopy(before.Object, path...)
				y, _, err2 := unstructured.NestedFieldNoCopy(after.Object, path...)
				if err != nil || err2 != nil || !equalJSON(t, x, y) {
					t.Errorf("%s: %s: %v differs: %v, and was %v", name, key, path, y, x)
				}
				compared++
			}
		}
		if compared < 5 {
			t.Errorf("%s: only %d fields were compared", name, compared)
		}
	}
}
