package advisories_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CVE-2026-84200: of two exceptions that match, the one that asks for least won.
func TestTheStricterOfTwoGuardsHolds(t *testing.T) {
	lenient := map[string]string{
		"a guard with the checks off":  `"labels":{"mode":"Off","keys":["role"]},"workloads":{"mode":"Off","connect":"Off","tokens":"Off"}`,
		"a guard that warns":           `"labels":{"mode":"Warn","keys":["role"]},"workloads":{"mode":"Warn","connect":"Warn","tokens":"Warn"}`,
		"a guard of nothing":           `"labels":{"keys":["other"]}`,
		"a guard that exempts them":    strict + `,"exempt":{"users":["%s"]}`,
		"a guard that is off for them": `"workloads":{"mode":"Off"},"exempt":{"users":["%s"]}`,
	}
	for name, spec := range lenient {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, strict)
			spec := strings.ReplaceAll(spec, "%s", w.user)
			// Before and behind the strict one in the order of names, and made later.
			for i, other := range []string{"a-" + w.namespace, "z-" + w.namespace} {
				key := fmt.Sprintf("seen%d", i)
				w.guard(other, spec)
				// A guard of its own tells when the webhook has seen the other: it is written after it.
				w.guard(fmt.Sprintf("m%d-%s", i, w.namespace), fmt.Sprintf(`"labels":{"mode":"Enforce","keys":[%q]}`, key))
				w.await("the second guard", func(ctx context.Context) error {
					if _, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("x", key, "v"), dry()); !isOurs(err) {
						return fmt.Errorf("create: %v", err)
					}
					return nil
				})
			}
			_, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(t.Context(), labelled("x", "role", "trusted"), dry())
			refused(t, "a label", err, "role=trusted")
			_, err = w.attacker.CoreV1().Pods(w.namespace).Create(t.Context(), pod("x", "payments"), dry())
			refused(t, "a pod", err, "serviceaccounts/payments")
		})
	}
}

// gatekeeper#529: exempting the group of kube-system's accounts exempted the replicaset controller, and so whoever can make a
// ReplicaSet.
func TestExemptingControllersExemptsNobodyElse(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	for _, group := range []string{"system:serviceaccounts:kube-system", "system:serviceaccounts", "system:authenticated", "system:unauthenticated"} {
		err := applyGuard(ctx, "exempting-"+w.namespace, fmt.Sprintf(`"namespaceSelector":{"matchLabels":{"guarded":%q}},%s,"exempt":{"groups":[%q]}`, w.namespace, strict, group))
		if err == nil {
			t.Errorf("a guard may exempt %s", group)
		}
	}
	// The controllers pass; whoever has them make pods is asked when the template is written.
	_, err := w.attacker.AppsV1().Deployments(w.namespace).Create(ctx, deployment("theirs", "payments", 1), metav1.CreateOptions{})
	refused(t, "a Deployment of payments", err, "serviceaccounts/payments")
	if _, err := w.attacker.AppsV1().Deployments(w.namespace).Create(ctx, deployment("mine", "web", 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("the controllers' pod", func(ctx context.Context) error {
		pods, err := w.admin.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=mine"})
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("%d pods", len(pods.Items))
		}
		return err
	})
	// A pod that says a controller made it, and names that resemble a controller's, are nobody's.
	replicaSets, err := w.admin.AppsV1().ReplicaSets(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=mine"})
	if err != nil || len(replicaSets.Items) != 1 {
		t.Fatalf("%d ReplicaSets, %v", len(replicaSets.Items), err)
	}
	owned, yes := pod("x", "payments"), true
	owned.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSets.Items[0].Name, UID: replicaSets.Items[0].UID, Controller: &yes,
	}}
	_, err = w.attacker.CoreV1().Pods(w.namespace).Create(ctx, owned, dry())
	refused(t, "a pod with an owner", err, "serviceaccounts/payments")
	for _, user := range []string{
		"system:serviceaccount:kube-system:replicaset-controller2", "system:serviceaccount:kube-system:",
		"system:serviceaccount:" + w.namespace + ":replicaset-controller", "System:ServiceAccount:kube-system:replicaset-controller",
	} {
		w.grant(user, rbacv1.PolicyRule{Verbs: plainVerbs(), APIGroups: []string{""}, Resources: []string{"pods"}})
		client := userClient(t, user, "system:serviceaccounts", "system:serviceaccounts:kube-system")
		w.await("the RBAC of "+user, func(ctx context.Context) error {
			_, err := client.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{Limit: 1})
			return err
		})
		_, err := client.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), dry())
		refused(t, user, err, "serviceaccounts/payments")
	}
}

// GO-2025-3652: where the labels of a namespace could not be found, it was taken for one without labels, and no policy matched it.
func TestNamespacesOfThisInstantAreGuarded(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	user := "founder-" + w.namespace
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{
		{Verbs: plainVerbs(), APIGroups: []string{""}, Resources: []string{"serviceaccounts", "pods", "namespaces"}},
	}}
	if _, err := w.admin.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := w.admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client := userClient(t, user)
	w.await("the founder's RBAC", func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
	// A namespace that the webhook cannot find is not one without labels. The API server never sends such a request; a webhook whose
	// watch is late sees the same.
	unknown := labelled("x", "role", "trusted")
	unknown.APIVersion, unknown.Kind = "v1", "ServiceAccount"
	status, text, err := post(ctx, shared.WebhookURL(), reviewOf(t, w.namespace+"-unknown", user, nil, unknown))
	if answer := answerOf(status, text, err); answer == nil || answer.Allowed {
		t.Errorf("in a namespace that there is not: %d %s, %v", status, text, err)
	}
	// Several ask all the time, so that one does in the moment between the namespace and the webhook's knowing of it.
	const tries, askers = 10, 16
	for i := range tries {
		name := fmt.Sprintf("%s-%d", w.namespace, i)
		var group sync.WaitGroup
		for asker := range askers {
			group.Go(func() {
				account := labelled(fmt.Sprintf("x%d", asker), "role", "trusted")
				for ctx.Err() == nil {
					_, err := client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{})
					switch {
					case apierrors.IsNotFound(err):
						continue // not yet
					case isOurs(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err):
						// "Try again" would be an answer, too; passing is none.
					default:
						t.Errorf("in namespace %s, made an instant ago: %v", name, err)
					}
					return
				}
			})
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": w.namespace}}}
		_, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
	}
}
