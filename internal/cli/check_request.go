package cli

import (
	"encoding/json"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

// newSubject is the user as the API server would see them: everybody who is authenticated is in a group of that name, and service
// accounts are in those of all accounts and of their namespace.
func newSubject(user string, groups []string) identity.Subject {
	s := identity.Subject{User: user, Groups: slices.Clone(groups)}
	if a, err := identity.ParseUsername(user); err == nil {
		s.Groups = append(s.Groups, a.Groups()...)
	}
	s.Groups = append(s.Groups, "system:authenticated")
	slices.Sort(s.Groups)
	s.Groups = slices.Compact(s.Groups)
	return s
}

// checkItem is a manifest on its way to the checks.
type checkItem struct {
	manifest
	resource   schema.GroupVersionResource
	namespaced bool
}

// newItem finds the resource, and puts the object into namespace if it lives in one and names none, as `kubectl apply -n` would.
func newItem(m manifest, find resourceOf, namespace string) (checkItem, error) {
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
	r := &webhook.Request{
		UID: "offline", Operation: admissionv1.Create, DryRun: true, Subject: subject,
		Resource: i.resource, Kind: i.GetKind(), Namespace: i.GetNamespace(), Name: i.GetName(),
	}
	if i.resource.GroupResource() == (schema.GroupResource{Resource: "namespaces"}) {
		r.Namespace = r.Name // as the API server does
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("%s: encode %s: %w", i.source, i.describe(), err)
	}
	r.Object = raw
	if old == nil {
		return r, nil
	}
	r.Operation = admissionv1.Update
	if r.OldObject, err = json.Marshal(old); err != nil {
		return nil, fmt.Errorf("%s: encode %s of the cluster: %w", i.source, i.describe(), err)
	}
	return r, nil
}

// withoutServerFields drops what a manifest that was taken from a cluster brings along and an API server sets itself.
func withoutServerFields(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, name := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", name)
	}
	return o
}
