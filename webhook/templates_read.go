package webhook

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
)

// Sighting says whether the path of a workload template that a guard names led to a pod template in a live object.
type Sighting struct {
	Template v1alpha1.WorkloadTemplate
	Found    bool
}

// decodeTemplates reads the pod templates of built-in workloads, and of the custom kinds that guards name.
func (f *Facts) decodeTemplates() error {
	b, builtin := builtinTemplate(f.groupResource())
	named := f.namedTemplates()
	if builtin && f.Subresource != "" || !builtin && len(named) == 0 {
		return nil
	}
	if err := f.needs(len(f.Object) > 0, len(f.OldObject) > 0); err != nil {
		return err
	}
	if builtin {
		if err := f.decodeOwner(); err != nil {
			return err
		}
		found, err := f.templatesAt(b.Path, b.reader())
		if err != nil {
			return err
		}
		if !found && !b.Opaque {
			return fmt.Errorf("%s without a pod template at %s", b.Kind, strings.Join(b.Path, "."))
		}
	}
	for _, t := range named {
		found, err := f.templatesAt(strings.Split(t.Path, "."), reader{read: readCustom, opaque: true})
		if err != nil {
			return err
		}
		f.Sightings = append(f.Sightings, Sighting{Template: t, Found: found})
	}
	return nil
}

// decodeOwner finds out whether a built-in controller makes the object of a template.
func (f *Facts) decodeOwner() error {
	if f.Operation != admissionv1.Create || !identity.IsTemplateController(f.Subject.User) {
		return nil
	}
	var object *struct {
		Metadata struct {
			OwnerReferences []ownerReference `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if err := decodeObject(f.Object, "object", &object); err != nil {
		return err
	}
	if object == nil {
		return fmt.Errorf("%s without object", f.Operation)
	}
	f.FromTemplate = identity.CreatesFromTemplates(f.Subject.User, creation(f.groupResource(), object.Metadata.OwnerReferences))
	return nil
}

// namedTemplates returns the pod templates that guards name for the object's kind, each once.
func (f *Facts) namedTemplates() []v1alpha1.WorkloadTemplate {
	var out []v1alpha1.WorkloadTemplate
	for _, t := range f.Guards.Templates() {
		if t.APIGroup == f.Resource.Group && t.Kind == f.Kind && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// reader reads the JSON at the path of a template. It sets now, bare and partial; without now, what is there is no pod template.
type reader struct {
	read func(raw []byte) (template, error)
	// opaque says that the API server has not validated what is there, so that an error is the writer's.
	opaque bool
}

func (r reader) at(v value) (template, error) {
	t, err := r.read(v.raw)
	if err == nil {
		return t, nil
	}
	err = fmt.Errorf("decode %s: %w", v.path, err)
	if r.opaque {
		t, err = template{unreadable: err}, nil
	}
	return t, err
}

// templatesAt appends the templates at path that the request changes, in anything at all; was is then what stood at the same
// place. found says whether there is any, changed or not.
func (f *Facts) templatesAt(path []string, r reader) (found bool, err error) {
	now, err := valuesAt(f.Object, path)
	if err != nil {
		return false, err
	}
	before := map[string]json.RawMessage{}
	if !isNull(f.OldObject) {
		was, err := valuesAt(f.OldObject, path)
		if err != nil {
			return false, err
		}
		for _, v := range was {
			before[v.path.String()] = v.raw
		}
	}
	for _, v := range now {
		old, had := before[v.path.String()]
		if had && sameJSON(v.raw, old) {
			found = true
			continue
		}
		t, err := r.at(v)
		if err != nil {
			return false, err
		}
		if t.now == nil && t.unreadable == nil {
			continue
		}
		found = true
		t.path, t.changed, t.spec = v.path, true, v.path
		if !t.bare {
			t.spec = v.path.Child("spec")
		}
		if had {
			was, err := r.at(value{path: v.path, raw: old})
			if err != nil {
				return false, err
			}
			t.was = was.now // nil if it cannot be read: all of the new one is then new
		}
		f.Templates = append(f.Templates, t)
	}
	return found, nil
}

func (b *BuiltinTemplate) reader() reader {
	if b.Opaque {
		return reader{read: readRevision, opaque: true}
	}
	return reader{read: func(raw []byte) (template, error) {
		v := &podView{}
		return template{now: v}, kjson.UnmarshalCaseSensitivePreserveInts(raw, v)
	}}
}

// readCustom reads an object with a pod spec under "spec", or one that has the fields of a pod spec itself.
func readCustom(raw []byte) (template, error) {
	if kindOf(raw) != '{' {
		return template{}, nil
	}
	var shape struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &shape); err != nil {
		return template{}, err
	}
	t := template{now: &podView{}, bare: isNull(shape.Spec)}
	var err error
	if t.bare {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &t.now.Spec)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, t.now)
	}
	if err != nil {
		return template{}, err
	}
	return t, nil
}

// readRevision reads the patch of a ControllerRevision: the StatefulSet controller merges it into its set's template
// (k8s.io/kubernetes pkg/controller/statefulset ApplyRevision), where its own revisions replace it. Other controllers keep
// what they like there; what says nothing about accounts and containers is none of a pod.
func readRevision(raw []byte) (template, error) {
	if kindOf(raw) != '{' {
		return template{}, nil
	}
	var patch struct {
		Directive string                     `json:"$patch"`
		Spec      map[string]json.RawMessage `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &patch); err != nil {
		return template{}, err
	}
	pod := false
	for _, name := range []string{fieldAccountName, fieldDeprecatedAccount, "containers", "initContainers", "ephemeralContainers"} {
		_, has := patch.Spec[name]
		pod = pod || has
	}
	if !pod {
		return template{}, nil
	}
	v := &podView{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, v); err != nil {
		return template{}, err
	}
	return template{now: v, partial: patch.Directive != "replace"}, nil
}
