package safetynet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// BenchmarkNet measures the same requests in three namespaces, turn by turn: with nothing, the net, the webhook. It runs once, whatever
// b.N says; what counts are the ratios of the medians.
func BenchmarkNet(b *testing.B) {
	ctx := b.Context()
	rows := []string{"nothing", "net", "webhook"}
	fatal := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	api := shared.admin.AdmissionregistrationV1()
	in := func(row string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"bench": row}}
	}
	for _, binding := range shared.bindings {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"matchResources": map[string]any{"namespaceSelector": in("net")}}})
		fatal(err)
		_, err = api.ValidatingAdmissionPolicyBindings().Patch(ctx, binding.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		fatal(err)
	}
	fatal(shared.restoreWebhook(ctx))
	b.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		for _, err := range []error{shared.removeWebhook(ctx), shared.removeBindings(ctx), shared.restoreBindings(ctx)} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, "validate.saguard.io", metav1.GetOptions{})
	fatal(err)
	validating.Webhooks = slices.DeleteFunc(validating.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool { return w.Name == "guards.validate.saguard.io" })
	for i := range validating.Webhooks {
		validating.Webhooks[i].NamespaceSelector = in("webhook")
	}
	_, err = api.ValidatingWebhookConfigurations().Update(ctx, validating, metav1.UpdateOptions{})
	fatal(err)
	fatal(api.MutatingWebhookConfigurations().Delete(ctx, "mutate.saguard.io", metav1.DeleteOptions{}))

	clients := map[string]kubernetes.Interface{}
	cfg, err := shared.CP.User("bencher")
	fatal(err)
	for _, row := range rows {
		ns := "bench-" + row
		_, err := shared.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{"bench": row}}}, metav1.CreateOptions{})
		fatal(err)
		_, err = shared.admin.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{})
		fatal(err)
		meta := metav1.ObjectMeta{Name: "bench"}
		_, err = shared.admin.RbacV1().Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			workRule(), use("serviceaccounts", "web"), use("serviceaccounts/labels", "role=r0", "role=r1"),
		}}, metav1.CreateOptions{})
		fatal(err)
		_, err = shared.admin.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "bench"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "bencher"}},
		}, metav1.CreateOptions{})
		fatal(err)
		clients[row], err = kubernetes.NewForConfig(cfg)
		fatal(err)
	}
	g := map[string]any{
		"apiVersion": "saguard.io/v1alpha1", "kind": "ServiceAccountGuard", "metadata": map[string]any{"name": "bench"},
		"spec": map[string]any{"workloads": map[string]any{}, "labels": map[string]any{"keys": []any{"role"}}, "namespaceSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "bench", "operator": "Exists"}}}},
	}
	text, err := json.Marshal(g)
	fatal(err)
	_, err = shared.admin.CoreV1().RESTClient().Post().AbsPath("/apis/saguard.io/v1alpha1/serviceaccountguards").Body(text).DoRaw(ctx)
	fatal(err)
	b.Cleanup(func() {
		if err := shared.objects.Resource(guards).Delete(context.WithoutCancel(ctx), "bench", metav1.DeleteOptions{}); err != nil {
			b.Error(err)
		}
	})

	requests := []struct {
		name string
		do   func(c kubernetes.Interface, ns string, n int) error
	}{
		{"a label's PATCH", func(c kubernetes.Interface, ns string, n int) error {
			_, err := c.CoreV1().ServiceAccounts(ns).Patch(ctx, "web", types.MergePatchType, []byte(labels(fmt.Sprintf(`"role":"r%d"`, n%2))), metav1.PatchOptions{})
			return err
		}},
		{"another PATCH of an account", func(c kubernetes.Interface, ns string, n int) error {
			_, err := c.CoreV1().ServiceAccounts(ns).Patch(ctx, "web", types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, n), metav1.PatchOptions{})
			return err
		}},
		{"a pod", func(c kubernetes.Interface, ns string, n int) error {
			_, err := c.CoreV1().Pods(ns).Create(ctx, podAs(fmt.Sprintf("p%d", n), "web"), metav1.CreateOptions{DryRun: dry()})
			return err
		}},
	}
	// Each judges, and nothing does not: a value that is not granted.
	for _, row := range rows {
		deadline := time.Now().Add(patience)
		for {
			_, err := clients[row].CoreV1().ServiceAccounts("bench-"+row).Patch(ctx, "web", types.MergePatchType, []byte(labels(`"role":"other"`)), metav1.PatchOptions{DryRun: dry()})
			denied, other := refused(err)
			if other == nil && denied == (row != "nothing") {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("%s: %v", row, err)
			}
		}
	}
	const rounds = 200
	for _, request := range requests {
		took := map[string][]time.Duration{}
		for n := range rounds + 10 {
			for _, row := range rows {
				began := time.Now()
				fatal(request.do(clients[row], "bench-"+row, n))
				if n >= 10 {
					took[row] = append(took[row], time.Since(began))
				}
			}
		}
		median := func(row string) time.Duration {
			slices.Sort(took[row])
			return took[row][rounds/2]
		}
		base := median("nothing")
		for _, row := range rows[1:] {
			b.Logf("%s: %s %v, %.2f of nothing (%v)", request.name, row, median(row), float64(median(row))/float64(base), base)
		}
		b.Logf("%s: net %.2f of the webhook", request.name, float64(median("net"))/float64(median("webhook")))
	}
	b.ReportMetric(0, "ns/op") // of the whole experiment: it would say nothing
}
