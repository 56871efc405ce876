package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// ErrUnknownKind says that an object is of a kind that policy does not speak of.
var ErrUnknownKind = errors.New("not a kind that network policy speaks of")

// annotationMetadata holds the metadata of an object in crd.projectcalico.org/v1, as JSON.
const annotationMetadata = "projectcalico.org/metadata"

// Groups and versions of Calico's objects.
const (
	calicoVersion    = "projectcalico.org/v3"
	calicoCRDVersion = "crd.projectcalico.org/v1"
)

// newValue returns an empty object of the kind, nil if there is none.
func newValue(apiVersion, kind string) metav1.Object {
	switch apiVersion {
	case "v1":
		switch kind {
		case "Namespace":
			return &corev1.Namespace{}
		case "ServiceAccount":
			return &corev1.ServiceAccount{}
		case "Pod":
			return &corev1.Pod{}
		}
	case "networking.k8s.io/v1":
		if kind == "NetworkPolicy" {
			return &networkingv1.NetworkPolicy{}
		}
	case calicoVersion, calicoCRDVersion:
		switch kind {
		case "NetworkPolicy":
			return &v3.NetworkPolicy{}
		case "GlobalNetworkPolicy":
			return &v3.GlobalNetworkPolicy{}
		case "Tier":
			return &v3.Tier{}
		case "NetworkSet":
			return &v3.NetworkSet{}
		case "GlobalNetworkSet":
			return &v3.GlobalNetworkSet{}
		case "StagedNetworkPolicy":
			return &v3.StagedNetworkPolicy{}
		case "StagedGlobalNetworkPolicy":
			return &v3.StagedGlobalNetworkPolicy{}
		case "StagedKubernetesNetworkPolicy":
			return &v3.StagedKubernetesNetworkPolicy{}
		}
	}
	return nil
}

// Decode decodes the JSON of one object, case-sensitively as the API server does. The error wraps ErrUnknownKind for a
// kind that does not matter here; any other error means that the object cannot be read at all, and no verdict should
// be given without it. A missing namespace of a namespaced kind becomes "default".
func Decode(raw []byte) (Object, error) {
	var meta metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &meta); err != nil {
		return Object{}, fmt.Errorf("decode object: %w", err)
	}
	if meta.Kind == "" || meta.APIVersion == "" {
		return Object{}, errors.New("decode object: apiVersion and kind are required")
	}
	return DecodeAs(meta.APIVersion, meta.Kind, raw)
}

// DecodeAs is [Decode] for an object whose kind is known, such as an item of a list, which need not say it.
func DecodeAs(apiVersion, kind string, raw []byte) (Object, error) {
	o := Object{Value: newValue(apiVersion, kind), CRD: apiVersion == calicoCRDVersion}
	if o.Value == nil {
		return Object{}, fmt.Errorf("decode %s %s: %w", apiVersion, kind, ErrUnknownKind)
	}
	strict, err := kjson.UnmarshalStrict(raw, o.Value)
	if err != nil {
		return Object{}, fmt.Errorf("decode %s %s: %w", apiVersion, kind, err)
	}
	if o.Value.GetName() == "" {
		return Object{}, fmt.Errorf("decode %s %s: metadata.name is required", apiVersion, kind)
	}
	for _, err := range strict {
		var path kjson.FieldError // an interface
		if !errors.As(err, &path) {
			return Object{}, fmt.Errorf("decode %s %s: %w", apiVersion, kind, err)
		}
		o.Unknown = append(o.Unknown, path.FieldPath())
	}
	if namespaced(o.Value) && o.Value.GetNamespace() == "" {
		o.Value.SetNamespace(metav1.NamespaceDefault)
	}
	return o, nil
}

func namespaced(o metav1.Object) bool {
	switch o.(type) {
	case *corev1.Namespace, *v3.GlobalNetworkPolicy, *v3.StagedGlobalNetworkPolicy, *v3.GlobalNetworkSet, *v3.Tier:
		return false
	}
	return true
}

// metadataLabels returns a copy of the object's labels; in crd.projectcalico.org/v1 they are in an annotation.
func metadataLabels(o Object) (map[string]string, field.ErrorList) {
	labels := o.Value.GetLabels()
	var errs field.ErrorList
	if text, ok := o.Value.GetAnnotations()[annotationMetadata]; ok && o.CRD {
		var meta metav1.ObjectMeta
		if err := json.Unmarshal([]byte(text), &meta); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations").Key(annotationMetadata), text, err.Error()))
		} else {
			labels = meta.Labels
		}
	}
	out := make(map[string]string, len(labels)+1)
	maps.Copy(out, labels)
	return out, errs
}
