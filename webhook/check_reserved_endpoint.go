package webhook

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/policy/hygiene"
)

const ruleProfile = "through a profile of that name it would have the labels of a service account or of a namespace, as if it were a pod"

// reservedOfEndpoints is check reserved-label on network sets and host endpoints, which policies take for endpoints (hole F5):
// on their labels, on those in the annotation that Calico's store has them in, and on profiles that would give them labels.
func reservedOfEndpoints(f *Facts, mode v1alpha1.Mode) []Finding {
	if f.EndpointSet == nil {
		return nil
	}
	out := reservedFindings(mode, nil, f.EndpointSet.labels(), f.OldEndpointSet.labels())
	if f.Resource.Group == groupStore {
		out = append(out, reservedInStore(mode, f.EndpointSet, f.OldEndpointSet)...)
	}
	had := f.OldEndpointSet.inherited()
	for _, p := range f.EndpointSet.inherited() {
		if !slices.Contains(had, p) {
			out = append(out, Finding{Mode: mode, Field: field.NewPath("spec", "profiles"), Attempt: "give it profile " + p, Rule: ruleProfile})
		}
	}
	return out
}

func reservedInStore(mode v1alpha1.Mode, now, was *endpointSet) []Finding {
	const key = hygiene.MetadataAnnotation
	if was != nil && was.Metadata.Annotations[key] == now.Metadata.Annotations[key] {
		return nil
	}
	path := field.NewPath("metadata", "annotations").Key(key)
	labels, err := now.stored()
	if err != nil {
		return []Finding{{Mode: mode, Field: path, Attempt: "write metadata that does not parse", Rule: err.Error()}}
	}
	had, err := was.stored()
	if err != nil {
		had = nil // fails closed: every label counts as new
	}
	out := reservedFindings(mode, nil, labels, had)
	for i := range out {
		out[i].Field = path
	}
	return out
}
