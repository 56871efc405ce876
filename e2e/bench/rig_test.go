package bench_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/webhook"
)

const (
	// user holds the permissions; stranger may edit the accounts and holds none for labels.
	user, stranger = "alice", "mallory"
	// The chart's webhooks on service accounts, and the other.
	validatingName, mutatingName = "serviceaccounts.validate.saguard.io", "serviceaccounts.mutate.saguard.io"
	allName                      = "allowall.bench.saguard.io"
)

// rig is a control plane with both webhooks, and a namespace for each row.
type rig struct {
	tb        testing.TB
	install   *install.Installation
	admin     kubernetes.Interface
	ours, all *hook
	rows      []row
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{tb: tb, rows: rows()}
	excluded := r.namespaces(func(w row) bool { return !w.judged })
	installation, err := install.New(tb.Context(), install.Options{
		ControlPlane: controlplane.Options{Log: os.Stderr}, Log: os.Stderr,
		Values: []string{"webhook.excludedNamespaces={" + strings.Join(excluded, ",") + "}"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := installation.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	r.install = installation
	if r.admin, err = kubernetes.NewForConfig(installation.CP.AdminConfig()); err != nil {
		tb.Fatal(err)
	}
	r.ours = &hook{url: installation.WebhookURL(), metrics: installation.Webhook().MetricsAddress, pid: installation.Webhook().Pid()}
	r.all = startAllowAll(tb, installation.CP)
	r.register()
	r.permit()
	r.checkWiring()
	return r
}

// register takes the chart's mutating webhook away from the row that has only the validating one, and registers the other
// webhook: with the chart's rules, match conditions and settings, and nothing else than its name, address and namespaces.
func (r *rig) register() {
	r.tb.Helper()
	ctx, api := r.tb.Context(), r.admin.AdmissionregistrationV1()
	mutating, err := api.MutatingWebhookConfigurations().Get(ctx, "mutate.saguard.io", metav1.GetOptions{})
	if err != nil {
		r.tb.Fatal(err)
	}
	i := slices.IndexFunc(mutating.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool { return w.Name == mutatingName })
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, "validate.saguard.io", metav1.GetOptions{})
	if err != nil {
		r.tb.Fatal(err)
	}
	j := slices.IndexFunc(validating.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool { return w.Name == validatingName })
	if i < 0 || j < 0 {
		r.tb.Fatalf("the chart registers no %s or no %s", mutatingName, validatingName)
	}
	otherMutating, otherValidating := *mutating.Webhooks[i].DeepCopy(), *validating.Webhooks[j].DeepCopy()

	mutateIn := mutating.Webhooks[i].NamespaceSelector.MatchExpressions
	mutateIn[0].Values = append(mutateIn[0].Values, r.namespaces(func(w row) bool { return w.validatingOnly })...)
	if _, err := api.MutatingWebhookConfigurations().Update(ctx, mutating, metav1.UpdateOptions{}); err != nil {
		r.tb.Fatal(err)
	}

	url := func(path string) *string { return new(r.all.url + path) }
	otherMutating.Name, otherValidating.Name = allName, allName
	otherMutating.ClientConfig.URL, otherValidating.ClientConfig.URL = url("/mutate"), url("/validate")
	otherMutating.NamespaceSelector = selectNamespaces(r.namespaces(func(w row) bool { return w.calls.allMutate > 0 }))
	otherValidating.NamespaceSelector = selectNamespaces(r.namespaces(func(w row) bool { return w.calls.allValidate > 0 }))
	meta := metav1.ObjectMeta{Name: allName}
	if _, err := api.MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: meta, Webhooks: []admissionregistrationv1.MutatingWebhook{otherMutating},
	}, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
	if _, err := api.ValidatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: meta, Webhooks: []admissionregistrationv1.ValidatingWebhook{otherValidating},
	}, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *rig) namespaces(which func(row) bool) []string {
	var out []string
	for _, row := range r.rows {
		if which(row) {
			out = append(out, row.namespace)
		}
	}
	return out
}

func selectNamespaces(names []string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: names},
	}}
}

