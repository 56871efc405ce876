package certificates

import (
	"context"
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	admissionregistrationclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"

	"github.com/saguard/saguard/internal/rotation"
)

// ClusterConfiguration is a webhook configuration in the cluster.
type ClusterConfiguration struct {
	kind, name string
	read       func(ctx context.Context) (version string, bundles []rotation.Bundle, err error)
	patch      func(ctx context.Context, patch []byte) error
}

// NewValidating returns the ValidatingWebhookConfiguration of that name, whether it exists or not.
func NewValidating(c admissionregistrationclient.ValidatingWebhookConfigurationsGetter, name string) *ClusterConfiguration {
	return newConfiguration("ValidatingWebhookConfiguration", name, c.ValidatingWebhookConfigurations(),
		func(c *admissionregistrationv1.ValidatingWebhookConfiguration) (bundles []rotation.Bundle) {
			for i := range c.Webhooks {
				bundles = append(bundles, bundleOf(c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig))
			}
			return bundles
		})
}

// NewMutating returns the MutatingWebhookConfiguration of that name, whether it exists or not.
func NewMutating(c admissionregistrationclient.MutatingWebhookConfigurationsGetter, name string) *ClusterConfiguration {
	return newConfiguration("MutatingWebhookConfiguration", name, c.MutatingWebhookConfigurations(),
		func(c *admissionregistrationv1.MutatingWebhookConfiguration) (bundles []rotation.Bundle) {
			for i := range c.Webhooks {
				bundles = append(bundles, bundleOf(c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig))
			}
			return bundles
		})
}

// kindClient is what the clients of both kinds have in common.
type kindClient[T metav1.Object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, o metav1.PatchOptions, subresources ...string) (T, error)
}

func newConfiguration[T metav1.Object](kind, name string, client kindClient[T], bundles func(T) []rotation.Bundle) *ClusterConfiguration {
	return &ClusterConfiguration{
		kind: kind, name: name,
		read: func(ctx context.Context) (string, []rotation.Bundle, error) {
			configuration, err := client.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return "", nil, err
			}
			return configuration.GetResourceVersion(), bundles(configuration), nil
		},
		patch: func(ctx context.Context, patch []byte) error {
			_, err := client.Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
			return err
		},
	}
}

func bundleOf(webhook string, c *admissionregistrationv1.WebhookClientConfig) rotation.Bundle {
	return rotation.ParseBundle(webhook, c.CABundle)
}

// Name implements Configuration.
func (c *ClusterConfiguration) Name() string { return c.kind + " " + c.name }

// Read implements Configuration. It asks etcd, not a cache.
func (c *ClusterConfiguration) Read(ctx context.Context) (bundles []rotation.Bundle, version string, err error) {
	version, bundles, err = c.read(ctx)
	if err != nil {
		return nil, "", failed("get", c.Name(), err)
	}
	return bundles, version, nil
}

// Write implements Configuration. A patch names the caBundles and nothing else, so that it neither drops fields that a later
// Kubernetes adds nor takes other fields from whoever owns them. It names all webhooks, since in a strategic merge patch the
// order of those named becomes theirs.
func (c *ClusterConfiguration) Write(ctx context.Context, version string, bundles []rotation.Text) error {
	type clientConfig struct {
		// CABundle is base64 in JSON; null removes the field.
		CABundle *[]byte `json:"caBundle"`
	}
	type webhook struct {
		Name         string       `json:"name"`
		ClientConfig clientConfig `json:"clientConfig"`
	}
	var webhooks []webhook
	for _, b := range bundles {
		w := webhook{Name: b.Webhook}
		if len(b.PEM) > 0 {
			w.ClientConfig.CABundle = &b.PEM
		}
		webhooks = append(webhooks, w)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "webhooks": webhooks})
	if err != nil {
		return fmt.Errorf("encode %s: %w", c.Name(), err)
	}
	if err := c.patch(ctx, patch); err != nil {
		return failed("patch", c.Name(), err)
	}
	return nil
}
