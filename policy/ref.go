package policy

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Kinds of a [Ref]. The values of the policy kinds take part in the order of evaluation (see [Policy.Less]).
const (
	KindNamespace               = "Namespace"
	KindServiceAccount          = "ServiceAccount"
	KindPod                     = "Pod"
	KindTier                    = "Tier"
	KindNetworkSet              = "NetworkSet"
	KindGlobalNetworkSet        = "GlobalNetworkSet"
	KindNetworkPolicy           = "NetworkPolicy"
	KindGlobalNetworkPolicy     = "GlobalNetworkPolicy"
	KindKubernetesNetworkPolicy = "KubernetesNetworkPolicy" // networking.k8s.io/v1 NetworkPolicy
)

// Ref names one object. It is comparable; Namespace is empty for cluster-scoped kinds.
type Ref struct {
	Kind, Namespace, Name string
}

// String returns "Kind namespace/name" or "Kind name".
func (r Ref) String() string { return r.Kind + " " + r.Path() }

// Path returns "namespace/name" or "name". A Kubernetes policy is "namespace/knp.default.name", Calico's own spelling
// for it, which no Calico policy can have.
func (r Ref) Path() string {
	name := r.Name
	if r.Kind == KindKubernetesNetworkPolicy {
		name = "knp.default." + name
	}
	if r.Namespace == "" {
		return name
	}
	return r.Namespace + "/" + name
}

// Compare orders by kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// Resource is one parsed object: *[Namespace], *[ServiceAccount], *[Workload], *[NetworkSet], *[Tier] or *[Policy].
// It is immutable.
type Resource interface {
	Ref() Ref
}

// Problem is something in an object that does not parse or is not supported, with its path inside the object.
type Problem struct {
	Object Ref
	Err    *field.Error
}

// Error implements error: "NetworkPolicy prod/x: spec.selector: Invalid value: ...".
func (p Problem) Error() string { return fmt.Sprintf("%s: %s", p.Object, p.Err) }

// Unwrap returns the *field.Error.
func (p Problem) Unwrap() error { return p.Err }

// problems binds a list of field errors to their object.
func problems(of Ref, errs field.ErrorList) []Problem {
	var out []Problem
	for _, err := range errs {
		out = append(out, Problem{Object: of, Err: err})
	}
	return out
}
