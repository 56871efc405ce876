package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/install"
)

// With no replica left and failurePolicy Fail, what is guarded waits; what the cluster and saguard's own repair need does not.
// That namespaces can be deleted then is shown by TestWebhookDownAndStarved of package admission.
func nothingLeft(t *testing.T, s *site) {
	s.ensure(t, 0)
	ctx := t.Context()
	// Of two labels one at least is a change.
	err := errors.Join(s.label(ctx, alice, 0, "r0"), s.label(ctx, alice, 0, "r1"))
	if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a guarded label was changed though nothing judged it, or refused for another reason: %v", err)
	}
	const guard = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"none"},"spec":{}}`
	_, err = s.KubectlStdin(ctx, s.Admin, strings.NewReader(guard), "create", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a guard was made though nothing judged it, or refused for another reason: %v", err)
	}
	done := 0
	must := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		done++
	}
	kubectl := func(what, stdin string, args ...string) {
		_, err := s.KubectlStdin(ctx, s.Admin, strings.NewReader(stdin), args...)
		must(what, err)
	}

	// kube-system and the nodes.
	kube := metav1.NamespaceSystem
	core := s.admin.CoreV1()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "drill", Labels: map[string]string{"role": "any"}}}
	_, err = core.ServiceAccounts(kube).Create(ctx, account, metav1.CreateOptions{})
	must("create an account in kube-system", err)
	_, err = core.ServiceAccounts(kube).Patch(ctx, "drill", types.MergePatchType, []byte(`{"metadata":{"labels":{"role":"other"}}}`), metav1.PatchOptions{})
	must("label an account in kube-system", err)
	_, err = s.admin.RbacV1().RoleBindings(kube).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "drill"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: kube}},
	}, metav1.CreateOptions{})
	must("bind a role to the default account of kube-system", err)
	_, err = core.Pods(kube).Create(ctx, pod("drill"), metav1.CreateOptions{})
	must("create a pod in kube-system", err)
	must("delete a pod in kube-system", core.Pods(kube).Delete(ctx, "drill", metav1.DeleteOptions{}))
	must("delete an account in kube-system", core.ServiceAccounts(kube).Delete(ctx, "drill", metav1.DeleteOptions{}))
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "drill"}}
	_, err = s.admin.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease, metav1.CreateOptions{})
	must("a node's lease", err)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "drill"}}
	_, err = core.Nodes().Create(ctx, node, metav1.CreateOptions{})
	must("register a node", err)
	_, err = core.Nodes().Patch(ctx, "drill", types.MergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	must("a node's status", err)
	must("remove a node", core.Nodes().Delete(ctx, "drill", metav1.DeleteOptions{}))

	// saguard's own: pods are made by the built-in controllers, all the way from the Deployment.
	kubectl("scale the Deployment", "", "scale", "deployment/saguard", "-n", install.Namespace, "--replicas=3")
	s.await(t, "three pods of the Deployment", func(ctx context.Context) error {
		pods, err := core.Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err == nil && len(pods.Items) < 3 {
			err = fmt.Errorf("%d pods", len(pods.Items))
		}
		return err
	})
	kubectl("delete the pods", "", "delete", "pods", "--all", "-n", install.Namespace, "--wait=false")
	kubectl("another image", "", "set", "image", "deployment/saguard", "webhook=saguard/webhook:other", "-n", install.Namespace)
	kubectl("its lease", "", "patch", "lease", "saguard-webhook", "-n", install.Namespace, "--type=merge", "-p", `{"spec":{"holderIdentity":""}}`)
	kubectl("its token", "", "create", "token", "saguard", "-n", install.Namespace)
	kubectl("a pod beside it", podJSON, "create", "-n", install.Namespace, "-f", "-")
	must("the chart, applied again", s.Upgrade(ctx, values...))
	kubectl("break glass: the webhooks ignore failures", "", "patch", "validatingwebhookconfiguration", "validate.saguard.io", "--type=json",
		"-p", `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)
	must("the registration, applied again", s.Upgrade(ctx, values...))

	r := s.start(t, install.ReplicaOptions{})
	s.awaitReady(t, 1)
	s.settle(t)
	table.mu.Lock()
	table.all = append(table.all, line{drill: "no replica left", requests: done, remark: "all of them writes that the cluster and saguard's repair need; guarded ones were refused until " + r.Name + " was ready"})
	table.mu.Unlock()
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}}}
}

const podJSON = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"beside"},"spec":{"containers":[{"name":"c","image":"none"}]}}`
