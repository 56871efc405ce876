package request

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ResourceOf says which resource holds the objects of a kind, and whether they live in namespaces.
type ResourceOf func(schema.GroupVersionKind) (resource schema.GroupVersionResource, namespaced bool, err error)

// Mapped asks a cluster's discovery. A kind that is not served, maybe because its CRD is applied along with it, is guessed: to leave it
// out would be to let it pass.
func Mapped(mapper meta.RESTMapper) ResourceOf {
	return func(gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
		m, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if meta.IsNoMatchError(err) {
			return Guessed(gvk)
		}
		if err != nil {
			return schema.GroupVersionResource{}, false, fmt.Errorf("find resource of %s: %w", gvk, err)
		}
		return m.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, nil
	}
}

// Guessed does without a cluster: the resource is the kind's plural, which holds for every kind that a check looks at, and what is not
// known to be cluster-scoped lives in a namespace.
func Guessed(gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	return resource, !clusterScoped(gvk.GroupKind()), nil
}

// clusterScoped knows the cluster-scoped kinds of Kubernetes 1.37, Calico and saguard that manifests hold.
func clusterScoped(gk schema.GroupKind) bool {
	switch gk.Group {
	case "":
		return gk.Kind == "Namespace" || gk.Kind == "Node" || gk.Kind == "PersistentVolume"
	case "rbac.authorization.k8s.io":
		return gk.Kind == "ClusterRole" || gk.Kind == "ClusterRoleBinding"
	case "projectcalico.org", "crd.projectcalico.org":
		switch gk.Kind {
		case "NetworkPolicy", "StagedNetworkPolicy", "StagedKubernetesNetworkPolicy", "NetworkSet":
			return false
		default:
			return true
		}
	case "storage.k8s.io":
		return gk.Kind != "CSIStorageCapacity"
	case "resource.k8s.io":
		return gk.Kind == "DeviceClass" || gk.Kind == "ResourceSlice"
	case "certificates.k8s.io":
		return gk.Kind != "PodCertificateRequest"
	case "networking.k8s.io":
		return gk.Kind == "IngressClass" || gk.Kind == "IPAddress" || gk.Kind == "ServiceCIDR"
	case "gateway.networking.k8s.io":
		return gk.Kind == "GatewayClass"
	case "saguard.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "scheduling.k8s.io",
		"node.k8s.io", "flowcontrol.apiserver.k8s.io", "storagemigration.k8s.io", "policy.networking.k8s.io":
		return true
	default:
		return false
	}
}
