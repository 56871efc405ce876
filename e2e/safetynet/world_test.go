package safetynet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/e2e/install"
)

const patience = time.Minute

// world is the installation with the net alone in force.
type world struct {
	*install.Installation
	admin   kubernetes.Interface
	objects dynamic.Interface
	// bindings are those of the net, as they were installed.
	bindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding
}

func newWorld(ctx context.Context, i *install.Installation) (*world, error) {
	w := &world{Installation: i}
	var err error
	if w.admin, err = kubernetes.NewForConfig(i.CP.AdminConfig()); err != nil {
		return nil, err
	}
	if w.objects, err = dynamic.NewForConfig(i.CP.AdminConfig()); err != nil {
		return nil, err
	}
	if err := i.CP.InstallCRDs(ctx, os.DirFS("../testdata/calico-crds")); err != nil {
		return nil, err
	}
	if err := i.CP.InstallCRDs(ctx, os.DirFS("testdata/crds")); err != nil {
		return nil, err
	}
	list, err := w.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{LabelSelector: netLabel})
	if err != nil {
		return nil, err
	}
	for _, b := range list.Items {
		b.ResourceVersion, b.UID = "", ""
		w.bindings = append(w.bindings, b)
	}
	if len(w.bindings) == 0 {
		return nil, fmt.Errorf("the chart made no binding")
	}
	return w, w.removeWebhook(ctx)
}

// netLabel selects the net's objects.
const netLabel = "app.kubernetes.io/component=safety-net"

// removeWebhook ends the webhook and takes its registration away, as somebody would who wants it gone.
func (w *world) removeWebhook(ctx context.Context) error {
	if err := w.StopWebhook(ctx); err != nil {
		return err
	}
	api := w.admin.AdmissionregistrationV1()
	if err := api.ValidatingWebhookConfigurations().Delete(ctx, "validate.saguard.io", metav1.DeleteOptions{}); err != nil {
		return err
	}
	err := api.MutatingWebhookConfigurations().Delete(ctx, "mutate.saguard.io", metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil // the benchmark took it away
	}
	return err
}

func (w *world) restoreWebhook(ctx context.Context) error {
	if err := w.StartWebhook(ctx); err != nil {
		return err
	}
	return w.Register(ctx)
}

func (w *world) removeBindings(ctx context.Context) error {
	return w.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: netLabel})
}

func (w *world) restoreBindings(ctx context.Context) error {
	for _, b := range w.bindings {
		if _, err := w.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, &b, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// team is a namespace with labels guarded=NAME and apart, in which user alice-NAME may do everything that Kubernetes has a verb for.
type team struct {
	t         *testing.T
	namespace string
	user      string
}

var serial atomic.Int64

func newTeam(t *testing.T) *team {
	t.Helper()
	name := fmt.Sprintf("n%d", serial.Add(1))
	te := &team{t: t, namespace: name, user: "alice-" + name}
	if _, err := shared.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": name, "apart": "true"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	te.role("work", workRule())
	eventually(t, "the account default", func(ctx context.Context) error {
		_, err := shared.admin.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return te
}

// workRule is every verb that Kubernetes itself asks for, on everything.
func workRule() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, APIGroups: []string{"*"}, Resources: []string{"*"},
	}
}

// role grants rules to everybody whose name is in users; by default the team's user.
func (te *team) role(name string, rule rbacv1.PolicyRule, users ...string) {
	te.t.Helper()
	meta := metav1.ObjectMeta{Name: name}
	if _, err := shared.admin.RbacV1().Roles(te.namespace).Create(te.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		te.t.Fatal(err)
	}
	if len(users) == 0 {
		users = []string{te.user}
	}
	b := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: u})
	}
	if _, err := shared.admin.RbacV1().RoleBindings(te.namespace).Create(te.t.Context(), b, metav1.CreateOptions{}); err != nil {
		te.t.Fatal(err)
	}
}

func use(resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{resource}, ResourceNames: names}
}

// guard makes a guard of the team's namespace; spec is the rest of it, in YAML.
func (te *team) guard(spec string) {
	te.t.Helper()
	shared.guard(te.t, te.namespace, fmt.Sprintf("namespaceSelector: {matchLabels: {guarded: %s}}, %s", te.namespace, spec))
}

var guards = schema.GroupVersionResource{Group: "saguard.io", Version: "v1alpha1", Resource: "serviceaccountguards"}

func (w *world) guard(t *testing.T, name, spec string) {
	t.Helper()
	g := object(t, "apiVersion: saguard.io/v1alpha1\nkind: ServiceAccountGuard\nmetadata: {name: "+name+"}")
	var s map[string]any
	if err := yaml.UnmarshalStrict([]byte("{"+spec+"}"), &s); err != nil {
		t.Fatal(err)
	}
	g.Object["spec"] = s
	if _, err := w.objects.Resource(guards).Create(t.Context(), g, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := w.objects.Resource(guards).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &o.Object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

// as is a client of a user's own.
func as(t *testing.T, user string, groups ...string) kubernetes.Interface {
	t.Helper()
	cfg, err := shared.CP.User(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// errClaimRemoved says that the mutating webhook put its own claim in the place of the user's.
var errClaimRemoved = errors.New("the claim did not stay")

// refused reports whether it was admission of ours that refused; any other error but those of what comes after admission is
// returned.
func refused(err error) (bool, error) {
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, errClaimRemoved):
		return true, nil
	case apierrors.IsForbidden(err) && (strings.Contains(err.Error(), ".safety-net.saguard.io'") || strings.Contains(err.Error(), ".validate.saguard.io\"")):
		return true, nil
	default:
		return false, err
	}
}

func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	var last error
	if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("wait for %s: %v", what, last)
	}
}

// until waits until a dry run is refused, or passes.
func until(t *testing.T, what string, want bool, try func(context.Context) error) {
	t.Helper()
	eventually(t, what, func(ctx context.Context) error {
		denied, err := refused(try(ctx))
		if err != nil {
			return err
		}
		if denied != want {
			return fmt.Errorf("refused: %v", denied)
		}
		return nil
	})
}
