package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// podsName is the chart's webhook that judges pods.
const podsName = "pods.validate.saguard.io"

// The namespaces of BenchmarkPodCreate: without a webhook, with the allow-all one, with ours.
const (
	podsNone = "pods-none"
	podsAll  = "pods-all"
	podsOurs = "pods-ours"
)

// BenchmarkPodCreate measures CREATE of a Pod by someone who may use its account, request by request in turns, beside the
// allow-all webhook under the same rules and matchConditions, and no webhook.
func BenchmarkPodCreate(b *testing.B) {
	r := newRig(b)
	r.permitPods()
	r.registerPods()
	client, refused := r.client(user), r.client(stranger)
	// Ours is called in its namespace and in no other; it lets the user pass and nobody else.
	for _, ns := range []string{podsNone, podsAll, podsOurs} {
		eventually(b, "pods are judged as they should in "+ns, func(ctx context.Context) error {
			if _, err := createPod(ctx, client, ns, "probe-", true); err != nil {
				return err
			}
			_, err := createPod(ctx, refused, ns, "probe-", true)
			if judged := apierrors.IsForbidden(err) && strings.Contains(err.Error(), podsName); judged != (ns == podsOurs) {
				return fmt.Errorf("want judged only in %s: %v", podsOurs, err)
			}
			return nil
		})
	}
	before, err := r.calls(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	began := loadAverage()
	spaces := []string{podsNone, podsAll, podsOurs}
	const blocks, rounds = 11, 40
	medians := make([][]time.Duration, len(spaces))
	for range blocks {
		times := make([][]time.Duration, len(spaces))
		for range rounds {
			for _, i := range rand.Perm(len(spaces)) {
				took, err := createPod(b.Context(), client, spaces[i], "p-", false)
				if err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], took)
			}
		}
		for i := range times {
			medians[i] = append(medians[i], percentile(times[i], 50))
		}
	}
	after, err := r.calls(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if ours, all := after.oursValidate-before.oursValidate, after.allValidate-before.allValidate; ours != blocks*rounds || all != blocks*rounds {
		b.Errorf("called ours %d and the allow-all %d times, want %d each", ours, all, blocks*rounds)
	}
	ratio := func(a, base int) float64 {
		var ratios []float64
		for k := range medians[a] {
			ratios = append(ratios, float64(medians[a][k])/float64(medians[base][k]))
		}
		slices.Sort(ratios)
		return ratios[len(ratios)/2]
	}
	lines := []string{"", "CREATE of a Pod, serial\tp50\t"}
	for i, ns := range spaces {
		slices.Sort(medians[i])
		lines = append(lines, fmt.Sprintf("%s\t%.2f ms\t", ns, milliseconds(medians[i][blocks/2])))
	}
	show(b, lines...)
	show(b, fmt.Sprintf("load average at the start %s, at the end %s", began, loadAverage()))
	b.ReportMetric(ratio(2, 1), "p50-ours-vs-allow-all")
	b.ReportMetric(ratio(2, 0), "p50-ours-vs-none")
	b.ReportMetric(0, "ns/op")
}

func createPod(ctx context.Context, c corev1client.CoreV1Interface, namespace, prefix string, dry bool) (time.Duration, error) {
	no := false
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix, Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{
		ServiceAccountName: "web", AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "c", Image: "example/app:1"}},
	}}
	o := metav1.CreateOptions{}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	}
	began := time.Now()
	_, err := c.Pods(namespace).Create(ctx, pod, o)
	return time.Since(began), err
}

func (r *rig) permitPods() {
	r.tb.Helper()
	for _, ns := range []string{podsNone, podsAll, podsOurs} {
		if _, err := r.admin.CoreV1().Namespaces().Create(r.tb.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
			r.tb.Fatal(err)
		}
		if _, err := r.admin.CoreV1().ServiceAccounts(ns).Create(r.tb.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{}); err != nil {
			r.tb.Fatal(err)
		}
		r.grant(ns, "pods", []string{user, stranger}, rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}})
		r.grant(ns, "use", []string{user}, rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"web"}})
	}
	const guard = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"bench-pods"},
		"spec":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"` + podsOurs + `"}},"workloads":{"mode":"Enforce"}}}`
	if _, err := r.install.KubectlStdin(r.tb.Context(), r.install.Admin, strings.NewReader(guard), "create", "-f", "-"); err != nil {
		r.tb.Fatal(err)
	}
}

// registerPods registers the allow-all webhook for pods as the chart registers ours, and takes ours away elsewhere.
func (r *rig) registerPods() {
	r.tb.Helper()
	ctx, api := r.tb.Context(), r.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	ours, err := api.Get(ctx, "validate.saguard.io", metav1.GetOptions{})
	if err != nil {
		r.tb.Fatal(err)
	}
	i := slices.IndexFunc(ours.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool { return w.Name == podsName })
	if i < 0 {
		r.tb.Fatalf("the chart registers no %s", podsName)
	}
	other := *ours.Webhooks[i].DeepCopy()
	ours.Webhooks[i].NamespaceSelector = selectNamespaces([]string{podsOurs})
	if _, err := api.Update(ctx, ours, metav1.UpdateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
	other.Name, other.NamespaceSelector = "pods."+allName, selectNamespaces([]string{podsAll})
	other.ClientConfig.URL = new(r.all.url + "/validate")
	if _, err := api.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "pods." + allName}, Webhooks: []admissionregistrationv1.ValidatingWebhook{other},
	}, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
}
