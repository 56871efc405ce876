package policies_test

import (
	"context"
	"encoding/json"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The subresources of pods and namespaces through which the API server lets labels be changed, each tried by the
// administrator of an unguarded namespace; and what of that is refused in a guarded one.
func TestReservedLabelsByTheSideDoors(t *testing.T) {
	ctx := t.Context()
	tn := newTenant(t)
	open := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "open-" + tn.namespace}}
	if _, err := tn.admin.CoreV1().Namespaces().Create(ctx, open, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.grant("", rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods/status", "pods/binding", "pods/resize", "pods/ephemeralcontainers", "bindings", "namespaces/status", "namespaces/finalize"}})
	cfg, err := shared.CP.User(tn.user)
	if err != nil {
		t.Fatal(err)
	}
	user := kubernetesClient(t, cfg)
	newPod := func(namespace, name string) {
		t.Helper()
		tn.eventually("the default account", func(ctx context.Context) error {
			_, err := tn.admin.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		if _, err := tn.admin.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(labels map[string]string) []byte {
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	onPod := func(subresource string) func(context.Context, string, string, map[string]string) error {
		return func(ctx context.Context, namespace, name string, labels map[string]string) error {
			_, err := user.CoreV1().Pods(namespace).Patch(ctx, name, types.StrategicMergePatchType, patch(labels), metav1.PatchOptions{}, subresource)
			return err
		}
	}
	binding := func(name string, labels map[string]string) *corev1.Binding {
		return &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Target: corev1.ObjectReference{Kind: "Node", Name: "node"}}
	}
	doors := map[string]struct {
		relabels bool
		by       func(ctx context.Context, namespace, name string, labels map[string]string) error
	}{
		"status": {relabels: true, by: onPod("status")},
		"binding": {relabels: true, by: func(ctx context.Context, namespace, name string, labels map[string]string) error {
			return user.CoreV1().Pods(namespace).Bind(ctx, binding(name, labels), metav1.CreateOptions{})
		}},
		"bindings": {relabels: true, by: func(ctx context.Context, namespace, name string, labels map[string]string) error {
			return user.CoreV1().RESTClient().Post().Namespace(namespace).Resource("bindings").Body(binding(name, labels)).Do(ctx).Error()
		}},
		"resize":              {by: onPod("resize")},
		"ephemeralcontainers": {by: onPod("ephemeralcontainers")},
	}
	reserved, harmless := map[string]string{"pcsa.role": "x"}, map[string]string{"role": "x"}
	for name, door := range doors {
		newPod(open.Name, name)
		newPod(tn.namespace, name)
		tn.eventually("the user's RBAC, by "+name, func(ctx context.Context) error {
			return door.by(ctx, open.Name, name, harmless)
		})
		pod, err := tn.admin.CoreV1().Pods(open.Name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := maps.Equal(pod.Labels, harmless); got != door.relabels {
			t.Errorf("pods/%s changes labels: %v (%v), want %v", name, got, pod.Labels, door.relabels)
		}
		if door.relabels {
			if err := refused(door.by(ctx, tn.namespace, name, reserved), "pcsa.role=x"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := door.by(ctx, tn.namespace, name, harmless); err != nil {
			t.Errorf("%s, of another label: %v", name, err)
		}
	}
	for _, subresource := range []string{"status", "finalize"} {
		by := func(ctx context.Context, labels map[string]string) error {
			ns, err := tn.admin.CoreV1().Namespaces().Get(ctx, tn.namespace, metav1.GetOptions{})
			if err != nil {
				return err
			}
			maps.Copy(ns.Labels, labels)
			return user.CoreV1().RESTClient().Put().Resource("namespaces").Name(tn.namespace).SubResource(subresource).Body(ns).Do(ctx).Error()
		}
		if err := refused(by(ctx, map[string]string{"pcns.env": "x"}), "pcns.env=x"); err != nil {
			t.Errorf("namespaces/%s: %v", subresource, err)
		}
		if err := by(ctx, map[string]string{"by": subresource}); err != nil {
			t.Errorf("namespaces/%s, of another label: %v", subresource, err)
		}
		ns, err := tn.admin.CoreV1().Namespaces().Get(ctx, tn.namespace, metav1.GetOptions{})
		if err != nil || ns.Labels["by"] != subresource {
			t.Errorf("namespaces/%s does not change labels: %v, %v", subresource, ns.Labels, err)
		}
	}
}
