package chart

import (
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
)

// lookups answers those of templates from objects in memory.
type lookups struct{ objects dynamic.Interface }

// emptyCluster is what a first installation finds: kube-system, and nothing of the release.
func emptyCluster() engine.ClientProvider { return clusterWith() }

// clusterWith also holds objects of Kubernetes' own kinds.
func clusterWith(objects ...runtime.Object) engine.ClientProvider {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem}}
	return lookups{objects: fake.NewSimpleDynamicClient(kubernetes.Scheme, append(objects, namespace)...)}
}

// GetClientFor implements engine.ClientProvider.
func (l lookups) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	resource, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(apiVersion, kind))
	return l.objects.Resource(resource), kind != "Namespace", nil
}
