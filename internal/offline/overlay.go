package offline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/saguard/saguard/policy"
)

// Overlay returns the objects after a change: an object of the change stands in the place of the one of its name, and is
// added if there is none. Of a pod, the change says what it is, and the address stays. Neither o nor change is changed.
func (o *Objects) Overlay(change *Objects, sem policy.Semantics) *Objects {
	out := &Objects{Ignored: map[string]int{}}
	for kind, n := range change.Ignored {
		out.Ignored[kind] += n
	}
	replaced := map[policy.Ref]bool{}
	for _, read := range change.read {
		replaced[read.identity] = true
	}
	for _, read := range o.read {
		if change.seen[read.key] == nil && !replaced[read.identity] {
			out.put(read)
		}
	}
	for _, read := range change.read {
		if old := o.seen[read.key]; old != nil && old.pod != nil && waits(read.pod) {
			pod := read.pod.DeepCopy()
			pod.Status = *old.pod.Status.DeepCopy()
			if pod.Spec.NodeName == "" {
				pod.Spec.NodeName = old.pod.Spec.NodeName
			}
			read = newRead(read.where, policy.Object{Value: pod}, sem)
		}
		out.put(read)
	}
	changed := map[string]bool{}
	for _, t := range change.templates {
		changed[t.String()] = true
	}
	for _, t := range o.templates {
		if !changed[t.String()] {
			out.templates = append(out.templates, t)
		}
	}
	out.templates = append(out.templates, change.templates...)
	return out
}

// Templates counts the workloads among the objects, by "Kind namespace/name".
func (o *Objects) Templates() []string {
	var out []string
	for _, t := range o.templates {
		out = append(out, t.String())
	}
	slices.Sort(out)
	return out
}

// Delete returns the objects without one: "kind/namespace/name", or "kind/name" of a cluster-scoped kind. kind is what
// kubectl takes, with its group where it is ambiguous: "networkpolicy.networking.k8s.io". One that is not there is an
// error. o is not changed.
func (o *Objects) Delete(name string) (*Objects, error) {
	parts := strings.Split(name, "/")
	kinds := deletable(parts[0])
	if len(kinds) == 0 || len(parts) < 2 || len(parts) > 3 {
		return nil, fmt.Errorf("delete %s: want KIND/NAMESPACE/NAME, or KIND/NAME of a cluster-scoped kind, with one of %s",
			name, strings.Join(slices.Sorted(maps.Keys(deletableKinds())), ", "))
	}
	key := policy.Ref{Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		key.Namespace = parts[1]
	}
	var found []policy.Ref
	for _, kind := range kinds {
		key.Kind = kind
		if o.seen[key] != nil {
			found = append(found, key)
			continue
		}
		for _, read := range o.read { // by the name that it has outside of Calico's store
			if read.identity == key {
				found = append(found, read.key)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("delete %s: %w", name, ErrNotThere)
	case 1:
	default:
		return nil, fmt.Errorf("delete %s: there is one of Kubernetes and one of Calico: want networkpolicy.networking.k8s.io or networkpolicy.projectcalico.org", name)
	}
	out := &Objects{Ignored: o.Ignored, templates: o.templates}
	for _, read := range o.read {
		if read.key != found[0] {
			out.put(read)
		}
	}
	return out, nil
}

// ErrNotThere says that an object that is to be deleted is not there.
var ErrNotThere = errors.New("there is no such object")

// deletableKinds are the names of kinds, and what they are once decoded.
func deletableKinds() map[string][]string {
	const kubernetes, calico = "*v1.NetworkPolicy", "*v3.NetworkPolicy"
	return map[string][]string{
		"namespace": {fmt.Sprintf("%T", &corev1.Namespace{})}, "serviceaccount": {fmt.Sprintf("%T", &corev1.ServiceAccount{})}, "pod": {fmt.Sprintf("%T", &corev1.Pod{})},
		"networkpolicy": {kubernetes, calico}, "networkpolicy.networking.k8s.io": {kubernetes}, "networkpolicy.projectcalico.org": {calico},
		"globalnetworkpolicy": {"*v3.GlobalNetworkPolicy"}, "tier": {"*v3.Tier"}, "networkset": {"*v3.NetworkSet"}, "globalnetworkset": {"*v3.GlobalNetworkSet"},
	}
}

func deletable(kind string) []string {
	kind = strings.ToLower(kind)
	switch kind {
	case "ns":
		kind = "namespace"
	case "sa":
		kind = "serviceaccount"
	case "po":
		kind = "pod"
	case "netpol":
		kind = "networkpolicy"
	}
	singular, group, _ := strings.Cut(kind, ".")
	if plural, ok := strings.CutSuffix(singular, "policies"); ok {
		singular = plural + "policy"
	} else {
		singular = strings.TrimSuffix(singular, "s")
	}
	all := deletableKinds()
	if group == "" {
		return all[singular]
	}
	if group == "crd.projectcalico.org" {
		group = "projectcalico.org" // the same objects
	}
	if kinds := all[singular+"."+group]; kinds != nil {
		return kinds
	}
	if group == "projectcalico.org" && singular != "namespace" && singular != "serviceaccount" && singular != "pod" {
		return all[singular]
	}
	return nil
}
