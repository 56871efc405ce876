package advisories_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// GHSA-f94q: an update was judged by the object that it replaces.
func TestUpdatesAreJudgedByWhatTheyWrite(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	w.grant(w.user, rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: []string{"role=mine"}})
	accounts := w.attacker.CoreV1().ServiceAccounts(w.namespace)
	w.await("the grant of role=mine", func(ctx context.Context) error {
		_, err := accounts.Create(ctx, labelled("x", "role", "mine"), dry())
		return err
	})
	if _, err := accounts.Create(ctx, labelled("victim", "role", "mine"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := accounts.Update(ctx, labelled("victim", "role", "trusted"), metav1.UpdateOptions{})
	refused(t, "from one's own label to another", err, "role=trusted")
	if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("foreign", "role", "trusted"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = accounts.Update(ctx, labelled("foreign", "role", "mine"), metav1.UpdateOptions{})
	refused(t, "from another label to one's own", err, "role=trusted")

	deployments := w.attacker.AppsV1().Deployments(w.namespace)
	if _, err := deployments.Create(ctx, deployment("d", "web", 0), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = deployments.Update(ctx, deployment("d", "payments", 0), metav1.UpdateOptions{})
	refused(t, "a template from web to payments", err, "serviceaccounts/payments")
	if _, err := w.admin.AppsV1().Deployments(w.namespace).Create(ctx, deployment("e", "payments", 0), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := deployments.Update(ctx, deployment("e", "web", 0), metav1.UpdateOptions{}); err != nil {
		t.Errorf("a template from payments to web: %v", err)
	}

	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "web", Namespace: w.namespace}},
	}
	bindings := w.attacker.RbacV1().RoleBindings(w.namespace)
	if _, err := bindings.Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding.Subjects[0].Name = "default"
	_, err = bindings.Update(ctx, binding, metav1.UpdateOptions{})
	refused(t, "a binding from web to default", err, "serviceaccounts/default")
}

// GHSA-p8j8: the gate stood in the mutating webhook alone, and subresources of namespaces went past it.
func TestDecisionsDoNotRestOnTheMutatingWebhook(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	if err := w.admin.AdmissionregistrationV1().MutatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.Register(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	// The stamp of the mutating webhook is missing once the API server has noticed.
	if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("stamped", "role", "x"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("the end of the mutating webhook", func(ctx context.Context) error {
		a, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("other", "role", "x"), dry())
		if err == nil && len(a.Annotations) > 0 {
			err = fmt.Errorf("still stamped: %v", a.Annotations)
		}
		return err
	})
	_, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("x", "role", "trusted"), metav1.CreateOptions{})
	refused(t, "a label", err, "role=trusted")
	forged := labelled("x")
	forged.Annotations = map[string]string{"saguard.io/labelled-by": `{"role":{"value":"trusted","user":"admin"}}`}
	_, err = w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, forged, metav1.CreateOptions{})
	refused(t, "a forged stamp", err)
	_, err = w.attacker.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), metav1.CreateOptions{})
	refused(t, "a pod", err, "serviceaccounts/payments")
}

// GHSA-p8j8, second half: which guards hold where rests on labels of namespaces; the one label that nobody can change, by any
// subresource, is the name.
func TestNamespacesCannotLeaveTheirGuardByAnotherName(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	if err := applyGuard(ctx, w.namespace, fmt.Sprintf(`"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":%q}},%s`, w.namespace, strict)); err != nil {
		t.Fatal(err)
	}
	update := map[string]func(*corev1.Namespace) error{
		"update": func(ns *corev1.Namespace) error {
			_, err := w.admin.CoreV1().Namespaces().Update(ctx, ns, metav1.UpdateOptions{})
			return err
		},
		"status": func(ns *corev1.Namespace) error {
			_, err := w.admin.CoreV1().Namespaces().UpdateStatus(ctx, ns, metav1.UpdateOptions{})
			return err
		},
		"finalize": func(ns *corev1.Namespace) error {
			_, err := w.admin.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
			return err
		},
		"patch": func(ns *corev1.Namespace) error {
			_, err := w.admin.CoreV1().Namespaces().Patch(ctx, ns.Name, types.MergePatchType, jsonOf(t, map[string]any{"metadata": map[string]any{"labels": ns.Labels}}), metav1.PatchOptions{})
			return err
		},
	}
	for name, write := range update {
		for _, alias := range []string{metav1.NamespaceSystem, "saguard-system", ""} {
			ns, err := w.admin.CoreV1().Namespaces().Get(ctx, w.namespace, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ns.Labels[corev1.LabelMetadataName] = alias
			if err := write(ns); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			ns, err = w.admin.CoreV1().Namespaces().Get(ctx, w.namespace, metav1.GetOptions{})
			if err != nil || ns.Labels[corev1.LabelMetadataName] != w.namespace {
				t.Errorf("%s to %q: the name is %q now, %v", name, alias, ns.Labels[corev1.LabelMetadataName], err)
			}
			_, err = w.attacker.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), dry())
			refused(t, name, err, "serviceaccounts/payments")
		}
	}
}

// GHSA-wpv2: whoever wrote a label "managed by" was not checked.
func TestNoLabelOrAnnotationSkipsAJudgement(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	marks := map[string]string{
		"app.kubernetes.io/managed-by": "saguard", "app.kubernetes.io/part-of": "saguard", "app.kubernetes.io/name": "saguard",
		"control-plane": "saguard-webhook", "saguard.io/ignore": "true", "saguard.io/skip": "true", "saguard.io/exempt": "true",
		"admission.gatekeeper.sh/ignore": "true", "helm.sh/chart": "saguard-0.1.0", "kubernetes.io/bootstrapping": "rbac-defaults",
	}
	for key, value := range marks {
		a := labelled("x", "role", "trusted", key, value)
		a.Annotations = map[string]string{key: value}
		_, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, a, dry())
		refused(t, "an account with "+key, err, "role=trusted")
		p := pod("x", "payments")
		p.Labels, p.Annotations = map[string]string{key: value}, map[string]string{key: value}
		_, err = w.attacker.CoreV1().Pods(w.namespace).Create(ctx, p, dry())
		refused(t, "a pod with "+key, err, "serviceaccounts/payments")
	}
	// Nothing that a user writes decides what is sent: no label of an object, and of a namespace only its name.
	registered, err := w.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil || len(registered.Items) == 0 {
		t.Fatalf("%d configurations, %v", len(registered.Items), err)
	}
	for _, configuration := range registered.Items {
		for _, hook := range configuration.Webhooks {
			if len(hook.ObjectSelector.MatchLabels)+len(hook.ObjectSelector.MatchExpressions) > 0 {
				t.Errorf("%s selects objects by label: %v", hook.Name, hook.ObjectSelector)
			}
			var keys []string
			for key := range hook.NamespaceSelector.MatchLabels {
				keys = append(keys, key)
			}
			for _, e := range hook.NamespaceSelector.MatchExpressions {
				keys = append(keys, e.Key)
			}
			if i := slices.IndexFunc(keys, func(k string) bool { return k != corev1.LabelMetadataName }); i >= 0 {
				t.Errorf("%s selects namespaces by %s", hook.Name, keys[i])
			}
		}
	}
}
