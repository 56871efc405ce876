package safetynet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

//nolint:gochecknoglobals // constant of a struct type
var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func newCaller(t *testing.T, user string) *caller {
	t.Helper()
	cfg, err := shared.CP.User(user)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &caller{Interface: as(t, user), dynamic: d}
}

// clusterRole grants a rule to users everywhere, for the time of the test.
func clusterRole(t *testing.T, name string, rule rbacv1.PolicyRule, users ...string) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "safetynet-" + name}
	api := shared.admin.RbacV1()
	if _, err := api.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: u})
	}
	if _, err := api.ClusterRoleBindings().Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(api.ClusterRoleBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{}), api.ClusterRoles().Delete(ctx, meta.Name, metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
}

// roleIn grants the team's user a rule in another namespace.
func (te *team) roleIn(namespace string, rule rbacv1.PolicyRule) {
	te.t.Helper()
	other := *te
	other.namespace = namespace
	other.role("safetynet-"+te.namespace, rule)
}

func canI(ctx context.Context, c kubernetes.Interface, namespace string, rule rbacv1.PolicyRule) (bool, error) {
	resource, subresource := rule.Resources[0], ""
	if resource == "serviceaccounts/labels" {
		resource, subresource = "serviceaccounts", "labels"
	}
	review, err := c.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: rule.Verbs[0], Resource: resource, Subresource: subresource, Namespace: namespace, Name: rule.ResourceNames[0]},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// No policy protects policies, so one who may delete them needs nothing else; all that is saguard's is free then.
func TestTheNetCanBeTakenAway(t *testing.T) {
	te := newTeam(t)
	te.guard("workloads: {}")
	ctx := t.Context()
	clusterRole(t, "uninstall", workRule(), te.user)
	alice := as(t, te.user)
	until(t, "the guard", true, te.runPod(alice, "default"))
	api := alice.AdmissionregistrationV1()
	policies, err := shared.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{LabelSelector: netLabel})
	if err != nil {
		t.Fatal(err)
	}
	all := metav1.ListOptions{LabelSelector: netLabel}
	eventually(t, "the role", func(ctx context.Context) error {
		return api.ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, all)
	})
	if err := api.ValidatingAdmissionPolicies().DeleteCollection(ctx, metav1.DeleteOptions{}, all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		for _, p := range policies.Items {
			p.ResourceVersion, p.UID = "", ""
			if _, err := shared.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, &p, metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
		}
		if err := shared.restoreBindings(ctx); err != nil {
			t.Error(err)
		}
	})
	until(t, "no net", false, te.runPod(alice, "default"))
	until(t, "no net around its own objects", false, func(ctx context.Context) error {
		return alice.RbacV1().ClusterRoleBindings().Delete(ctx, "saguard", metav1.DeleteOptions{DryRun: dry()})
	})
}

// Without a guard, and without the guards' CRD, nothing is refused but changes of what is saguard's own. All of it comes back.
func TestWithoutGuardsNothingIsRefused(t *testing.T) {
	te := newTeam(t)
	ctx := t.Context()
	clusterRole(t, "outage", workRule(), te.user)
	alice := as(t, te.user)
	pod, label := te.runPod(alice, "default"), te.label(alice, "default", `"role":"x"`)
	const spec = "workloads: {}, labels: {keys: [role]}"
	passes := func(when string) {
		t.Helper()
		until(t, when, false, pod)
		until(t, when, false, label)
		until(t, when+": the net around its own objects", true, func(ctx context.Context) error {
			return alice.RbacV1().ClusterRoleBindings().Delete(ctx, "saguard", metav1.DeleteOptions{DryRun: dry()})
		})
	}
	te.guard(spec)
	until(t, "the guard", true, pod)
	if err := shared.objects.Resource(guards).Delete(ctx, te.namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	passes("no guard")

	te.guard(spec)
	until(t, "the guard", true, pod)
	crd, err := shared.objects.Resource(crds).Get(ctx, guards.Resource+"."+guards.Group, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.objects.Resource(crds).Delete(ctx, crd.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the CRD to go", func(ctx context.Context) error {
		_, err := shared.objects.Resource(crds).Get(ctx, crd.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there, %v", err)
	})
	passes("no CRD")

	again := object(t, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: "+crd.GetName()+"}")
	again.SetLabels(crd.GetLabels())
	again.SetAnnotations(crd.GetAnnotations())
	again.Object["spec"] = crd.Object["spec"]
	if _, err := shared.objects.Resource(crds).Create(ctx, again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the CRD again", func(ctx context.Context) error {
		_, err := shared.objects.Resource(guards).List(ctx, metav1.ListOptions{})
		return err
	})
	began := time.Now()
	te.guard(spec)
	until(t, "the guard again", true, pod)
	t.Logf("after the CRD came back the net was in force within %v", time.Since(began).Round(100*time.Millisecond))
}

// An API server that does not know the guards, as one that was started without their CRD, passes or refuses what failurePolicy says.
// A copy of a policy, with a kind of guards that there is not, stands for that.
func TestFailurePolicyDecidesWhereGuardsAreUnknown(t *testing.T) {
	te := newTeam(t)
	ctx := t.Context()
	alice := as(t, te.user)
	pod := te.runPod(alice, "default")
	const name = "unknown.example.com"
	api := shared.admin.AdmissionregistrationV1()
	p, err := api.ValidatingAdmissionPolicies().Get(ctx, "account-use.safety-net.saguard.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.ObjectMeta = metav1.ObjectMeta{Name: name}
	p.Spec.ParamKind.Kind = "NoSuchKind"
	p.Spec.FailurePolicy = new(admissionregistrationv1.Fail)
	if _, err := api.ValidatingAdmissionPolicies().Create(ctx, p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, "account-use.safety-net.saguard.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.ObjectMeta, b.Spec.PolicyName = metav1.ObjectMeta{Name: name}, name
	b.Spec.MatchResources = &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": te.namespace}}}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(ctx, b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		if err := errors.Join(
			api.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
			api.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}),
		); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "failurePolicy Fail", func(ctx context.Context) error {
		err := pod(ctx)
		if apierrors.IsInvalid(err) && strings.Contains(err.Error(), "failed to configure policy") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	if _, err := api.ValidatingAdmissionPolicies().Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"failurePolicy":"Ignore"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "failurePolicy Ignore", pod)
}
