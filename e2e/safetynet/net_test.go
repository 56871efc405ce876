package safetynet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/saguard/saguard/e2e/install"
)

// runPod attempts a pod as an account, as a dry run.
func (te *team) runPod(c kubernetes.Interface, account string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.CoreV1().Pods(te.namespace).Create(ctx, podAs("x", account), metav1.CreateOptions{DryRun: dry()})
		return err
	}
}

func podAs(name, account string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "example/a"}}}}
}

// label attempts a merge patch of an account's labels, as a dry run.
func (te *team) label(c kubernetes.Interface, account, pairs string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.CoreV1().ServiceAccounts(te.namespace).Patch(ctx, account, types.MergePatchType, []byte(labels(pairs)), metav1.PatchOptions{DryRun: dry()})
		return err
	}
}

func expect(t *testing.T, what string, denied bool, err error) {
	t.Helper()
	got, other := refused(err)
	if other != nil {
		t.Errorf("%s: %v", what, other)
	} else if got != denied {
		t.Errorf("%s: refused %v, want %v (%v)", what, got, denied, err)
	}
}

// TestNetAlone is what the net does by itself; none of it changes the net.
func TestNetAlone(t *testing.T) {
	for name, run := range map[string]func(*testing.T){
		"grants and revocations count at once": grantsAndRevocationsCountAtOnce,
		"28 labels and their trace":            twentyEightLabelsAndTheirTrace,
		"warn and audit refuse nothing":        warnAndAuditRefuseNothing,
		"every expression type-checks":         everyExpressionTypeChecks,
		"the cluster goes on":                  theClusterGoesOn,
		"own objects":                          ownObjects,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

// A permission counts from the request after it was granted until the one before it is taken away.
func grantsAndRevocationsCountAtOnce(t *testing.T) {
	te := newTeam(t)
	te.guard("workloads: {}, labels: {keys: [role]}")
	alice := as(t, te.user)
	until(t, "the guard", true, te.runPod(alice, "default"))
	for name, tc := range map[string]struct {
		rule rbacv1.PolicyRule
		try  func(context.Context) error
		says string
	}{
		"account": {use("serviceaccounts", "default"), te.runPod(alice, "default"), "kubectl auth can-i use serviceaccounts/default -n " + te.namespace},
		"label":   {use("serviceaccounts/labels", "role=web"), te.label(alice, "default", `"role":"web"`), "kubectl auth can-i use serviceaccounts/role=web --subresource=labels -n " + te.namespace},
	} {
		err := tc.try(t.Context())
		expect(t, name+" without a grant", true, err)
		if err == nil || !strings.HasSuffix(err.Error(), tc.says) {
			t.Errorf("%s: %v does not end with %q", name, err, tc.says)
		}
		status := apierrors.APIStatus(nil)
		if !errors.As(err, &status) || status.Status().Code != 403 || status.Status().Reason != metav1.StatusReasonForbidden {
			t.Errorf("%s: %#v, want 403 Forbidden", name, err)
		}
		te.role(name, tc.rule)
		until(t, "the grant of "+name, false, tc.try)
		if err := shared.admin.RbacV1().RoleBindings(te.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		// What the API server's own authorizer knows is what the net knows.
		eventually(t, "the revocation of "+name, func(ctx context.Context) error {
			expectRevoked, err := canI(ctx, alice, te.namespace, tc.rule)
			if err != nil || expectRevoked {
				return fmt.Errorf("still granted, %v", err)
			}
			return nil
		})
		expect(t, name+" after the revocation", true, tc.try(t.Context()))
	}
}

// Each of 28 labels is judged, whichever policy it falls to, and what is judged can be read in the audit log.
func twentyEightLabelsAndTheirTrace(t *testing.T) {
	te := newTeam(t)
	var keys, names, pairs []string
	for i := range 28 {
		key := fmt.Sprintf("example.com/k%02d", i)
		keys, names, pairs = append(keys, key), append(names, key+"=v"), append(pairs, fmt.Sprintf("%q:%q", key, "v"))
	}
	te.guard("workloads: {}, labels: {keys: [" + strings.Join(keys, ",") + "]}")
	alice := as(t, te.user)
	all := te.label(alice, "default", strings.Join(pairs, ","))
	until(t, "the guard", true, all)
	some := []int{0, 2, 3, 16, 27}
	for _, i := range some {
		role := fmt.Sprintf("but-%02d", i)
		user := fmt.Sprintf("%s-%02d", te.user, i)
		te.role("work-"+role, workRule(), user)
		te.role(role, use("serviceaccounts/labels", append(append([]string{}, names[:i]...), names[i+1:]...)...), user)
	}
	te.role("all", use("serviceaccounts/labels", names...))
	until(t, "all grants", false, all)
	for _, i := range some {
		err := te.label(as(t, fmt.Sprintf("%s-%02d", te.user, i)), "default", strings.Join(pairs, ","))(t.Context())
		expect(t, "all but "+names[i], true, err)
		if err != nil && !strings.Contains(err.Error(), "serviceaccounts/"+names[i]+" ") {
			t.Errorf("all but %s: %v", names[i], err)
		}
	}
	event, err := shared.CP.WaitAudit(t.Context(), func(e *auditv1.Event) bool {
		return e.User.Username == te.user && e.Verb == "patch" && e.ResponseStatus.Code == 200
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		got := strings.Split(event.Annotations[fmt.Sprintf("label-use-%02d.safety-net.saguard.io/asked", i+1)], ",")
		if want := keys[3*i : min(3*i+3, 28)]; strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("annotation %d: %q, want %q", i+1, got, want)
		}
	}
}

func warnAndAuditRefuseNothing(t *testing.T) {
	te := newTeam(t)
	te.guard("workloads: {mode: Warn}, labels: {mode: Audit, keys: [role]}")
	warnings := &collector{}
	cfg, err := shared.CP.User(te.user)
	if err != nil {
		t.Fatal(err)
	}
	cfg.WarningHandler = warnings
	alice, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a warning", func(ctx context.Context) error {
		if err := te.runPod(alice, "default")(ctx); err != nil {
			return err
		}
		if !strings.Contains(strings.Join(warnings.texts, "\n"), "kubectl auth can-i use serviceaccounts/default -n "+te.namespace) {
			return fmt.Errorf("warnings %q", warnings.texts)
		}
		return nil
	})
	if err := te.label(alice, "default", `"role":"x"`)(t.Context()); err != nil {
		t.Error(err)
	}
	event, err := shared.CP.WaitAudit(t.Context(), func(e *auditv1.Event) bool {
		return e.User.Username == te.user && e.Verb == "patch" && e.ObjectRef.Resource == "serviceaccounts"
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := event.Annotations["validation.policy.admission.k8s.io/validation_failure"]; !strings.Contains(got, "role=x") {
		t.Errorf("annotations %v", event.Annotations)
	}
}

type collector struct{ texts []string }

func (c *collector) HandleWarningHeader(_ int, _, text string) { c.texts = append(c.texts, text) }

var _ rest.WarningHandler = (*collector)(nil)

// The API server's own type checker knows the schemas of all kinds, the guard's among them.
func everyExpressionTypeChecks(t *testing.T) {
	eventually(t, "the type checker", func(ctx context.Context) error {
		list, err := shared.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{LabelSelector: netLabel})
		if err != nil {
			return err
		}
		if len(list.Items) != len(shared.bindings) {
			return fmt.Errorf("%d policies, %d bindings", len(list.Items), len(shared.bindings))
		}
		for _, p := range list.Items {
			if p.Status.ObservedGeneration != p.Generation || p.Status.TypeChecking == nil {
				return fmt.Errorf("%s is not checked yet", p.Name)
			}
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", p.Name, w.FieldRef, w.Warning)
			}
		}
		return nil
	})
}

// With guards that hold everywhere, what keeps a cluster running goes on.
func theClusterGoesOn(t *testing.T) {
	te := newTeam(t)
	ctx := t.Context()
	if _, err := shared.admin.CoreV1().Namespaces().Patch(ctx, te.namespace, types.MergePatchType, []byte(labels(`"apart":null`)), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	// Everywhere but in the namespaces of other tests.
	shared.guard(t, "everywhere", "namespaceSelector: {matchExpressions: [{key: apart, operator: DoesNotExist}]}, workloads: {}, labels: {keys: [role]}")
	alice := as(t, te.user)
	until(t, "the guard", true, te.runPod(alice, "default"))
	if _, err := shared.admin.CoreV1().ServiceAccounts(te.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"role": "web"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Controllers make pods of what was judged, also of saguard's own.
	o := object(t, strings.Replace(workload("apps/v1", "Deployment", selector+"replicas: 1,", "web"), "name: x", "name: app", 1))
	if _, err := (&caller{dynamic: shared.objects, namespace: te.namespace}).resource(o).Create(ctx, o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for namespace, selector := range map[string]string{te.namespace: "a=b", install.Namespace: "app.kubernetes.io/component=webhook"} {
		eventually(t, "pods of "+namespace, func(ctx context.Context) error {
			pods, err := shared.admin.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil || len(pods.Items) == 0 {
				return fmt.Errorf("none, %v", err)
			}
			return nil
		})
	}
	// kube-system is nobody's business.
	system := *te
	system.namespace = "kube-system"
	te.roleIn("kube-system", workRule())
	eventually(t, "a pod in kube-system", func(ctx context.Context) error { return system.runPod(alice, "default")(ctx) })
	// A namespace goes with all that is in it.
	if err := shared.admin.CoreV1().Namespaces().Delete(ctx, te.namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace to go", func(ctx context.Context) error {
		_, err := shared.admin.CoreV1().Namespaces().Get(ctx, te.namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there, %v", err)
	})
}

// One who may do everything that Kubernetes has a verb for may not touch saguard; one who may escalate may.
func ownObjects(t *testing.T) {
	ctx := t.Context()
	wide, owner := "wide", "owner"
	clusterRole(t, "wide", workRule(), wide, owner)
	clusterRole(t, "owner", rbacv1.PolicyRule{Verbs: []string{"escalate"}, APIGroups: []string{"saguard.io"}, Resources: []string{"serviceaccountguards"}}, owner)
	shared.guard(t, "own", "")
	if _, err := shared.admin.CoreV1().Secrets(install.Namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "saguard-tls"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hooks := shared.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := hooks.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "validate.saguard.io"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hooks.Delete(context.WithoutCancel(ctx), "validate.saguard.io", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	change := []byte(`{"metadata":{"labels":{"x":"y"}}}`)
	dryPatch, dryDelete := metav1.PatchOptions{DryRun: dry()}, metav1.DeleteOptions{DryRun: dry()}
	attempts := map[string]func(context.Context, *caller) error{
		"a guard": func(ctx context.Context, c *caller) error {
			return c.dynamic.Resource(guards).Delete(ctx, "own", dryDelete)
		},
		"all guards": func(ctx context.Context, c *caller) error {
			return c.dynamic.Resource(guards).DeleteCollection(ctx, dryDelete, metav1.ListOptions{})
		},
		"a guard's spec": func(ctx context.Context, c *caller) error {
			_, err := c.dynamic.Resource(guards).Patch(ctx, "own", types.MergePatchType, []byte(`{"spec":{"workloads":{"mode":"Off"}}}`), dryPatch)
			return err
		},
		"the webhooks": func(ctx context.Context, c *caller) error {
			return c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "validate.saguard.io", dryDelete)
		},
		"all webhooks": func(ctx context.Context, c *caller) error {
			return c.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(ctx, dryDelete, metav1.ListOptions{})
		},
		"the webhooks' labels": func(ctx context.Context, c *caller) error {
			_, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, "validate.saguard.io", types.MergePatchType, change, dryPatch)
			return err
		},
		"the cluster role": func(ctx context.Context, c *caller) error {
			_, err := c.RbacV1().ClusterRoles().Patch(ctx, "saguard", types.MergePatchType, change, dryPatch)
			return err
		},
		"the binding": func(ctx context.Context, c *caller) error {
			return c.RbacV1().ClusterRoleBindings().Delete(ctx, "saguard", dryDelete)
		},
		"all bindings of a label": func(ctx context.Context, c *caller) error {
			return c.RbacV1().ClusterRoleBindings().DeleteCollection(ctx, dryDelete, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=saguard"})
		},
		"the certificate": func(ctx context.Context, c *caller) error {
			_, err := c.CoreV1().Secrets(install.Namespace).Patch(ctx, "saguard-tls", types.MergePatchType, []byte(`{"data":{"x":"eA=="}}`), dryPatch)
			return err
		},
		"the account": func(ctx context.Context, c *caller) error {
			return c.CoreV1().ServiceAccounts(install.Namespace).Delete(ctx, "saguard", dryDelete)
		},
		"the replicas": func(ctx context.Context, c *caller) error {
			_, err := c.AppsV1().Deployments(install.Namespace).Patch(ctx, "saguard", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), dryPatch, "scale")
			return err
		},
		"the pods": func(ctx context.Context, c *caller) error {
			return c.CoreV1().Pods(install.Namespace).DeleteCollection(ctx, dryDelete, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		},
		"a pod as its account": func(ctx context.Context, c *caller) error {
			_, err := c.CoreV1().Pods(install.Namespace).Create(ctx, podAs("x", "saguard"), metav1.CreateOptions{DryRun: dry()})
			return err
		},
		"the namespace": func(ctx context.Context, c *caller) error {
			return c.CoreV1().Namespaces().Delete(ctx, install.Namespace, dryDelete)
		},
		"the CRD": func(ctx context.Context, c *caller) error {
			return c.dynamic.Resource(crds).Delete(ctx, "serviceaccountguards.saguard.io", dryDelete)
		},
	}
	free := map[string]func(context.Context, *caller) error{
		"another pod there": func(ctx context.Context, c *caller) error {
			_, err := c.CoreV1().Pods(install.Namespace).Create(ctx, podAs("x", "default"), metav1.CreateOptions{DryRun: dry()})
			return err
		},
		"a guard's annotation": func(ctx context.Context, c *caller) error {
			_, err := c.dynamic.Resource(guards).Patch(ctx, "own", types.MergePatchType, []byte(`{"metadata":{"annotations":{"x":"y"}}}`), dryPatch)
			return err
		},
		"an eviction": func(ctx context.Context, c *caller) error {
			pods, err := c.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook", Limit: 1})
			if err != nil || len(pods.Items) == 0 {
				return fmt.Errorf("no pod, %v", err)
			}
			err = c.CoreV1().Pods(install.Namespace).EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pods.Items[0].Name}, DeleteOptions: &dryDelete})
			if apierrors.IsTooManyRequests(err) {
				return nil // the PodDisruptionBudget's word
			}
			return err
		},
	}
	clients := map[string]*caller{}
	for _, user := range []string{wide, owner} {
		clients[user] = newCaller(t, user)
	}
	until(t, "the roles", true, func(ctx context.Context) error { return attempts["a guard"](ctx, clients[wide]) })
	until(t, "the roles", false, func(ctx context.Context) error { return attempts["a guard"](ctx, clients[owner]) })
	for name, do := range attempts {
		err := do(ctx, clients[wide])
		expect(t, name+", by one who may everything", true, err)
		if err != nil && !strings.Contains(err.Error(), "kubectl auth can-i escalate serviceaccountguards.saguard.io") {
			t.Errorf("%s: %v", name, err)
		}
		expect(t, name+", by an owner", false, do(ctx, clients[owner]))
		expect(t, name+", by system:masters", false, do(ctx, &caller{Interface: shared.admin, dynamic: shared.objects}))
	}
	for name, do := range free {
		expect(t, name, false, do(ctx, clients[wide]))
	}
	// The line of a denial is answered without a warning, and rightly.
	for user, want := range map[string]string{wide: "no", owner: "yes"} {
		kubeconfig, err := shared.CP.Kubeconfig(user)
		if err != nil {
			t.Fatal(err)
		}
		out, err := shared.CP.Kubectl(ctx, kubeconfig, "auth", "can-i", "escalate", "serviceaccountguards.saguard.io", "-A")
		if err != nil || strings.TrimSpace(out.Stdout) != want || strings.TrimSpace(out.Stderr) != "" {
			t.Errorf("%s: can-i %q %q %v, want %s", user, out.Stdout, out.Stderr, err, want)
		}
	}
}
