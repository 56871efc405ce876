package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/hollow"
)

// gather reads what lint looks at, from files if there are any, else from the cluster.
func (in *lintInput) gather(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, files []string) (notes []string, err error) {
	if len(files) > 0 {
		manifests, err := readManifests(files, streams.In)
		if err != nil {
			return nil, err
		}
		in.policies = policiesFromManifests(manifests, *flags.Namespace)
		in.RBAC, in.Guards, notes, err = lintManifests(manifests, *flags.Namespace)
		return append(notes, in.policies.notes...), err
	}
	cfg, err := restConfig(flags)
	if err != nil {
		return nil, err
	}
	typed, err := rbacclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create RBAC client: %w", err)
	}
	if in.RBAC, err = rbacFromCluster(ctx, typed, ""); err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	if in.Guards, notes, err = guardsFromCluster(ctx, client); err != nil {
		return nil, err
	}
	if in.policies, err = policiesFromCluster(ctx, client); err != nil {
		return nil, err
	}
	return slices.Concat(dangling(in.RBAC), notes, in.policies.notes), nil
}

// policiesFromManifests takes policies and tiers out of manifests. A policy that names no namespace is in the one of the flags.
func policiesFromManifests(manifests []manifest, namespace string) *lintPolicies {
	out := &lintPolicies{}
	for _, m := range manifests {
		out.add(m.Unstructured, cmp.Or(namespace, metav1.NamespaceDefault))
	}
	return out
}

// lintManifests takes RBAC, guards and namespaces out of manifests. Without a guard in them, guards are not known.
func lintManifests(manifests []manifest, namespace string) (*rbacObjects, decision.Fact[guardModes], []string, error) {
	none := decision.Absent[guardModes]()
	objects, _, notes, err := rbacFromManifests(manifests, namespace)
	if err != nil {
		return nil, none, nil, err
	}
	var guards []v1alpha1.ServiceAccountGuard
	namespaces := map[string]map[string]string{}
	for _, m := range manifests {
		switch m.GroupVersionKind() {
		case v1alpha1.GroupVersion().WithKind("ServiceAccountGuard"):
			if guards, err = appendDecoded(guards, m); err != nil {
				return nil, none, nil, fmt.Errorf("%s: %s: %w", m.source, m.describe(), err)
			}
		case schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}:
			namespaces[m.GetName()] = namespaceLabels(m.Unstructured)
		}
	}
	if len(guards) == 0 {
		return objects, none, append(notes, "no ServiceAccountGuard in the files: whether checks judge what they can is not known"), nil
	}
	return objects, decision.Known(hollow.NewGuardModes(guards, namespaces)), notes, nil
}

// namespaceLabels returns the labels, with the one that the API server sets itself.
func namespaceLabels(o *unstructured.Unstructured) map[string]string {
	labels := map[string]string{}
	for k, v := range o.GetLabels() {
		labels[k] = v
	}
	labels["kubernetes.io/metadata.name"] = o.GetName()
	return labels
}

// guardsFromCluster reads guards and namespaces. A user who may not read them is told so, and guards are unknown then.
func guardsFromCluster(ctx context.Context, c dynamic.Interface) (decision.Fact[guardModes], []string, error) {
	unknown := func(what string, err error) (decision.Fact[guardModes], []string, error) {
		if apierrors.IsForbidden(err) {
			return decision.Unknown[guardModes](err.Error()), []string{"you may not list " + what + ": whether checks judge what they can is not known"}, nil
		}
		return decision.Absent[guardModes](), nil, fmt.Errorf("list %s: %w", what, err)
	}
	list, err := listAll(ctx, c, v1alpha1.GroupVersion().WithResource("serviceaccountguards"))
	switch {
	case apierrors.IsNotFound(err):
		return decision.Known(hollow.NewGuardModes(nil, nil)), []string{"saguard is not installed: the cluster has no ServiceAccountGuards, and nothing is guarded"}, nil
	case err != nil:
		return unknown("serviceaccountguards.saguard.io", err)
	}
	var guards []v1alpha1.ServiceAccountGuard
	for i := range list {
		// What the cluster holds is taken as the webhook takes it: fields of another version are no error.
		if guards, err = appendConverted(guards, &list[i]); err != nil {
			return decision.Absent[guardModes](), nil, fmt.Errorf("read ServiceAccountGuard %s: %w", list[i].GetName(), err)
		}
	}
	all, err := listAll(ctx, c, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	if err != nil {
		return unknown("namespaces", err)
	}
	namespaces := map[string]map[string]string{}
	for i := range all {
		namespaces[all[i].GetName()] = namespaceLabels(&all[i])
	}
	var notes []string
	if len(guards) == 0 {
		notes = append(notes, "there is no ServiceAccountGuard: nothing is guarded")
	}
	return decision.Known(hollow.NewGuardModes(guards, namespaces)), notes, nil
}

// listAll lists a resource in all namespaces, page by page.
func listAll(ctx context.Context, c dynamic.Interface, resource schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	err := pages(func(opts metav1.ListOptions) (metav1.ListInterface, error) {
		l, err := c.Resource(resource).List(ctx, opts)
		if err != nil {
			return nil, err
		}
		out = append(out, l.Items...)
		return l, nil
	})
	return out, err
}
