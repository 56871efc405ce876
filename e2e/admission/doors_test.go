package admission_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod makes a pod as the administrator, whom every guard passes.
func (te *team) pod(name, account string) {
	te.t.Helper()
	no := false
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		ServiceAccountName: account, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "c", Image: "example/app:1"}},
	}}
	if _, err := te.admin.CoreV1().Pods(te.namespace).Create(te.t.Context(), p, metav1.CreateOptions{}); err != nil {
		te.t.Fatal(err)
	}
}

// Every way into a pod is judged by the account that the pod runs as. There is no kubelet here: what passes admission fails
// later, for want of a node.
func TestConnectingIsJudgedByThePodsAccount(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	te.pod("mine", "web")
	te.pod("theirs", "payments")
	doors := map[string]func(pod string) []string{
		"exec":         func(pod string) []string { return []string{"exec", pod, "--", "true"} },
		"attach":       func(pod string) []string { return []string{"attach", pod} },
		"port-forward": func(pod string) []string { return []string{"port-forward", pod, "0:80"} },
	}
	for name, args := range doors {
		t.Run(name, func(t *testing.T) {
			for pod, refused := range map[string]bool{"mine": false, "theirs": true} {
				out, err := shared.CP.Kubectl(t.Context(), te.kubeconfig, append(args(pod), "-n", te.namespace)...)
				if err != nil {
					t.Fatal(err)
				}
				text := out.Stdout + out.Stderr
				ours := strings.Contains(text, "validate.saguard.io") && strings.Contains(text, "serviceaccounts/payments")
				// kubectl itself does not open a connection to a pod that does not run; then the API server is asked directly.
				if !ours && refused {
					err := te.client.CoreV1().RESTClient().Post().Namespace(te.namespace).Resource("pods").Name(pod).SubResource(strings.ReplaceAll(name, "-", "")).
						Param("command", "true").Param("container", "c").Param("stdout", "true").Do(t.Context()).Error()
					denied(t, err, "serviceaccounts/payments")
				}
				if ours != refused && !refused {
					t.Errorf("%s %s: %s", name, pod, text)
				}
			}
			err := te.client.CoreV1().RESTClient().Post().Namespace(te.namespace).Resource("pods").Name("mine").SubResource(strings.ReplaceAll(name, "-", "")).
				Param("command", "true").Param("container", "c").Param("stdout", "true").Do(t.Context()).Error()
			if err == nil || strings.Contains(err.Error(), "saguard") {
				t.Errorf("one's own pod: %v, want a failure for want of a node", err)
			}
		})
	}
	t.Run("ephemeral container", func(t *testing.T) {
		add := func(pod string) error {
			_, err := te.client.CoreV1().Pods(te.namespace).Patch(t.Context(), pod, types.StrategicMergePatchType,
				[]byte(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"example/debug:1"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
			return err
		}
		denied(t, add("theirs"), "serviceaccounts/payments")
		if err := add("mine"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a pod that there is not", func(t *testing.T) {
		err := te.client.CoreV1().RESTClient().Post().Namespace(te.namespace).Resource("pods").Name("nobody").SubResource("exec").Param("command", "true").Do(t.Context()).Error()
		if err == nil {
			t.Error("allowed")
		}
	})
}

func TestTokensAreJudgedByTheirAccount(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	if _, err := shared.Kubectl(t.Context(), te.kubeconfig, "create", "token", "web", "-n", te.namespace); err != nil {
		t.Error(err)
	}
	_, err := te.client.CoreV1().ServiceAccounts(te.namespace).CreateToken(t.Context(), "payments", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	denied(t, err, "serviceaccounts/payments")

	secret := func(name, account string, kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}}, Type: kind}
	}
	secrets := te.client.CoreV1().Secrets(te.namespace)
	_, err = secrets.Create(t.Context(), secret("theirs", "payments", corev1.SecretTypeServiceAccountToken), metav1.CreateOptions{})
	denied(t, err, "serviceaccounts/payments")
	if _, err := secrets.Create(t.Context(), secret("mine", "web", corev1.SecretTypeServiceAccountToken), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	// The controller manager fills it, exempt by its exact name.
	te.waitFor("the token", func(ctx context.Context) error {
		s, err := te.admin.CoreV1().Secrets(te.namespace).Get(ctx, "mine", metav1.GetOptions{})
		if err == nil && len(s.Data["token"]) == 0 {
			err = fmt.Errorf("no token yet")
		}
		return err
	})
	if _, err := secrets.Create(t.Context(), secret("plain", "payments", corev1.SecretTypeOpaque), metav1.CreateOptions{}); err != nil {
		t.Errorf("a Secret that is no token: %v", err)
	}
	_, err = secrets.Patch(t.Context(), "mine", types.MergePatchType, []byte(`{"metadata":{"annotations":{"kubernetes.io/service-account.name":"payments"}}}`), metav1.PatchOptions{})
	denied(t, err, "serviceaccounts/payments")
}

func TestReservedLabels(t *testing.T) {
	te := newTeam(t, `"workloads":{"mode":"Enforce"},"policies":{"hygiene":"Enforce"}`)
	te.waitFor("the guard", func(ctx context.Context) error {
		_, err := te.client.CoreV1().ServiceAccounts(te.namespace).Create(ctx, account("x", "pcsa.role", "a"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
	for _, key := range []string{"pcsa.role", "pcns.env", "projectcalico.org/serviceaccount", "projectcalico.org/namespace", "projectcalico.org/orchestrator"} {
		_, err := te.client.CoreV1().ServiceAccounts(te.namespace).Create(t.Context(), account("x", key, "a"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		denied(t, err, key)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{key: "a"}}, Spec: corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		_, err = te.client.CoreV1().Pods(te.namespace).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		denied(t, err, key)
	}
	if _, err := te.client.CoreV1().ServiceAccounts(te.namespace).Create(t.Context(), account("x", "pcsarole", "a", "example.com/serviceaccount", "b"), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

func TestGrantsToDefaultAccounts(t *testing.T) {
	te := newTeam(t, `"workloads":{"mode":"Enforce"},"defaultAccount":{"bindings":"Enforce"}`)
	te.role("rbac", rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"rolebindings", "roles"}},
		rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}})
	te.bind("rbac", "rbac", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: te.user})
	bind := func(ctx context.Context, s rbacv1.Subject) error {
		b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Subjects: []rbacv1.Subject{s}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "edit"}}
		_, err := te.client.RbacV1().RoleBindings(te.namespace).Create(ctx, b, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: name}
	}
	te.waitFor("the user's RBAC", func(ctx context.Context) error {
		return bind(ctx, rbacv1.Subject{Kind: "ServiceAccount", Namespace: te.namespace, Name: "web"})
	})
	for _, s := range []rbacv1.Subject{
		{Kind: "ServiceAccount", Namespace: te.namespace, Name: "default"},
		{Kind: "User", APIGroup: rbacv1.GroupName, Name: "system:serviceaccount:" + te.namespace + ":default"},
		group("system:serviceaccounts"), group("system:serviceaccounts:" + te.namespace), group("system:authenticated"),
	} {
		denied(t, bind(t.Context(), s), "bind", "serviceaccounts")
	}
	if err := bind(t.Context(), group("developers")); err != nil {
		t.Error(err)
	}
}

// A node's own pods: the kubelet mirrors its static pods, which name no account.
func TestMirrorPodsOfANodePass(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	node := client(t, userConfig(t, "system:node:n1", "system:nodes"))
	meta := metav1.ObjectMeta{Name: "node-" + te.namespace}
	rbac := te.admin.RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "system:node:n1"}}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mirror := func(ctx context.Context, account string, annotations map[string]string) error {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "static-n1", Annotations: annotations}, Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}},
		}}
		_, err := node.CoreV1().Pods(te.namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	te.waitFor("the mirror pod", func(ctx context.Context) error {
		return mirror(ctx, "", map[string]string{corev1.MirrorPodAnnotationKey: "x"})
	})
	if err := mirror(t.Context(), "payments", nil); !apierrors.IsForbidden(err) {
		t.Errorf("a node's pod that names an account: %v", err)
	}
}
