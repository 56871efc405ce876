// Package request turns objects that no API server has sent, of manifests, of a cluster or of an audit log, into the admission requests that
// would bring them about. It is pure.
package request

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

// Subject is the user as the API server would see them: everybody who is authenticated is in a group of that name, and service
// accounts are in those of all accounts and of their namespace.
func Subject(user string, groups []string) identity.Subject {
	s := identity.Subject{User: user, Groups: slices.Clone(groups)}
	if a, err := identity.ParseUsername(user); err == nil {
		s.Groups = append(s.Groups, a.Groups()...)
	}
	s.Groups = append(s.Groups, "system:authenticated")
	slices.Sort(s.Groups)
	s.Groups = slices.Compact(s.Groups)
	return s
}

// New is what the API server would ask the webhook: an UPDATE of old if that is given, a CREATE if it is nil. resource is that of object.
func New(resource schema.GroupVersionResource, subject identity.Subject, object, old *unstructured.Unstructured) (*webhook.Request, error) {
	r := &webhook.Request{
		UID: "offline", Operation: admissionv1.Create, DryRun: true, Subject: subject,
		Resource: resource, Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(),
	}
	if resource.GroupResource() == (schema.GroupResource{Resource: "namespaces"}) {
		r.Namespace = r.Name // as the API server does
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	r.Object = raw
	if old == nil {
		return r, nil
	}
	r.Operation = admissionv1.Update
	if r.OldObject, err = json.Marshal(old); err != nil {
		return nil, fmt.Errorf("encode object of the cluster: %w", err)
	}
	return r, nil
}

// WithoutServerFields drops what an object that was taken from a cluster brings along and an API server sets itself.
func WithoutServerFields(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, name := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", name)
	}
	return o
}
