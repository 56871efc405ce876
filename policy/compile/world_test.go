package compile_test

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/policytest"
)

// random makes worlds of which two thirds of the pods are on the node "local".
type random struct{ policytest.Random }

func newRandom(seed uint64) random { return random{policytest.New(seed, "local", "local", "remote")} }

func (r random) in(n int) bool { return r.In(n) }

func pick[T any](r random, from ...T) T { return policytest.Pick(r.Random, from...) }

func some[T any](r random, most int, from ...T) []T { return policytest.Some(r.Random, most, from...) }

func (r random) object() metav1.Object { return r.Object() }

// flow is between addresses of pods and others.
func (r random) flow() ruleset.Flow {
	source, destination := r.Ends()
	return ruleset.Flow{
		Source: source, Destination: destination, Protocol: pick[uint8](r, 6, 6, 6, 17, 132, 1, 58, 47, 136, 0),
		Port: pick[uint16](r, 80, 81, 53, 52, 0, 1000, 65535), SourcePort: pick[uint16](r, 80, 53, 40000),
		ICMPType: uint8(r.IntN(3)), ICMPCode: uint8(r.IntN(2)),
	}
}

// resource parses o as a cluster's informers would: nil says that the object has no effect.
func resource(o metav1.Object, sem policy.Semantics) (policy.Ref, policy.Resource) {
	out, _ := policy.Parse(policy.Object{Value: o}, sem)
	return refOf(o), out
}

func refOf(o metav1.Object) policy.Ref {
	ref := policy.Ref{Namespace: o.GetNamespace(), Name: o.GetName()}
	switch o.(type) {
	case *corev1.Namespace:
		ref.Kind = policy.KindNamespace
	case *corev1.ServiceAccount:
		ref.Kind = policy.KindServiceAccount
	case *corev1.Pod:
		ref.Kind = policy.KindPod
	case *v3.Tier:
		ref.Kind = policy.KindTier
	case *v3.NetworkSet:
		ref.Kind = policy.KindNetworkSet
	case *v3.GlobalNetworkSet:
		ref.Kind = policy.KindGlobalNetworkSet
	case *v3.NetworkPolicy:
		ref.Kind = policy.KindNetworkPolicy
	case *v3.GlobalNetworkPolicy:
		ref.Kind = policy.KindGlobalNetworkPolicy
	case *networkingv1.NetworkPolicy:
		ref.Kind = policy.KindKubernetesNetworkPolicy
	}
	return ref
}
