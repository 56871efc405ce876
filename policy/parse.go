package policy

import (
	"fmt"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is an API object as it is decoded, before parsing.
type Object struct {
	// Value is one of *corev1.{Namespace,ServiceAccount,Pod}, *networkingv1.NetworkPolicy or *v3.{NetworkPolicy,
	// GlobalNetworkPolicy,Tier,NetworkSet,GlobalNetworkSet,StagedNetworkPolicy,StagedGlobalNetworkPolicy,
	// StagedKubernetesNetworkPolicy}. Parsing does not change it and keeps no reference to its maps.
	Value metav1.Object
	// CRD says that a v3 value came from crd.projectcalico.org/v1, where the metadata is in an annotation.
	CRD bool
	// Unknown lists the paths of fields that the type does not have, and of keys that occur twice, as
	// sigs.k8s.io/json spells them ("spec.ingress[0].foo"). Objects from a typed client have none.
	Unknown []string
}

// Parse parses one object. The Resource is nil if the object has no effect on any verdict: staged policies, policies for
// host endpoints alone, pods that are no endpoint ([WhyNotEndpoint] says why), and, in Calico's semantics, a policy that
// Calico drops, and service accounts with names too long for labels. The problems are all that were found, in the order of the object's fields; an object with problems still
// gives the Resource that the semantics prescribes.
func Parse(o Object, sem Semantics) (Resource, []Problem) {
	switch in := o.Value.(type) {
	case *corev1.Namespace:
		return parseNamespace(in), nil
	case *corev1.ServiceAccount:
		a, errs := parseServiceAccount(in)
		return resource(a), problems(Ref{Kind: KindServiceAccount, Namespace: in.Namespace, Name: in.Name}, errs)
	case *corev1.Pod:
		w, errs := parsePod(in, sem)
		return resource(w), problems(Ref{Kind: KindPod, Namespace: in.Namespace, Name: in.Name}, errs)
	case *v3.Tier:
		t, errs := parseTier(in)
		return t, problems(t.Ref(), errs)
	case *v3.NetworkSet, *v3.GlobalNetworkSet:
		n, errs := parseNetworkSet(o)
		return n, problems(n.Ref(), errs)
	case *v3.NetworkPolicy, *v3.GlobalNetworkPolicy, *networkingv1.NetworkPolicy:
		return parsePolicy(o, sem)
	case *v3.StagedNetworkPolicy, *v3.StagedGlobalNetworkPolicy, *v3.StagedKubernetesNetworkPolicy:
		return nil, nil
	}
	return nil, []Problem{{
		Object: Ref{Kind: fmt.Sprintf("%T", o.Value)},
		Err:    field.Invalid(field.NewPath("kind"), fmt.Sprintf("%T", o.Value), "not a type that network policy speaks of"),
	}}
}

// resource keeps a nil pointer from becoming a Resource that is not nil.
func resource[T any, P interface {
	*T
	Resource
}](p P) Resource {
	if p == nil {
		return nil
	}
	return p
}

func parseTier(in *v3.Tier) (*Tier, field.ErrorList) {
	t := &Tier{Name: in.Name, Order: last(in.Spec.Order), DefaultAction: ActionDeny}
	switch a := in.Spec.DefaultAction; {
	case a == nil || *a == v3.Deny:
	case *a == v3.Pass:
		t.DefaultAction = ActionPass
	default:
		// Fails closed: whatever was meant, the end of the tier denies.
		return t, field.ErrorList{field.NotSupported(field.NewPath("spec", "defaultAction"), *a, []v3.Action{v3.Deny, v3.Pass})}
	}
	return t, nil
}

func parseNetworkSet(o Object) (*NetworkSet, field.ErrorList) {
	labels, errs := metadataLabels(o)
	n := &NetworkSet{Labels: labels}
	var nets []string
	switch in := o.Value.(type) {
	case *v3.NetworkSet:
		n.ID = Ref{Kind: KindNetworkSet, Namespace: in.Namespace, Name: in.Name}
		n.Labels[LabelNamespace] = in.Namespace
		nets = in.Spec.Nets
	case *v3.GlobalNetworkSet:
		n.ID = Ref{Kind: KindGlobalNetworkSet, Name: in.Name}
		nets = in.Spec.Nets
	}
	for i, s := range nets {
		prefix, err := parseNet(s)
		if err != nil {
			errs = append(errs, field.Invalid(field.NewPath("spec", "nets").Index(i), s, err.Error()))
			n.Unparsed = true
			continue
		}
		n.Nets = append(n.Nets, prefix)
	}
	return n, errs
}
