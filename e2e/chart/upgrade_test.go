package chart

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster answers lookups of Secrets.
type cluster struct{ client *fake.FakeDynamicClient }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}), true, nil
}

// TestHelmCertificateIsKeptByUpgrades: a new one at every upgrade would leave replicas whose certificate the API server
// does not trust until the nodes have refreshed the mounted Secret.
func TestHelmCertificateIsKeptByUpgrades(t *testing.T) {
	first := one[*corev1.Secret](t, render(t, ""))
	tests := map[string]struct {
		change func(*corev1.Secret)
		kept   bool
	}{
		"complete":             {func(*corev1.Secret) {}, true},
		"of another name":      {func(s *corev1.Secret) { s.Name = "other" }, false},
		"of another namespace": {func(s *corev1.Secret) { s.Namespace = "other" }, false},
		"without the key":      {func(s *corev1.Secret) { delete(s.Data, "tls.key") }, false},
		"without the CA":       {func(s *corev1.Secret) { delete(s.Data, "ca.crt") }, false},
		"without any data":     {func(s *corev1.Secret) { s.Data = nil }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stored := first.DeepCopy()
			test.change(stored)
			upgraded, err := Render(dir, nil, Options{cluster: cluster{fake.NewSimpleDynamicClient(scheme(t), stored)}})
			if err != nil {
				t.Fatal(err)
			}
			secret := one[*corev1.Secret](t, upgraded)
			if kept := bytes.Equal(secret.Data["tls.crt"], first.Data["tls.crt"]); kept != test.kept {
				t.Errorf("kept %v, want %v", kept, test.kept)
			}
			for _, config := range clientConfigs(t, upgraded) {
				if !bytes.Equal(config.CABundle, secret.Data["ca.crt"]) {
					t.Error("a caBundle is not the ca.crt of the Secret")
				}
			}
		})
	}
}
