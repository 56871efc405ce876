package advisories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/saguard/saguard/api/v1alpha1"
)

// world is a guarded namespace with the accounts web and payments, and an attacker: a user who may do there everything that plain RBAC can allow,
// `use` left out, except of account web.
type world struct {
	t               *testing.T
	namespace, user string
	// admin is system:masters, whom every guard passes.
	admin, attacker kubernetes.Interface
}

var serial atomic.Int64

const patience = time.Minute

// plainVerbs are those of Kubernetes, without saguard's.
func plainVerbs() []string {
	return []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
}

func clientOf(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func userClient(t *testing.T, name string, groups ...string) kubernetes.Interface {
	t.Helper()
	cfg, err := shared.CP.User(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, cfg)
}

// newWorld makes the namespace and one guard of it, whose spec is the JSON given beside its namespaceSelector.
func newWorld(t *testing.T, spec string) *world {
	t.Helper()
	name := fmt.Sprintf("adv%d", serial.Add(1))
	w := &world{t: t, namespace: name, user: "attacker-" + name, admin: clientOf(t, shared.CP.AdminConfig())}
	w.attacker = userClient(t, w.user)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": name}}}
	if _, err := w.admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"web", "payments"} {
		if _, err := w.admin.CoreV1().ServiceAccounts(name).Create(t.Context(), labelled(account), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.grant(w.user,
		rbacv1.PolicyRule{Verbs: plainVerbs(), APIGroups: []string{"", "apps", "batch", rbacv1.GroupName}, Resources: []string{"*"}},
		rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}},
		rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"web"}},
	)
	w.guard(name, spec)
	w.await("the guard and the attacker's RBAC", func(ctx context.Context) error {
		if _, err := w.attacker.CoreV1().Pods(name).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
		_, err := w.attacker.CoreV1().ServiceAccounts(name).Create(ctx, labelled("probe", "role", "probe"), dry())
		_, as := w.attacker.CoreV1().Pods(name).Create(ctx, pod("probe", "payments"), dry())
		if !isOurs(err) && strings.Contains(spec, `"labels"`) || !isOurs(as) && strings.Contains(spec, `"workloads"`) {
			return fmt.Errorf("not enforced yet: %v, %v", err, as)
		}
		return nil
	})
	return w
}

// strict enforces everything that concerns accounts.
const strict = `"labels":{"mode":"Enforce","keys":["role"]},"workloads":{"mode":"Enforce","connect":"Enforce","tokens":"Enforce"},` +
	`"policies":{"references":"Enforce","precedence":"Enforce","hygiene":"Enforce"},"defaultAccount":{"bindings":"Enforce"}`

func dry() metav1.CreateOptions { return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}} }

// grant gives a user a Role of its own in the namespace.
func (w *world) grant(user string, rules ...rbacv1.PolicyRule) {
	w.t.Helper()
	name := fmt.Sprintf("grant%d", serial.Add(1))
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if _, err := w.admin.RbacV1().Roles(w.namespace).Create(w.t.Context(), role, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := w.admin.RbacV1().RoleBindings(w.namespace).Create(w.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// guard applies a guard of the namespace, which goes with the test.
func (w *world) guard(name, spec string) {
	w.t.Helper()
	if err := applyGuard(w.t.Context(), name, fmt.Sprintf(`"namespaceSelector":{"matchLabels":{"guarded":%q}},%s`, w.namespace, spec)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		deleteGuard(w.t, name)
	})
}

// guards are those of the cluster, as system:masters.
func guards() (dynamic.ResourceInterface, error) {
	client, err := dynamic.NewForConfig(shared.CP.AdminConfig())
	if err != nil {
		return nil, err
	}
	return client.Resource(v1alpha1.GroupVersion().WithResource("serviceaccountguards")), nil
}

func applyGuard(ctx context.Context, name, spec string) error {
	client, err := guards()
	if err != nil {
		return err
	}
	guard := &unstructured.Unstructured{}
	if err := guard.UnmarshalJSON(fmt.Appendf(nil, `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":%q},"spec":{%s}}`, name, spec)); err != nil {
		return err
	}
	_, err = client.Apply(ctx, name, guard, metav1.ApplyOptions{FieldManager: "test", Force: true})
	return err
}

func deleteGuard(t *testing.T, name string) {
	t.Helper()
	client, err := guards()
	if err == nil {
		err = client.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func (w *world) await(what string, condition func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		w.t.Fatalf("wait for %s: %v", what, last)
	}
}

// isOurs reports whether err is a denial by saguard, and not one by RBAC.
func isOurs(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "validate.saguard.io")
}

// refused asserts a denial by saguard that says every one of the texts.
func refused(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if !isOurs(err) {
		t.Errorf("%s: want a denial by saguard, got %v", what, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: the denial does not say %q: %v", what, text, err)
		}
	}
}

// labelled is a service account with labels, given as keys and values.
func labelled(name string, labels ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for i := 0; i+1 < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

func pod(name, account string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(account)}
}

func podSpec(account string) corev1.PodSpec {
	no := false
	return corev1.PodSpec{ServiceAccountName: account, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "c", Image: "example/app:1"}}}
}

func deployment(name, account string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(account)},
	}}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
