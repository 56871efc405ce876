package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/saguard/saguard/internal/request"
)

// applied returns what `kubectl apply` of the manifest makes of the live object: what the manifest says, less what the last apply said
// and this one does not, and all the rest as it is. Built-in kinds are merged by the keys of their lists, others as plain JSON.
func applied(m, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	modified, err := json.Marshal(request.WithoutServerFields(m))
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, fmt.Errorf("encode live object: %w", err)
	}
	original := []byte(live.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	merged, err := merge(m, original, modified, current)
	if err != nil {
		return nil, fmt.Errorf("merge manifest into the live object: %w", err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(merged); err != nil {
		return nil, fmt.Errorf("decode merged object: %w", err)
	}
	return out, nil
}

func merge(m *unstructured.Unstructured, original, modified, current []byte) ([]byte, error) {
	typed, err := scheme.Scheme.New(m.GroupVersionKind())
	if runtime.IsNotRegisteredError(err) {
		if len(original) == 0 {
			original = []byte("{}")
		}
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current)
		if err != nil {
			return nil, err
		}
		return jsonpatch.MergePatch(current, patch)
	}
	if err != nil {
		return nil, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, schema, true)
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(current, patch, typed)
	if err == nil && len(merged) == 0 {
		err = errors.New("empty result")
	}
	return merged, err
}
