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
	read      []*readObject
	seen      map[policy.Ref]*readObject
	workloads []workload // as they are ignored; see ReadTemplates
	templates []*podTemplate
	assumed   []policy.Resource
	standIns  []string
	// Ignored counts the objects of kinds that policy does not speak of, by "apiVersion kind".
	Ignored map[string]int
}

// readObject is one object after parsing.
type readObject struct {
	key      policy.Ref // as once compares it
	identity policy.Ref // key with the name that Calico's API has for what its store has
	where    string
	resource policy.Resource // nil if it has no effect
	problems []policy.Problem
	pod      *corev1.Pod // if it is one
	why      string      // of a pod: why it is no endpoint
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
		if makesPods(list.APIVersion, list.Kind) {
			o.workloads = append(o.workloads, workload{where, list.APIVersion, list.Kind, slices.Clone(raw)})
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	read := newRead(where, object, sem)
	if first := o.seen[read.key]; first != nil {
		return fmt.Errorf("%s: %s is also in %s", where, policy.Ref{Kind: list.Kind, Namespace: read.key.Namespace, Name: read.key.Name}, first.where)
	}
	o.put(read)
	return nil
}

// newRead parses an object. Its key has no API group for Calico's two, which hold the same objects and count as one kind.
func newRead(where string, object policy.Object, sem policy.Semantics) *readObject {
	out := &readObject{
		key:   policy.Ref{Kind: fmt.Sprintf("%T", object.Value), Namespace: object.Value.GetNamespace(), Name: object.Value.GetName()},
		where: where,
	}
	out.resource, out.problems = policy.Parse(object, sem)
	out.identity = out.key
	if p, ok := out.resource.(*policy.Policy); ok && object.CRD {
		out.identity.Name = p.ID.Name
	}
	if pod, ok := object.Value.(*corev1.Pod); ok {
		out.pod = pod
		if out.resource == nil {
			if out.why = policy.WhyNotEndpoint(pod, sem); out.why == "" {
				out.why = "has an address that does not parse"
			}
		}
	}
	return out
}

func (o *Objects) put(read *readObject) {
	if o.seen == nil {
		o.seen = map[policy.Ref]*readObject{}
	}
	o.seen[read.key] = read
	o.read = append(o.read, read)
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
// but no pod is without. They have the one label that the API server gives each, and so has now every other. A scenario is complete, and there a
// missing namespace is a deleted one, in which nothing is allowed that no policy allows.
func (o *Objects) AssumeNamespaces() {
	for _, read := range o.read {
		if n, ok := read.resource.(*policy.Namespace); ok && n.Labels[corev1.LabelMetadataName] != n.Name {
			labels := map[string]string{}
			maps.Copy(labels, n.Labels)
			labels[corev1.LabelMetadataName] = n.Name
			read.resource = &policy.Namespace{Name: n.Name, Labels: labels}
		}
	}
	have, need := map[string]bool{}, map[string]bool{}
	for _, r := range o.resources() {
		switch r := r.(type) {
		case *policy.Namespace:
			have[r.Name] = true
		case *policy.Workload:
			need[r.Namespace] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(need)) {
		if !have[name] {
			o.assumed = append(o.assumed, &policy.Namespace{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}})
		}
	}
}

func (o *Objects) resources() []policy.Resource {
	var out []policy.Resource
	for _, read := range o.read {
		if read.resource != nil {
			out = append(out, read.resource)
		}
	}
	return append(out, o.assumed...)
}

// Problems are what did not parse in the objects, in the order they were added.
func (o *Objects) Problems() []policy.Problem {
	var out []policy.Problem
	for _, read := range o.read {
		out = append(out, read.problems...)
	}
	return out
}

// Snapshot puts the objects together.
func (o *Objects) Snapshot(sem policy.Semantics) *policy.Snapshot {
	return policy.NewSnapshot(0, sem, o.resources())
}

// whyNot says why a pod is no endpoint, "" if there is none of that name.
func (o *Objects) whyNot(namespace, name string) string {
	read := o.seen[policy.Ref{Kind: "*v1.Pod", Namespace: namespace, Name: name}]
	if read == nil {
		return ""
	}
	return read.why
}