// permit makes the namespaces, the guard and the permissions, and waits until each counts.
func (r *rig) permit() {
	r.tb.Helper()
	ctx := r.tb.Context()
	for _, row := range r.rows {
		if _, err := r.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: row.namespace, Labels: map[string]string{"env": "prod"}},
		}, metav1.CreateOptions{}); err != nil {
			r.tb.Fatal(err)
		}
		r.grant(row.namespace, "edit", []string{user, stranger}, rbacv1.PolicyRule{
			Verbs: []string{"get", "create", "update", "patch"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"},
		})
		r.grant(row.namespace, "labels", []string{user}, rbacv1.PolicyRule{
			Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: []string{"role=r0", "role=r1"},
		})
	}
	const guard = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"bench"},
		"spec":{"namespaceSelector":{"matchLabels":{"env":"prod"}},"labels":{"mode":"Enforce","keys":["role"]}}}`
	if _, err := r.install.KubectlStdin(ctx, r.install.Admin, strings.NewReader(guard), "create", "-f", "-"); err != nil {
		r.tb.Fatal(err)
	}
	// One who holds nothing is refused by ours where it is registered, and there alone; one who holds all is not.
	holder, refused := r.client(user), r.client(stranger)
	for _, row := range r.rows {
		r.account(row, "probe")
		try := func(ctx context.Context, who corev1client.CoreV1Interface) error {
			_, err := who.ServiceAccounts(row.namespace).Patch(ctx, "probe", types.MergePatchType, changeValue.patch(0), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		eventually(r.tb, "permissions count in "+row.namespace, func(ctx context.Context) error {
			if err := try(ctx, holder); err != nil {
				return err
			}
			err := try(ctx, refused)
			if row.judged && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), validatingName)) {
				return fmt.Errorf("want a denial, got %v", err)
			}
			if !row.judged {
				return err
			}
			return nil
		})
	}
}

func (r *rig) grant(namespace, name string, users []string, rule rbacv1.PolicyRule) {
	r.tb.Helper()
	meta := metav1.ObjectMeta{Name: name}
	if _, err := r.admin.RbacV1().Roles(namespace).Create(r.tb.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
	b := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: u})
	}
	if _, err := r.admin.RbacV1().RoleBindings(namespace).Create(r.tb.Context(), b, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
}

// account makes a service account with nothing to guard on it.
func (r *rig) account(row row, name string) {
	r.tb.Helper()
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}}}
	if row.annotated {
		a.Annotations = map[string]string{webhook.AnnotationLabelledBy: `{"role":"` + user + `"}`}
	}
	if _, err := r.admin.CoreV1().ServiceAccounts(row.namespace).Create(r.tb.Context(), a, metav1.CreateOptions{}); err != nil {
		r.tb.Fatal(err)
	}
}

// client is a client of its own: another certificate each time, and so another connection.
func (r *rig) client(name string) corev1client.CoreV1Interface {
	r.tb.Helper()
	config, err := r.install.CP.User(name, "developers")
	if err != nil {
		r.tb.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		r.tb.Fatal(err)
	}
	return c.CoreV1()
}

// calls are all calls of both webhooks so far.
func (r *rig) calls(ctx context.Context) (p perPatch, err error) {
	if p.oursValidate, p.oursMutate, err = r.ours.calls(ctx); err != nil {
		return p, err
	}
	p.allValidate, p.allMutate, err = r.all.calls(ctx)
	return p, err
}

// checkWiring waits until one PATCH of each row calls the webhooks that it should.
func (r *rig) checkWiring() {
	r.tb.Helper()
	worker := r.worker("wiring")
	for i, row := range r.rows {
		eventually(r.tb, "a PATCH of "+row.name+" calls what it should", func(ctx context.Context) error {
			before, err := r.calls(ctx)
			if err != nil {
				return err
			}
			if _, err := worker.patch(ctx, i); err != nil {
				return err
			}
			after, err := r.calls(ctx)
			if err != nil {
				return err
			}
			if want := before.plus(row.calls); after != want {
				return fmt.Errorf("calls %+v, want %+v", after, want)
			}
			return nil
		})
	}
}

// expectCalls runs do, which returns how many PATCHes of each row it made, and checks that the webhooks were called so often:
// else the rows are not what their names say. The API server may call again for a PATCH: if the object it began with, from its
// cache, is no longer the newest. So up to a fiftieth may be more, but none where no webhook is to be called.
func (r *rig) expectCalls(do func() []int) {
	r.tb.Helper()
	before, err := r.calls(r.tb.Context())
	if err != nil {
		r.tb.Fatal(err)
	}
	var want perPatch
	for i, n := range do() {
		want = want.plus(r.rows[i].calls.times(n))
	}
	after, err := r.calls(r.tb.Context())
	if err != nil {
		r.tb.Fatal(err)
	}
	for what, n := range map[string][2]int{
		"saguard /validate":   {want.oursValidate, after.oursValidate - before.oursValidate},
		"saguard /mutate":     {want.oursMutate, after.oursMutate - before.oursMutate},
		"allow-all /validate": {want.allValidate, after.allValidate - before.allValidate},
		"allow-all /mutate":   {want.allMutate, after.allMutate - before.allMutate},
	} {
		if n[1] < n[0] || n[1] > n[0]+n[0]/50 {
			r.tb.Errorf("%s was called %d times, want %d", what, n[1], n[0])
		}
	}
}

// expectSilence checks that PATCHes of the rows without a webhook call none.
func (r *rig) expectSilence(workers []*worker) {
	r.tb.Helper()
	r.expectCalls(func() []int {
		return r.during(workers, func() {
			for i, row := range r.rows {
				if row.calls == (perPatch{}) {
					r.alone(workers, []int{i}, 1, 10)
				}
			}
		})
	})
}
