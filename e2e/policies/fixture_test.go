package policies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// The two groups that hold Calico's objects.
var groups = []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}}

var plurals = map[string]string{
	"NetworkPolicy": "networkpolicies", "GlobalNetworkPolicy": "globalnetworkpolicies",
	"StagedNetworkPolicy": "stagednetworkpolicies", "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
	"NetworkSet": "networksets", "GlobalNetworkSet": "globalnetworksets", "HostEndpoint": "hostendpoints", "Tier": "tiers",
}

var serial atomic.Int64

const patience = time.Minute

// bothGroups runs a test in either group.
func bothGroups(t *testing.T, run func(*testing.T, schema.GroupVersion)) {
	t.Helper()
	for _, gv := range groups {
		t.Run(gv.Group, func(t *testing.T) { run(t, gv) })
	}
}

// tenant is a guarded namespace with a user who may do everything to Calico's objects that plain RBAC can allow, and has no
// permission of saguard's.
type tenant struct {
	t               *testing.T
	namespace, user string
	admin           kubernetes.Interface
	root, client    dynamic.Interface
}

func config(t *testing.T, cfg *rest.Config) *rest.Config {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	return cfg
}

func dynamicClient(t *testing.T, cfg *rest.Config) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(config(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kubernetesClient(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newTenant makes a tenant and a guard that enforces policies, in the tenant's namespace and for all that is cluster-scoped.
func newTenant(t *testing.T) *tenant {
	t.Helper()
	ctx := t.Context()
	name := fmt.Sprintf("p%d", serial.Add(1))
	tn := &tenant{t: t, namespace: name, user: "user-" + name}
	tn.admin = kubernetesClient(t, shared.CP.AdminConfig())
	tn.root = dynamicClient(t, shared.CP.AdminConfig())
	tn.client = tn.as(tn.user)
	if _, err := tn.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": name}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.grant("", rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{groups[0].Group, groups[1].Group}, Resources: []string{"*"}})
	tn.guard(`"policies":{"references":"Enforce","precedence":"Enforce","hygiene":"Enforce"}`)
	for _, gv := range groups {
		tn.eventually("the guard and the user's RBAC", func(ctx context.Context) error {
			return refused(tn.create(ctx, tn.client, gv, allow("{serviceAccounts: {}}"), true), "source.serviceAccounts")
		})
	}
	return tn
}

func (tn *tenant) as(user string) dynamic.Interface {
	tn.t.Helper()
	cfg, err := shared.CP.User(user)
	if err != nil {
		tn.t.Fatal(err)
	}
	return dynamicClient(tn.t, cfg)
}

func (tn *tenant) apply(object string) {
	tn.t.Helper()
	if _, err := shared.KubectlStdin(tn.t.Context(), shared.Admin, strings.NewReader(object), "apply", "-f", "-"); err != nil {
		tn.t.Fatal(err)
	}
}

// remove deletes a cluster-scoped object when the test ends.
func (tn *tenant) remove(kind, name string) {
	tn.t.Cleanup(func() {
		if _, err := shared.Kubectl(context.WithoutCancel(tn.t.Context()), shared.Admin, "delete", kind, name, "--ignore-not-found"); err != nil {
			tn.t.Error(err)
		}
	})
}

// guard makes the tenant's guard; spec is the JSON of further fields.
func (tn *tenant) guard(spec string) {
	tn.t.Helper()
	tn.apply(fmt.Sprintf(`{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":%q},"spec":{"namespaceSelector":{"matchLabels":{"guarded":%q}},%s}}`,
		tn.namespace, tn.namespace, spec))
	tn.remove("serviceaccountguard", tn.namespace)
}

// band makes a PolicyBand in a tier.
func (tn *tenant) band(name, tier, spec string) {
	tn.t.Helper()
	tn.apply(fmt.Sprintf(`{"apiVersion":"saguard.io/v1alpha1","kind":"PolicyBand","metadata":{"name":%q},"spec":{"tiers":[%q],%s}}`, name, tier, spec))
	tn.remove("policyband", name)
}

// grant gives the user rules in a namespace, or with "" cluster-wide, and returns how to take them away.
func (tn *tenant) grant(namespace string, rules ...rbacv1.PolicyRule) (revoke func()) {
	tn.t.Helper()
	ctx := tn.t.Context()
	meta := metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", tn.namespace, serial.Add(1)), Namespace: namespace}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: tn.user}}
	rbac := tn.admin.RbacV1()
	var err, bound error
	if namespace == "" {
		_, err = rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		_, bound = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}, metav1.CreateOptions{})
	} else {
		_, err = rbac.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		_, bound = rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}}, metav1.CreateOptions{})
	}
	if err != nil || bound != nil {
		tn.t.Fatal(err, bound)
	}
	return func() {
		tn.t.Helper()
		err := rbac.RoleBindings(namespace).Delete(ctx, meta.Name, metav1.DeleteOptions{})
		if namespace == "" {
			err = rbac.ClusterRoleBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{})
		}
		if err != nil {
			tn.t.Fatal(err)
		}
	}
}

