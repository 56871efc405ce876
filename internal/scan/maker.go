package scan

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

const modeOff = v1alpha1.ModeOff

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// maker is who made an object, as far as it tells: the built-in controller of its owner, the kubelet of a mirror pod, and else nobody in
// particular. The fact is Unknown where the owner could not be looked up.
//
// An object that only says that it is owned is nobody's: there must be an owner of that uid, and a pod or a Job must run as its owner's template
// says. Anybody can write ownerReferences.
func (s *Scanner) maker(ctx context.Context, resource schema.GroupVersionResource, o *unstructured.Unstructured) (identity.Subject, decision.Fact[string]) {
	nobody := identity.Subject{}
	pod := resource.GroupResource() == schema.GroupResource{Resource: "pods"}
	if node, _, _ := unstructured.NestedString(o.Object, "spec", "nodeName"); pod && node != "" { //nolint:errcheck // not there is ""
		if _, mirrored := o.GetAnnotations()[corev1.MirrorPodAnnotationKey]; mirrored {
			return identity.Subject{User: "system:node:" + node, Groups: []string{"system:nodes", "system:authenticated"}}, decision.Absent[string]()
		}
	}
	ref := metav1.GetControllerOf(o)
	if ref == nil {
		return nobody, decision.Absent[string]()
	}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nobody, decision.Absent[string]() // of no group there is
	}
	user, ok := identity.TemplateController(identity.Creation{
		Group: resource.Group, Resource: resource.Resource, OwnerGroup: gv.Group, OwnerKind: ref.Kind,
	})
	if !ok {
		return nobody, decision.Absent[string]()
	}
	account := s.accountOfOwner(ctx, o.GetNamespace(), ref)
	runs, known := account.Get()
	if !known {
		return nobody, account
	}
	if own, is := accountOf(resource, o); is && runs != "" && own != runs && (pod || resource.Resource == "jobs") {
		return nobody, decision.Absent[string]()
	}
	subject := identity.Subject{User: user, Groups: []string{"system:authenticated"}}
	return subject, account
}

func (s *Scanner) accountOfOwner(ctx context.Context, namespace string, ref *metav1.OwnerReference) decision.Fact[string] {
	if a, seen := s.accounts[ref.UID]; seen && ref.UID != "" {
		return decision.Known(a)
	}
	found := s.options.Owner(ctx, namespace, Owner{APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name, UID: ref.UID})
	if why := found.WhyUnknown(); why != "" {
		return decision.Unknown[string](why)
	}
	owner, ok := found.Get()
	if !ok || owner.GetUID() != ref.UID {
		return decision.Absent[string]()
	}
	gvk := owner.GroupVersionKind()
	account, _ := accountOf(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}, owner)
	if ref.UID != "" {
		s.accounts[ref.UID] = account
	}
	return decision.Known(account)
}

// remember keeps whom the pods of a workload run as.
func (s *Scanner) remember(resource schema.GroupVersionResource, o *unstructured.Unstructured) {
	if o.GetUID() == "" || resource.Resource == "pods" || resource.Resource == "controllerrevisions" {
		return
	}
	if account, ok := accountOf(resource, o); ok {
		s.accounts[o.GetUID()] = account
	}
}

// accountOf is whom the pods of a built-in workload run as; false for all else, and "" where two spellings differ.
func accountOf(resource schema.GroupVersionResource, o *unstructured.Unstructured) (string, bool) {
	for _, b := range webhook.BuiltinTemplates() {
		if b.Group != resource.Group || b.Resource != resource.Resource {
			continue
		}
		at := append(slices.Clone(b.Path), "spec")
		name, _, _ := unstructured.NestedString(o.Object, append(slices.Clone(at), "serviceAccountName")...) //nolint:errcheck // what is no text is no account
		old, _, _ := unstructured.NestedString(o.Object, append(slices.Clone(at), "serviceAccount")...)      //nolint:errcheck // as above
		switch {
		case name == "" && old == "":
			return "default", true
		case name == "" || old == "" || name == old:
			return cmp.Or(name, old), true
		default:
			return "", true
		}
	}
	return "", false
}

// hasEnded reports a pod that runs as nobody any more.
func hasEnded(resource schema.GroupVersionResource, o *unstructured.Unstructured) bool {
	if resource.GroupResource() != (schema.GroupResource{Resource: "pods"}) {
		return false
	}
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase") //nolint:errcheck // not there is ""
	return phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed)
}
