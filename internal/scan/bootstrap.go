package scan

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// isBootstrapBinding reports a ClusterRoleBinding to everybody that every cluster has: the API server writes it itself, when it starts
// (k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, v1.36). It counts by its name, its role and its subjects, and not by
// its labels, which anybody could write.
func isBootstrapBinding(resource schema.GroupVersionResource, o *unstructured.Unstructured) bool {
	if resource.Group != rbacv1.GroupName || resource.Resource != "clusterrolebindings" {
		return false
	}
	groups := map[string][]string{
		"system:basic-user":                       {"system:authenticated"},
		"system:discovery":                        {"system:authenticated"},
		"system:public-info-viewer":               {"system:authenticated", "system:unauthenticated"},
		"system:service-account-issuer-discovery": {"system:serviceaccounts"},
	}[o.GetName()]
	var b rbacv1.ClusterRoleBinding
	if groups == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &b) != nil {
		return false
	}
	return b.RoleRef.Name == b.Name && !slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
		return s.Kind != rbacv1.GroupKind || !slices.Contains(groups, s.Name)
	})
}