func bindAccounts(names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: names}
}

func bindLabels(names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: names}
}

func useBands(names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{"saguard.io"}, Resources: []string{"policybands"}, ResourceNames: names}
}

// object reads YAML of kind, metadata and spec; without a name it is "p". Of Calico's store the labels are in an annotation, and a
// name that names no tier has that of the default one before it.
func (tn *tenant) object(gv schema.GroupVersion, text string) *unstructured.Unstructured {
	tn.t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &obj.Object); err != nil {
		tn.t.Fatalf("%v in\n%s", err, text)
	}
	obj.SetAPIVersion(gv.String())
	if obj.GetName() == "" {
		obj.SetName("p")
	}
	if namespaced(obj) {
		obj.SetNamespace(tn.namespace)
	}
	if gv.Group == "crd.projectcalico.org" {
		meta, err := json.Marshal(map[string]any{"labels": obj.GetLabels()})
		if err != nil {
			tn.t.Fatal(err)
		}
		obj.SetAnnotations(map[string]string{"projectcalico.org/metadata": string(meta)})
		obj.SetLabels(nil)
		if obj.GetKind() != "Tier" && !strings.Contains(obj.GetName(), ".") {
			obj.SetName("default." + obj.GetName())
		}
	}
	return obj
}

func namespaced(obj *unstructured.Unstructured) bool {
	return !strings.Contains(obj.GetKind(), "Global") && obj.GetKind() != "HostEndpoint" && obj.GetKind() != "Tier"
}

func resource(c dynamic.Interface, gv schema.GroupVersion, obj *unstructured.Unstructured) dynamic.ResourceInterface {
	r := c.Resource(gv.WithResource(plurals[obj.GetKind()]))
	if namespaced(obj) {
		return r.Namespace(obj.GetNamespace())
	}
	return r
}

func (tn *tenant) create(ctx context.Context, c dynamic.Interface, gv schema.GroupVersion, text string, dry bool) error {
	obj := tn.object(gv, text)
	o := metav1.CreateOptions{}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	} else if !namespaced(obj) {
		tn.remove(plurals[obj.GetKind()]+"."+gv.Group, obj.GetName())
	}
	_, err := resource(c, gv, obj).Create(ctx, obj, o)
	return err
}

// existing makes an object as the administrator, whom every guard passes.
func (tn *tenant) existing(gv schema.GroupVersion, text string) {
	tn.t.Helper()
	if err := tn.create(tn.t.Context(), tn.root, gv, text, false); err != nil {
		tn.t.Fatal(err)
	}
}

// update replaces the object of the same kind and name.
func (tn *tenant) update(ctx context.Context, gv schema.GroupVersion, text string) error {
	obj := tn.object(gv, text)
	r := resource(tn.client, gv, obj)
	old, err := r.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	obj.SetResourceVersion(old.GetResourceVersion())
	_, err = r.Update(ctx, obj, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func (tn *tenant) delete(ctx context.Context, gv schema.GroupVersion, text string) error {
	obj := tn.object(gv, text)
	return resource(tn.client, gv, obj).Delete(ctx, obj.GetName(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
}

// eventually polls until the condition has no error: what the webhook knows of RBAC, guards and bands is a moment old.
func (tn *tenant) eventually(what string, condition func(context.Context) error) {
	tn.t.Helper()
	ctx, cancel := context.WithTimeout(tn.t.Context(), patience)
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

// refused returns an error unless err is our denial that says every one of the texts.
func refused(err error, texts ...string) error {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), ".validate.saguard.io") {
		return fmt.Errorf("want a denial by saguard, got %w", orNothing(err))
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			return fmt.Errorf("denial %q does not say %q", err.Error(), text)
		}
	}
	return nil
}

func orNothing(err error) error {
	if err == nil {
		return errAllowed
	}
	return err
}

var errAllowed = errors.New("no error")

func allow(source string) string {
	return "kind: NetworkPolicy\nspec: {ingress: [{action: Allow, source: " + source + "}]}\n"
}
