package appliertest

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy"
)

func kindOf(o metav1.Object) string {
	switch o.(type) {
	case *corev1.Namespace:
		return policy.KindNamespace
	case *corev1.ServiceAccount:
		return policy.KindServiceAccount
	case *corev1.Pod:
		return policy.KindPod
	case *v3.Tier:
		return policy.KindTier
	case *v3.NetworkSet:
		return policy.KindNetworkSet
	case *v3.GlobalNetworkSet:
		return policy.KindGlobalNetworkSet
	case *v3.NetworkPolicy:
		return policy.KindNetworkPolicy
	case *v3.GlobalNetworkPolicy:
		return policy.KindGlobalNetworkPolicy
	case *networkingv1.NetworkPolicy:
		return policy.KindKubernetesNetworkPolicy
	}
	return ""
}
