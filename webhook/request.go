package webhook

import (
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/identity"
)

// Request is the part of an admission.k8s.io/v1 AdmissionRequest that decisions depend on.
type Request struct {
	UID       string
	Operation admissionv1.Operation
	// Resource is that of the object as it was sent to us; matchPolicy Equivalent converts others to it.
	Resource    schema.GroupVersionResource
	Subresource string
	Kind        string
	Namespace   string
	// Name is empty for a CREATE with generateName before the name is made.
	Name    string
	Subject identity.Subject
	DryRun  bool
	// Object and OldObject are the raw JSON; nil where the operation has none.
	Object, OldObject []byte
}

// maxBodyBytes is what an AdmissionReview can need: two objects of at most 3 MiB (the API server's limit of an object's JSON
// form, twice etcd's 1.5 MiB) and 1 MiB for the rest.
const maxBodyBytes = 7 << 20

// decodeReview reads an AdmissionReview. Field names are compared exactly, as the API server writes them.
func decodeReview(body []byte) (*Request, error) {
	var review admissionv1.AdmissionReview
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review); err != nil {
		return nil, fmt.Errorf("decode AdmissionReview: %w", err)
	}
	if review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview" {
		return nil, fmt.Errorf("decode AdmissionReview: got %s %s, want admission.k8s.io/v1 AdmissionReview", review.APIVersion, review.Kind)
	}
	r := review.Request
	if r == nil || r.UID == "" {
		return nil, fmt.Errorf("decode AdmissionReview: no request with a uid")
	}
	req := &Request{
		UID:       string(r.UID),
		Operation: r.Operation,
		Resource: schema.GroupVersionResource{
			Group: r.Resource.Group, Version: r.Resource.Version, Resource: r.Resource.Resource,
		},
		Subresource: r.SubResource,
		Kind:        r.Kind.Kind,
		Namespace:   r.Namespace,
		Name:        r.Name,
		Subject:     identity.Subject{User: r.UserInfo.Username, UID: r.UserInfo.UID, Groups: r.UserInfo.Groups},
		DryRun:      r.DryRun != nil && *r.DryRun,
		Object:      r.Object.Raw,
		OldObject:   r.OldObject.Raw,
	}
	if len(r.UserInfo.Extra) > 0 {
		req.Subject.Extra = make(map[string][]string, len(r.UserInfo.Extra))
		for k, v := range r.UserInfo.Extra {
			req.Subject.Extra[k] = v
		}
	}
	return req, nil
}

func (r *Request) groupResource() schema.GroupResource { return r.Resource.GroupResource() }

func (r *Request) auditObject() audit.Object {
	return audit.Object{
		Group: r.Resource.Group, Resource: r.Resource.Resource, Subresource: r.Subresource,
		Namespace: r.Namespace, Name: r.Name,
	}
}
