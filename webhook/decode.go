package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
)

// decode reads the objects of the request into the views that checks use. Field names are compared exactly, as the API
// server writes them.
func (f *Facts) decode() error {
	switch gr := f.groupResource(); {
	case gr == resourceServiceAccounts && f.Subresource == "":
		return decodePair(f, &f.Account, &f.OldAccount)
	case gr == resourceGuards:
		return decodeObject(f.Object, "object", &f.Guard)
	case gr == resourceBands:
		return decodeObject(f.Object, "object", &f.Band)
	case isCalicoPolicy(gr) && f.Subresource == "":
		return f.decodePolicy()
	case f.Operation == admissionv1.Delete || f.Operation == admissionv1.Connect:
		return nil // nothing below looks at what is deleted, and a CONNECT's object is only options
	case gr == resourceServiceAccounts && f.Subresource == subresourceToken:
		return decodeNew(f, &f.TokenRequest)
	case gr == resourcePodCertificates && f.Subresource == "":
		return decodeNew(f, &f.PodCertificate)
	case gr == resourceSecrets && f.Subresource == "":
		return decodePair(f, &f.Secret, &f.OldSecret)
	case gr == resourceNamespaces && (f.Subresource == "" || slices.Contains(RelabellingNamespaceSubresources(), f.Subresource)):
		return decodePair(f, &f.NamespaceObject, &f.OldNamespaceObject)
	case (gr == resourceRoleBindings || gr == resourceClusterRoleBindings) && f.Subresource == "":
		return decodePair(f, &f.Binding, &f.OldBinding)
	case isEndpointSet(gr) && f.Subresource == "":
		return decodePair(f, &f.EndpointSet, &f.OldEndpointSet)
	case gr == resourcePods && f.Subresource == "":
		return f.decodePod()
	case gr == resourcePods && slices.Contains(RelabellingPodSubresources(), f.Subresource), gr == resourceBindings && f.Subresource == "":
		return decodePair(f, &f.Relabelled, &f.OldRelabelled)
	case gr == resourcePods && f.Subresource == subresourceEphemeralContainers:
		return f.decodeEphemeralContainers()
	default:
		return f.decodeTemplates()
	}
}

func (f *Facts) decodePod() error {
	t := template{spec: field.NewPath("spec")}
	if err := decodePair(f, &t.now, &t.was); err != nil {
		return err
	}
	f.FromTemplate = f.Operation == admissionv1.Create &&
		identity.CreatesFromTemplates(f.Subject.User, creation(resourcePods, t.now.Metadata.OwnerReferences))
	t.changed = t.was == nil || !sameImages(&t.now.Spec, &t.was.Spec)
	f.Templates = []template{t}
	return nil
}

// decodeEphemeralContainers reads whom the pod runs as from the pod that is there, which the update cannot change.
func (f *Facts) decodeEphemeralContainers() error {
	type view struct {
		Spec struct {
			ServiceAccountName  string          `json:"serviceAccountName"`
			NodeName            string          `json:"nodeName"`
			EphemeralContainers json.RawMessage `json:"ephemeralContainers"`
		} `json:"spec"`
	}
	var now, was *view
	if err := decodePair(f, &now, &was); err != nil {
		return err
	}
	if was == nil {
		return fmt.Errorf("%s without oldObject", f.Operation)
	}
	f.Pod = decision.Known(identity.Pod{Account: was.Spec.ServiceAccountName, Node: was.Spec.NodeName})
	f.SamePod = sameJSON(orEmpty(now.Spec.EphemeralContainers), orEmpty(was.Spec.EphemeralContainers))
	return nil
}

func orEmpty(list json.RawMessage) []byte {
	if isNull(list) {
		return []byte("[]")
	}
	return list
}

func decodePair[T any](f *Facts, now, was **T) error {
	if err := errors.Join(decodeObject(f.Object, "object", now), decodeObject(f.OldObject, "oldObject", was)); err != nil {
		return err
	}
	return f.needs(*now != nil, *was != nil)
}

func decodeNew[T any](f *Facts, now **T) error {
	if err := decodeObject(f.Object, "object", now); err != nil {
		return err
	}
	return f.needs(*now != nil, true)
}

// needs refuses a request that lacks an object its operation always has: judged on half of it, a change could pass.
func (f *Facts) needs(object, oldObject bool) error {
	if !object && f.Operation != admissionv1.Delete {
		return fmt.Errorf("%s without object", f.Operation)
	}
	if !oldObject && f.Operation != admissionv1.Create {
		return fmt.Errorf("%s without oldObject", f.Operation)
	}
	return nil
}

func decodeObject[T any](raw []byte, what string, into **T) error {
	if isNull(raw) {
		return nil
	}
	v := new(T)
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	*into = v
	return nil
}
