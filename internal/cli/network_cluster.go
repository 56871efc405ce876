package cli

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

// Calico's groups, in the order in which they are asked: the API server's, or native CRDs, come before the CRDs that it
// keeps its objects in.
func calicoGroupVersions() []schema.GroupVersion {
	return []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}}
}

// served lists the resources of a group and version; no such group is a NotFound error.
type served func(schema.GroupVersion) (*metav1.APIResourceList, error)

// networkFromCluster reads everything that a verdict depends on. What cannot be read is an error, never left out: half
// of the policies would be a misleading answer.
func networkFromCluster(ctx context.Context, c dynamic.Interface, find served, sem policy.Semantics) (*offline.Objects, []string, error) {
	resources := []schema.GroupVersionResource{
		{Version: "v1", Resource: "namespaces"}, {Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "pods"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	}
	calico, err := calicoResources(find)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	if len(calico) == 0 {
		notes = append(notes, "the cluster serves no policies of Calico: only those of networking.k8s.io are looked at")
	}
	out := &offline.Objects{}
	for _, r := range append(resources, calico...) {
		err := pages(func(opts metav1.ListOptions) (metav1.ListInterface, error) {
			list, err := c.Resource(r).List(ctx, opts)
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				raw, err := list.Items[i].MarshalJSON()
				if err != nil {
					return nil, err
				}
				if err := out.Add("cluster: "+r.Resource, raw, sem); err != nil {
					return nil, err
				}
			}
			return list, nil
		})
		if err != nil {
			return nil, nil, networkListError(r, err)
		}
	}
	return out, notes, nil
}

// calicoResources are those of the first of Calico's groups that is served; none if no group is.
func calicoResources(find served) ([]schema.GroupVersionResource, error) {
	wanted := []string{"tiers", "networksets", "globalnetworksets", "networkpolicies", "globalnetworkpolicies"}
	for _, gv := range calicoGroupVersions() {
		list, err := find(gv)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("discover %s: %w", gv, err)
		}
		has := map[string]bool{}
		for _, r := range list.APIResources {
			has[r.Name] = true
		}
		var out []schema.GroupVersionResource
		for _, name := range wanted {
			if has[name] {
				out = append(out, gv.WithResource(name))
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

func networkListError(r schema.GroupVersionResource, err error) error {
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("list %s: %w", r.GroupResource(), err)
	}
	return fmt.Errorf("you may not list %s, so this cannot be answered from the cluster: ask for `kubectl auth can-i list %s -A`, or give the objects as files with -f: %w",
		r.Resource, r.GroupResource(), err)
}

// readCluster is networkFromCluster of the cluster that kubectl would use.
func readCluster(ctx context.Context, flags *genericclioptions.ConfigFlags, sem policy.Semantics) (*offline.Objects, []string, error) {
	cfg, err := restConfig(flags)
	if err != nil {
		return nil, nil, err
	}
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create client: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create discovery client: %w", err)
	}
	return networkFromCluster(ctx, c, func(gv schema.GroupVersion) (*metav1.APIResourceList, error) {
		return d.ServerResourcesForGroupVersion(gv.String())
	}, sem)
}

// clusterName says which cluster it is, for the heading of a result.
func clusterName(flags *genericclioptions.ConfigFlags) string {
	if flags.Context != nil && *flags.Context != "" {
		return "cluster of context " + *flags.Context
	}
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil || raw.CurrentContext == "" {
		return "cluster"
	}
	return "cluster of context " + raw.CurrentContext
}
