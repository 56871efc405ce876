package watch

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/shadow"
)

// Admission returns the sources that keep the webhook's memory. Staged policies enforce nothing, so what they read is not guarded.
func Admission(c *state.Cluster, badPolicy func(id state.PolicyID, selectors int)) []Source {
	sources := []Source{
		{Name: "namespaces", NewList: metadataList("", "v1", "NamespaceList"), Sink: namespaces(c)},
		{Name: "roles", NewList: newList[rbacv1.RoleList], Sink: touching(c, values(c.RBAC.ReplaceRoles), c.RBAC.SetRole,
			func(o *rbacv1.Role) { c.RBAC.DeleteRole(o.Namespace, o.Name) })},
		{Name: "clusterroles", NewList: newList[rbacv1.ClusterRoleList], Sink: touching(c, values(c.RBAC.ReplaceClusterRoles), c.RBAC.SetClusterRole,
			func(o *rbacv1.ClusterRole) { c.RBAC.DeleteClusterRole(o.Name) })},
		{Name: "rolebindings", NewList: newList[rbacv1.RoleBindingList], Sink: touching(c, values(c.RBAC.ReplaceRoleBindings), c.RBAC.SetRoleBinding,
			func(o *rbacv1.RoleBinding) { c.RBAC.DeleteRoleBinding(o.Namespace, o.Name) })},
		{Name: "clusterrolebindings", NewList: newList[rbacv1.ClusterRoleBindingList], Sink: touching(c, values(c.RBAC.ReplaceClusterRoleBindings), c.RBAC.SetClusterRoleBinding,
			func(o *rbacv1.ClusterRoleBinding) { c.RBAC.DeleteClusterRoleBinding(o.Name) })},
		{Name: "serviceaccountguards", NewList: newList[v1alpha1.ServiceAccountGuardList], Sink: typed[*v1alpha1.ServiceAccountGuard]{
			replace: values(c.ReplaceGuards), set: func(o *v1alpha1.ServiceAccountGuard) { c.SetGuard(*o) },
			remove: func(o *v1alpha1.ServiceAccountGuard) { c.DeleteGuard(o.Name) },
		}},
		{Name: "policybands", NewList: newList[v1alpha1.PolicyBandList], Sink: typed[*v1alpha1.PolicyBand]{
			replace: values(c.ReplaceBands), set: func(o *v1alpha1.PolicyBand) { c.SetBand(*o) },
			remove: func(o *v1alpha1.PolicyBand) { c.DeleteBand(o.Name) },
		}},
	}
	for _, gv := range calicoGroups() {
		for _, kind := range policyKinds() {
			gvk := gv.WithKind(kind)
			sources = append(sources, Source{
				Name: policyName(kind, gv), NewList: unstructuredList(gvk), Optional: true, Unawaited: true, Sink: policies(c, gvk, badPolicy),
			})
		}
	}
	return sources
}

// calicoGroups hold Calico's objects, as users write them and as they are stored.
func calicoGroups() []schema.GroupVersion {
	return []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}}
}

func policyKinds() []string {
	return []string{policy.KindNetworkPolicy, policy.KindGlobalNetworkPolicy}
}

func policyName(kind string, gv schema.GroupVersion) string { return kind + "." + gv.Group }

func namespaces(c *state.Cluster) Sink {
	view := func(o *metav1.PartialObjectMetadata) guard.Namespace {
		return guard.Namespace{Labels: o.Labels, Terminating: o.DeletionTimestamp != nil}
	}
	return typed[*metav1.PartialObjectMetadata]{
		replace: func(all []*metav1.PartialObjectMetadata) {
			m := make(map[string]guard.Namespace, len(all))
			for _, o := range all {
				m[o.Name] = view(o)
			}
			c.ReplaceNamespaces(m)
		},
		set:    func(o *metav1.PartialObjectMetadata) { c.SetNamespace(o.Name, view(o)) },
		remove: func(o *metav1.PartialObjectMetadata) { c.DeleteNamespace(o.Name) },
	}
}

func policies(c *state.Cluster, gvk schema.GroupVersionKind, badPolicy func(state.PolicyID, int)) Sink {
	resource := gvk.GroupKind().String()
	view := func(o *unstructured.Unstructured) (state.PolicyID, state.Policy) {
		id := state.PolicyID{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}
		keys, bad := state.PolicyKeys(o.Object, o.GetNamespace())
		if bad > 0 {
			badPolicy(id, bad)
		}
		return id, state.Policy{Keys: keys, Shadow: shadowOf(o, gvk)}
	}
	return typed[*unstructured.Unstructured]{
		replace: func(all []*unstructured.Unstructured) {
			m := make(map[state.PolicyID]state.Policy, len(all))
			for _, o := range all {
				id, p := view(o)
				m[id] = p
			}
			c.ReplacePolicies(resource, m)
		},
		set: func(o *unstructured.Unstructured) { c.SetPolicy(view(o)) },
		remove: func(o *unstructured.Unstructured) {
			c.DeletePolicy(state.PolicyID{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()})
		},
	}
}

// shadowOf reads a policy. One that cannot be decoded may do anything: it is there, and nothing is proven by it. One without
// the namespace that it must have, which no API server sends, says nothing about any.
func shadowOf(o *unstructured.Unstructured, gvk schema.GroupVersionKind) *shadow.Policy {
	if gvk.Kind == policy.KindNetworkPolicy && o.GetNamespace() == "" {
		return nil
	}
	object, err := decodePolicy(o, gvk)
	if err != nil {
		return shadow.Unreadable(policy.Ref{Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()})
	}
	return shadow.New(object)
}

func decodePolicy(o *unstructured.Unstructured, gvk schema.GroupVersionKind) (policy.Object, error) {
	raw, err := o.MarshalJSON()
	if err != nil {
		return policy.Object{}, fmt.Errorf("encode %s: %w", gvk.Kind, err)
	}
	return policy.DecodeAs(gvk.GroupVersion().String(), gvk.Kind, raw)
}

// LiveNamespace asks the API server for a namespace.
func LiveNamespace(reader client.Reader) func(context.Context, string) decision.Fact[guard.Namespace] {
	return func(ctx context.Context, name string) decision.Fact[guard.Namespace] {
		ns := &metav1.PartialObjectMetadata{}
		ns.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
		err := reader.Get(ctx, client.ObjectKey{Name: name}, ns)
		switch {
		case apierrors.IsNotFound(err):
			return decision.Absent[guard.Namespace]()
		case err != nil:
			return decision.Unknown[guard.Namespace](fmt.Sprintf("get namespace: %v", err))
		default:
			return decision.Known(guard.Namespace{Labels: ns.Labels, Terminating: ns.DeletionTimestamp != nil})
		}
	}
}
