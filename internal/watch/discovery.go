package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// Discovery asks the API server what it serves. A 404 by itself proves nothing: a proxy in between, or an API server that is
// starting, gives one too.
type Discovery struct{ rest rest.Interface }

// NewDiscovery returns a Discovery on cfg.
func NewDiscovery(cfg *rest.Config) (*Discovery, error) {
	c, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create discovery client: %w", err)
	}
	return &Discovery{rest: c.RESTClient()}, nil
}

// Confirm returns a [Source.Confirm] that answers from the API server's own list of groups, where a group stays while the
// server behind it is down, and from the group's list of resources.
func (d *Discovery) Confirm(gvk schema.GroupVersionKind) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		var groups metav1.APIGroupList
		if err := d.get(ctx, "/apis", &groups); err != nil {
			return false, err
		}
		if groups.Kind != "APIGroupList" || len(groups.Groups) == 0 {
			return false, fmt.Errorf("get /apis: no list of API groups")
		}
		served := slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool {
			return g.Name == gvk.Group && slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == gvk.Version })
		})
		if !served {
			return true, nil
		}
		var resources metav1.APIResourceList
		path := "/apis/" + gvk.GroupVersion().String()
		if err := d.get(ctx, path, &resources); err != nil {
			if apierrors.IsNotFound(err) {
				return false, fmt.Errorf("get %s: listed among the API groups, but not found", path)
			}
			return false, err
		}
		if resources.Kind != "APIResourceList" {
			return false, fmt.Errorf("get %s: no list of resources", path)
		}
		return !slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Kind == gvk.Kind }), nil
	}
}

func (d *Discovery) get(ctx context.Context, path string, into any) error {
	raw, err := d.rest.Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
