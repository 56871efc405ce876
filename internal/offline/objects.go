package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/saguard/saguard/policy"
)

// Objects are API objects on the way to a snapshot. The zero value is empty.
type Objects struct {
	resources    []policy.Resource
	problems     []policy.Problem
	notEndpoints map[string]string
	seen         map[policy.Ref]string
	assumed      []string
	// Ignored counts the objects of kinds that policy does not speak of, by "apiVersion kind".
	Ignored map[string]int
}

// maxListDepth bounds lists in lists.
const maxListDepth = 4

// Add decodes and parses the JSON of one object, or of a list of them. where names the object's origin for error
// messages. Kinds that policy does not speak of are counted in Ignored. An error means that the object cannot be read;
// a second object of the same identity is an error as well, as nobody can say which of them counts.
func (o *Objects) Add(where string, raw []byte, sem policy.Semantics) error {
	return o.add(where, raw, sem, 0)
}

func (o *Objects) add(where string, raw []byte, sem policy.Semantics, depth int) error {
	var list struct {
		APIVersion string             `json:"apiVersion"`
		Kind       string             `json:"kind"`
		Items      *[]json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("%s: decode object: %w", where, err)
	}
	if list.Items != nil {
		if depth == maxListDepth {
			return fmt.Errorf("%s: lists nested deeper than %d", where, maxListDepth)
		}
		var errs []error
		for i, item := range *list.Items {
			item = withTypeOf(item, list.APIVersion, list.Kind)
			errs = append(errs, o.add(fmt.Sprintf("%s: items[%d]", where, i), item, sem, depth+1))
		}
		return errors.Join(errs...)
	}
	object, err := policy.Decode(raw)
	if errors.Is(err, policy.ErrUnknownKind) {
		if o.Ignored == nil {
			o.Ignored = map[string]int{}
		}
		o.Ignored[list.APIVersion+" "+list.Kind]++
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if err := o.once(where, list.Kind, object); err != nil {
		return err
	}
	resource, problems := policy.Parse(object, sem)
	o.problems = append(o.problems, problems...)
	if resource != nil {
		o.resources = append(o.resources, resource)
	}
	if pod, ok := object.Value.(*corev1.Pod); ok && resource == nil {
		if o.notEndpoints == nil {
			o.notEndpoints = map[string]string{}
		}
		why := policy.WhyNotEndpoint(pod, sem)
		if why == "" {
			why = "has an address that does not parse"
		}
		o.notEndpoints[pod.Namespace+"/"+pod.Name] = why
	}
	return nil
}

// once refuses a second object of the same kind, namespace and name. Calico's two groups hold the same objects, so they
// count as one kind.
func (o *Objects) once(where, kind string, object policy.Object) error {
	ref := policy.Ref{Kind: fmt.Sprintf("%T", object.Value), Namespace: object.Value.GetNamespace(), Name: object.Value.GetName()}
	if first, ok := o.seen[ref]; ok {
		return fmt.Errorf("%s: %s is also in %s", where, policy.Ref{Kind: kind, Namespace: ref.Namespace, Name: ref.Name}, first)
	}
	if o.seen == nil {
		o.seen = map[policy.Ref]string{}
	}
	o.seen[ref] = where
	return nil
}

// withTypeOf gives an item of a typed list ("PodList") the kind that the list says, if it has none of its own.
func withTypeOf(item json.RawMessage, apiVersion, kind string) json.RawMessage {
	const suffix = "List"
	if len(kind) <= len(suffix) || kind[len(kind)-len(suffix):] != suffix {
		return item
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(item, &fields) != nil || fields == nil || fields["kind"] != nil {
		return item
	}
	typed := map[string]any{"apiVersion": apiVersion, "kind": kind[:len(kind)-len(suffix)]}
	for name, value := range fields {
		typed[name] = value
	}
	out, err := json.Marshal(typed)
	if err != nil {
		return item // which is then refused for want of a kind
	}
	return out
}

// AssumeNamespaces adds the namespaces that pods are in and that are not among the objects: manifests rarely hold them,
// but no pod is without. They have the one label that the API server gives each. A scenario is complete, and there a
// missing namespace is a deleted one, in which nothing is allowed that no policy allows.
func (o *Objects) AssumeNamespaces() {
	have, need := map[string]bool{}, map[string]bool{}
	for _, r := range o.resources {
		switch r := r.(type) {
		case *policy.Namespace:
			have[r.Name] = true
		case *policy.Workload:
			need[r.Namespace] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(need)) {
		if !have[name] {
			o.assumed = append(o.assumed, name)
			o.resources = append(o.resources, &policy.Namespace{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}})
		}
	}
}

// Problems are what did not parse in the objects, in the order they were added.
func (o *Objects) Problems() []policy.Problem { return o.problems }

// Snapshot puts the objects together.
func (o *Objects) Snapshot(sem policy.Semantics) *policy.Snapshot {
	return policy.NewSnapshot(0, sem, o.resources)
}

// whyNot says why a pod is no endpoint, "" if there is none of that name.
func (o *Objects) whyNot(namespace, name string) string { return o.notEndpoints[namespace+"/"+name] }
