package webhook

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
)

//nolint:gochecknoglobals // constants of a struct type
var (
	resourceServiceAccounts     = schema.GroupResource{Resource: "serviceaccounts"}
	resourcePods                = schema.GroupResource{Resource: "pods"}
	resourceBindings            = schema.GroupResource{Resource: "bindings"}
	resourceSecrets             = schema.GroupResource{Resource: "secrets"}
	resourceNamespaces          = schema.GroupResource{Resource: "namespaces"}
	resourceRoleBindings        = schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "rolebindings"}
	resourceClusterRoleBindings = schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"}
	resourcePodCertificates     = schema.GroupResource{Group: "certificates.k8s.io", Resource: "podcertificaterequests"}
	resourceGuards              = schema.GroupResource{Group: v1alpha1.GroupName, Resource: "serviceaccountguards"}
	resourceBands               = schema.GroupResource{Group: v1alpha1.GroupName, Resource: "policybands"}
)

// subresourceToken is of serviceaccounts.
const subresourceToken = "token"

// isNamed reports whether a resource may be named in metrics: those that checks look at. The resources of custom kinds are
// whatever somebody called them.
func isNamed(gr schema.GroupResource) bool {
	switch gr {
	case resourceServiceAccounts, resourcePods, resourceBindings, resourceSecrets, resourceNamespaces, resourceRoleBindings,
		resourceClusterRoleBindings, resourcePodCertificates, resourceGuards, resourceBands:
		return true
	default:
		_, ok := builtinTemplate(gr)
		return ok || isCalicoPolicy(gr) || isEndpointSet(gr)
	}
}
