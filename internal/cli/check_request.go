package cli

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/webhook"
)

// checkItem is a manifest on its way to the checks.
type checkItem struct {
	manifest
	resource   schema.GroupVersionResource
	namespaced bool
}

// newItem finds the resource, and puts the object into namespace if it lives in one and names none, as `kubectl apply -n` would.
func newItem(m manifest, find request.ResourceOf, namespace string) (checkItem, error) {
	if m.GetKind() == "" || m.GetAPIVersion() == "" {
		return checkItem{}, fmt.Errorf("%s: object without apiVersion or kind", m.source)
	}
	resource, namespaced, err := find(m.GroupVersionKind())
	if err != nil {
		return checkItem{}, fmt.Errorf("%s: %s: %w", m.source, m.describe(), err)
	}
	if m.GetName() == "" && m.GetGenerateName() == "" {
		return checkItem{}, fmt.Errorf("%s: %s has neither name nor generateName", m.source, m.describe())
	}
	switch {
	case namespaced && m.GetNamespace() == "":
		m = manifest{Unstructured: m.DeepCopy(), source: m.source}
		m.SetNamespace(namespace)
	case !namespaced && m.GetNamespace() != "":
		// kubectl and the API server ignore it.
		m = manifest{Unstructured: m.DeepCopy(), source: m.source}
		m.SetNamespace("")
	}
	return checkItem{manifest: m, resource: resource, namespaced: namespaced}, nil
}

// request is what the API server would ask the webhook: an UPDATE of old if that is given, a CREATE if it is nil.
func (i *checkItem) request(subject identity.Subject, object, old *unstructured.Unstructured) (*webhook.Request, error) {
	r, err := request.New(i.resource, subject, object, old)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", i.source, i.describe(), err)
	}
	return r, nil
}
