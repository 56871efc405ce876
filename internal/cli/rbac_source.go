package cli

import (
	"context"
	"fmt"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
)

// loadRBAC takes the RBAC from files if there are any, else from the cluster: of namespace and cluster-wide, or of all namespaces
// if it is "". Notes go to the error stream.
func loadRBAC(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, files []string, namespace string) (*rbacObjects, error) {
	if len(files) == 0 {
		cfg, err := restConfig(flags)
		if err != nil {
			return nil, err
		}
		c, err := rbacclient.NewForConfig(cfg)
		if err != nil {
			return nil, fmt.Errorf("create RBAC client: %w", err)
		}
		return rbacFromCluster(ctx, c, namespace)
	}
	manifests, err := readManifests(files, streams.In)
	if err != nil {
		return nil, err
	}
	o, others, notes, err := rbacFromManifests(manifests, namespace)
	if err != nil {
		return nil, err
	}
	if others > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d objects are not RBAC and were not looked at", others, len(manifests)))
	}
	return o, printNotes(streams.ErrOut, notes)
}
