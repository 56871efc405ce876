package chart

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestHelmDeletesTheRegistrationLast is why a hook has to do it first: Helm deletes the Service and the Deployment before the
// webhook configurations, and one that stops in between would leave the API server asking nobody, under failurePolicy Fail.
func TestHelmDeletesTheRegistrationLast(t *testing.T) {
	rendered, err := Render(dir, nil, Options{Uninstall: true, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	position := map[string]int{}
	for n, o := range rendered.Objects {
		position[o.GetKind()] = n
	}
	for _, registration := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, serving := range []string{"Service", "Deployment", "ClusterRoleBinding"} {
			if position[registration] <= position[serving] {
				t.Errorf("%s is deleted before %s: the hook is not needed any more", registration, serving)
			}
		}
		covered := slices.ContainsFunc(rendered.Hooks, func(o *unstructured.Unstructured) bool {
			text, err := o.MarshalJSON()
			return err == nil && o.GetKind() == "ClusterRole" && o.GetAnnotations()["helm.sh/hook"] == "pre-delete" &&
				strings.Contains(string(text), strings.ToLower(registration)+"s")
		})
		if !covered {
			t.Errorf("no hook before the deletion may delete a %s", registration)
		}
	}
	if slices.ContainsFunc(rendered.Objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "CustomResourceDefinition" }) {
		t.Error("CRDs are deleted, and every guard with them, though crds.keep is the default")
	}
}
