package admission_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// tenant is a namespace of its own with a user who may edit its service accounts.
type tenant struct {
	t         *testing.T
	namespace string
	user      string
	// admin is system:masters; client is the user.
	admin, client kubernetes.Interface
}

var serial atomic.Int64

const patience = time.Minute

func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func userConfig(t *testing.T, name string, groups ...string) *rest.Config {
	t.Helper()
	cfg, err := shared.CP.User(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// newTenant makes a namespace whose labels say guarded=NAME, and a user in group tenant-NAME who may do anything to its
// service accounts but has no saguard permission.
func newTenant(t *testing.T) *tenant {
	t.Helper()
	ctx := t.Context()
	name := fmt.Sprintf("t%d", serial.Add(1))
	tn := &tenant{t: t, namespace: name, user: "user-" + name, admin: client(t, shared.CP.AdminConfig())}
	if _, err := tn.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": name}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.client = client(t, userConfig(t, tn.user, "group-"+name))
	tn.role("edit", rbacv1.PolicyRule{Verbs: []string{"get", "list", "create", "update", "patch", "delete", "deletecollection"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}})
	tn.bind("edit", "edit", rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "group-" + name})
	tn.waitFor("the user's RBAC", func(ctx context.Context) error {
		_, err := tn.client.CoreV1().ServiceAccounts(name).List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
	return tn
}

func (tn *tenant) role(name string, rules ...rbacv1.PolicyRule) {
	tn.t.Helper()
	if _, err := tn.admin.RbacV1().Roles(tn.namespace).Create(tn.t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *tenant) bind(name, role string, subject rbacv1.Subject) {
	tn.t.Helper()
	b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{subject}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}}
	if _, err := tn.admin.RbacV1().RoleBindings(tn.namespace).Create(tn.t.Context(), b, metav1.CreateOptions{}); err != nil {
		tn.t.Fatal(err)
	}
}

func useLabels(names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: names}
}

// grantLabels gives the user "use" of label grants in the tenant's namespace and waits until it holds.
func (tn *tenant) grantLabels(names ...string) {
	tn.t.Helper()
	role := fmt.Sprintf("labels-%d", serial.Add(1))
	tn.role(role, useLabels(names...))
	tn.bind(role, role, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: tn.user})
}

// guard makes a ServiceAccountGuard for the tenant's namespace alone and waits until the webhook obeys it. spec is the JSON
// of further fields.
func (tn *tenant) guard(spec string) {
	tn.t.Helper()
	tn.applyGuard(tn.namespace, fmt.Sprintf(`{"namespaceSelector":{"matchLabels":{"guarded":%q}},%s}`, tn.namespace, spec))
	tn.t.Cleanup(func() {
		ctx := context.WithoutCancel(tn.t.Context())
		if _, err := shared.Kubectl(ctx, shared.Admin, "delete", "serviceaccountguard", tn.namespace, "--ignore-not-found"); err != nil {
			tn.t.Error(err)
		}
	})
}

func (tn *tenant) applyGuard(name, spec string) {
	tn.t.Helper()
	obj := fmt.Sprintf(`{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":%q},"spec":%s}`, name, spec)
	if _, err := shared.KubectlStdin(tn.t.Context(), shared.Admin, strings.NewReader(obj), "apply", "-f", "-"); err != nil {
		tn.t.Fatal(err)
	}
}

// guardLabels guards keys in mode Enforce and waits until the webhook enforces the first, by a dry run.
func (tn *tenant) guardLabels(keys ...string) {
	tn.t.Helper()
	tn.guard(fmt.Sprintf(`"labels":{"mode":"Enforce","keys":["%s"]}`, strings.Join(keys, `","`)))
	tn.waitFor("the guard", func(ctx context.Context) error {
		key := strings.Replace(keys[0], "/*", "/probe", 1)
		probe := account("probe", key, "never-granted")
		_, err := tn.client.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("not enforced yet: %v", err)
		}
		return nil
	})
}

func account(name string, labels ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i := 0; i+1 < len(labels); i += 2 {
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

// existing makes an account as the administrator, whom every guard passes.
func (tn *tenant) existing(name string, labels ...string) {
	tn.t.Helper()
	if _, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Create(tn.t.Context(), account(name, labels...), metav1.CreateOptions{}); err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *tenant) get(name string) *corev1.ServiceAccount {
	tn.t.Helper()
	a, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Get(tn.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		tn.t.Fatal(err)
	}
	return a
}

// waitFor polls until the condition has no error.
func (tn *tenant) waitFor(what string, condition func(context.Context) error) {
	tn.t.Helper()
	tn.wait(patience, what, condition)
}

// waitForLong is waitFor for what happens once a minute.
func (tn *tenant) waitForLong(what string, condition func(context.Context) error) {
	tn.t.Helper()
	tn.wait(2*time.Minute, what, condition)
}

func (tn *tenant) wait(limit time.Duration, what string, condition func(context.Context) error) {
	tn.t.Helper()
	ctx, cancel := context.WithTimeout(tn.t.Context(), limit)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		tn.t.Fatalf("wait for %s: %v", what, last)
	}
}

// denied asserts that err is our denial and that it says every one of the texts.
func denied(t *testing.T, err error, texts ...string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "validate.saguard.io") {
		t.Errorf("want a denial by saguard, got %v", err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("denial %q does not say %q", err, text)
		}
	}
}

func counter(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	v, err := shared.Counter(t.Context(), name, labels)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
