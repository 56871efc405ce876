package scan

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// Resource is what a scan looks at.
type Resource struct {
	Kind     schema.GroupVersionKind
	Resource schema.GroupVersionResource
	// Optional says that a cluster may not serve it: then there is none.
	Optional bool
}

// Resources returns what a scan looks at, besides the custom workloads that guards name, in the order in which it has to: workloads come before
// what their controllers make of them. Secrets are not among them, because whoever may list them may read every token.
func Resources() []Resource {
	r := func(group, version, kind, resource string, optional bool) Resource {
		gv := schema.GroupVersion{Group: group, Version: version}
		return Resource{Kind: gv.WithKind(kind), Resource: gv.WithResource(resource), Optional: optional}
	}
	out := []Resource{
		r("", "v1", "Namespace", "namespaces", false),
		r("", "v1", "ServiceAccount", "serviceaccounts", false),
	}
	for _, kind := range []string{"CronJob", "Deployment", "DaemonSet", "StatefulSet", "ReplicationController", "PodTemplate", "Job", "ReplicaSet", "ControllerRevision", "Pod"} {
		for _, b := range webhook.BuiltinTemplates() {
			if b.Kind == kind {
				out = append(out, r(b.Group, "v1", b.Kind, b.Resource, false))
			}
		}
	}
	out = append(out,
		r("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", false),
		r("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false),
		r(v1alpha1.GroupName, "v1alpha1", "ServiceAccountGuard", "serviceaccountguards", true),
		r(v1alpha1.GroupName, "v1alpha1", "PolicyBand", "policybands", true),
	)
	for _, gv := range []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}} {
		for _, k := range []struct{ kind, resource string }{
			{"NetworkPolicy", "networkpolicies"}, {"GlobalNetworkPolicy", "globalnetworkpolicies"},
			{"StagedNetworkPolicy", "stagednetworkpolicies"}, {"StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies"},
			{"NetworkSet", "networksets"}, {"GlobalNetworkSet", "globalnetworksets"}, {"HostEndpoint", "hostendpoints"},
		} {
			out = append(out, r(gv.Group, gv.Version, k.kind, k.resource, true))
		}
	}
	return out
}
