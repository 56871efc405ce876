package certificates

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/saguard/saguard/internal/rotation"
)

// fieldManager owns the caBundles and the Secret's data. What GitOps tools apply without these fields leaves them alone.
const fieldManager = "saguard-webhook"

// ClusterSecret is a Secret in the cluster.
type ClusterSecret struct {
	client          coreclient.SecretInterface
	namespace, name string
}

// NewSecret returns the Secret of that name, whether it exists or not.
func NewSecret(c coreclient.SecretsGetter, namespace, name string) *ClusterSecret {
	return &ClusterSecret{client: c.Secrets(namespace), namespace: namespace, name: name}
}

// Read implements Secret. It asks etcd, not a cache.
func (s *ClusterSecret) Read(ctx context.Context) (data map[string][]byte, version string, err error) {
	secret, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, "", s.failed("get", err)
	}
	return secret.Data, secret.ResourceVersion, nil
}

// Make implements Secret, by server-side apply: unlike any other way to create, RBAC can restrict it to a name. It applies
// no data, so that of two replicas neither undoes the other's.
func (s *ClusterSecret) Make(ctx context.Context) error {
	_, err := s.client.Apply(ctx, applycorev1.Secret(s.name, s.namespace), metav1.ApplyOptions{FieldManager: fieldManager + "-make", Force: true})
	if err != nil {
		return s.failed("apply", err)
	}
	return nil
}

// Write implements Secret.
func (s *ClusterSecret) Write(ctx context.Context, version string, data map[string][]byte) error {
	all := map[string]any{}
	for _, key := range rotation.Keys() {
		all[key] = nil // a merge patch removes what is null
	}
	for key, value := range data {
		all[key] = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "data": all})
	if err != nil {
		return fmt.Errorf("encode Secret: %w", err)
	}
	if _, err := s.client.Patch(ctx, s.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return s.failed("patch", err)
	}
	return nil
}

func (s *ClusterSecret) failed(verb string, err error) error {
	return failed(verb, fmt.Sprintf("Secret %s/%s", s.namespace, s.name), err)
}

// failed wraps an error of the API server's. None of them holds data of a Secret.
func failed(verb, what string, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s: %w", verb, what, ErrAbsent)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s %s: %w", verb, what, ErrChanged)
	}
	return fmt.Errorf("%s %s: %w", verb, what, err)
}
