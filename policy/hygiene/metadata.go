package hygiene

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// MetadataAnnotation holds the v3 metadata of a crd.projectcalico.org/v1
	// object (libcalico-go/lib/backend/k8s/resources/customresource.go).
	MetadataAnnotation = "projectcalico.org/metadata"
	// tierLabel is written over by Calico's defaulting, whatever the user sent.
	tierLabel = "projectcalico.org/tier"
	// maxAnnotations is the total of keys and values in bytes.
	maxAnnotations = 256 << 10
)

func (c *checker) metadata(p *view) {
	path := field.NewPath("metadata")
	c.name(path, p)
	c.labels(path.Child("labels"), p.object.GetLabels())
	c.annotations(path.Child("annotations"), p.object.GetAnnotations())
	if p.crd {
		c.embedded(path.Child("annotations").Key(MetadataAnnotation), p.object.GetAnnotations()[MetadataAnnotation])
	}
}

// name: the API server appends to generateName only after mutating admission.
func (c *checker) name(path *field.Path, p *view) {
	name := p.object.GetName()
	path = path.Child("name")
	if name == "" && p.object.GetGenerateName() != "" {
		name, path = p.object.GetGenerateName()+"x", field.NewPath("metadata", "generateName")
	}
	if why := whyNotPolicyName(name, p.global); why != "" {
		c.fail(field.Invalid(path, brief(name), why))
	}
}

// whyNotPolicyName returns "" for a policy's name. Calico allows one dot, behind
// a tier's name, and for namespaced policies the prefixes of its own conversions.
func whyNotPolicyName(name string, global bool) string {
	if len(name) > validation.DNS1123SubdomainMaxLength {
		return "must be no more than 253 bytes"
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "must consist of lower case letters, digits, '-' and '.', and start and end with a letter or digit"
	}
	for _, prefix := range []string{"knp.default.", "ossg.default."} {
		if !global && strings.HasPrefix(name, prefix) {
			return ""
		}
	}
	if strings.Count(name, ".") > 1 {
		return "must have at most one '.', between a tier's name and the policy's"
	}
	return ""
}

func (c *checker) labels(path *field.Path, labels map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == tierLabel {
			continue
		}
		for _, why := range validation.IsQualifiedName(k) {
			c.fail(field.Invalid(path, brief(k), "not a label key: "+why))
		}
		for _, why := range validation.IsValidLabelValue(labels[k]) {
			c.fail(field.Invalid(path.Key(brief(k)), brief(labels[k]), "not a label value: "+why))
		}
	}
}

func (c *checker) annotations(path *field.Path, annotations map[string]string) {
	total := 0
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		for _, why := range validation.IsQualifiedName(strings.ToLower(k)) {
			c.fail(field.Invalid(path, brief(k), "not an annotation key: "+why))
		}
		total += len(k) + len(annotations[k])
	}
	if total > maxAnnotations {
		c.fail(field.TooLong(path, "", maxAnnotations))
	}
}

// embedded checks the metadata that Calico will read instead of the object's.
func (c *checker) embedded(path *field.Path, text string) {
	if text == "" {
		return
	}
	var meta metav1.ObjectMeta
	if err := json.Unmarshal([]byte(text), &meta); err != nil {
		c.strict(DivergenceEmbeddedMetadata, field.Invalid(path, brief(text), "not metadata in JSON: "+err.Error()))
		return
	}
	inner := &checker{}
	inner.labels(path.Child("labels"), meta.Labels)
	inner.annotations(path.Child("annotations"), meta.Annotations)
	for _, f := range inner.found {
		c.strict(DivergenceEmbeddedMetadata, f.err)
	}
}
