package reference

import (
	"math"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultTier is the tier of a policy that names none (api/pkg/defaults/networkpolicy.go).
const DefaultTier = "default"

// Policy is what admission reads of a policy: the four kinds, in both groups, in one form. The groups differ in metadata
// alone (an annotation, and "default." before the names of stored policies), of which nothing here depends.
type Policy struct {
	// Namespace is that of the policy; "" if it is a global one.
	Namespace string
	// Tier is never empty.
	Tier string
	// Order is +Inf where the policy has none: it comes last in its tier.
	Order float64
	// Unreadable says that parts of the object could not be decoded, so that what is here may not be all there is.
	Unreadable bool

	subject subject
	ingress []v3.Rule
	egress  []v3.Rule
}

// subject is the selectors that say what a policy applies to.
type subject struct{ plain, accounts, namespaces string }

// Read reads a *v3.NetworkPolicy, *v3.GlobalNetworkPolicy, *v3.StagedNetworkPolicy or *v3.StagedGlobalNetworkPolicy, of
// projectcalico.org/v3 or crd.projectcalico.org/v1. namespace is that of the request, which the object may leave out.
// Anything else is an Unreadable policy: it fails closed. The policy keeps references into obj.
func Read(obj metav1.Object, namespace string) *Policy {
	switch in := obj.(type) {
	case *v3.NetworkPolicy:
		if in != nil {
			return read(namespace, in.Spec.Tier, in.Spec.Order, in.Spec.Ingress, in.Spec.Egress,
				subject{plain: in.Spec.Selector, accounts: in.Spec.ServiceAccountSelector})
		}
	case *v3.StagedNetworkPolicy:
		if in != nil {
			return read(namespace, in.Spec.Tier, in.Spec.Order, in.Spec.Ingress, in.Spec.Egress,
				subject{plain: in.Spec.Selector, accounts: in.Spec.ServiceAccountSelector})
		}
	case *v3.GlobalNetworkPolicy:
		if in != nil {
			return read("", in.Spec.Tier, in.Spec.Order, in.Spec.Ingress, in.Spec.Egress,
				subject{plain: in.Spec.Selector, accounts: in.Spec.ServiceAccountSelector, namespaces: in.Spec.NamespaceSelector})
		}
	case *v3.StagedGlobalNetworkPolicy:
		if in != nil {
			return read("", in.Spec.Tier, in.Spec.Order, in.Spec.Ingress, in.Spec.Egress,
				subject{plain: in.Spec.Selector, accounts: in.Spec.ServiceAccountSelector, namespaces: in.Spec.NamespaceSelector})
		}
	}
	return &Policy{Tier: DefaultTier, Order: math.Inf(1), Unreadable: true}
}

func read(namespace, tier string, order *float64, ingress, egress []v3.Rule, s subject) *Policy {
	p := &Policy{Namespace: namespace, Tier: tier, Order: math.Inf(1), subject: s, ingress: ingress, egress: egress}
	if tier == "" {
		p.Tier = DefaultTier
	}
	if order != nil {
		p.Order = *order
	}
	return p
}

// mayAllow: Calico reads actions without regard to case, and none at all as Allow (updateprocessors/rules.go), so whatever
// is not certain to be another action counts as Allow.
func mayAllow(a v3.Action) bool {
	switch strings.ToLower(string(a)) {
	case "deny", "log", "pass", "next-tier":
		return false
	default:
		return true
	}
}
