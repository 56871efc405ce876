package drills

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/install"
)

// alice may give the labels that the load writes, mallory may give none.
const (
	namespace      = "drills"
	alice, mallory = "alice", "mallory"
)

// site is the installation with a guarded namespace, and users who change labels in it.
type site struct {
	*install.Installation
	admin   kubernetes.Interface
	clients map[string]kubernetes.Interface
	serial  int
}

func newSite(t *testing.T, own *install.Installation) *site {
	t.Helper()
	ctx := t.Context()
	s := &site{Installation: own, clients: map[string]kubernetes.Interface{}}
	var err error
	if s.admin, err = kubernetes.NewForConfig(own.CP.AdminConfig()); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{alice, mallory} {
		cfg, err := own.CP.User(user)
		if err != nil {
			t.Fatal(err)
		}
		if s.clients[user], err = kubernetes.NewForConfig(cfg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.grant(t, "edit", []string{alice, mallory}, rbacv1.PolicyRule{Verbs: []string{"create", "patch"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}})
	s.grant(t, "labels", []string{alice}, useLabels("role=r0", "role=r1"))
	const guard = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"drills"},
		"spec":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"drills"}},"labels":{"mode":"Enforce","keys":["role"]}}}`
	if _, err := own.KubectlStdin(ctx, own.Admin, strings.NewReader(guard), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{alice, mallory} {
		for n := range workers {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", user, n)}}
			if _, err := s.admin.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.settle(t)
	return s
}

func useLabels(names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: names}
}

func (s *site) grant(t *testing.T, name string, users []string, rule rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}}
	if _, err := s.admin.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.RbacV1().RoleBindings(namespace).Create(t.Context(), s.binding(name, users...), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s *site) binding(role string, users ...string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}}
	for _, user := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user})
	}
	return b
}

// settle waits until every replica that gets connections judges alice and mallory as it should; after that any answer that
// differs is a loss or a hole.
func (s *site) settle(t *testing.T) {
	t.Helper()
	s.await(t, "both users to be judged", func(ctx context.Context) error {
		// Each of these is judged by one replica; a few in a row by all of them, or nearly.
		for range 8 {
			if err := s.label(ctx, alice, 0, "r0"); err != nil {
				return err
			}
			if err := s.label(ctx, mallory, 0, "r0"); !ourDenial(err) {
				return fmt.Errorf("mallory: %v", err)
			}
		}
		return nil
	})
}

// label gives a service account of the user's own the label role.
func (s *site) label(ctx context.Context, user string, account int, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"labels":{"role":%q}}}`, value)
	// client-go itself would repeat what an API server refuses for a while, and hide it.
	return s.clients[user].CoreV1().RESTClient().Patch(types.MergePatchType).MaxRetries(0).Namespace(namespace).Resource("serviceaccounts").
		Name(fmt.Sprintf("%s-%d", user, account)).Body([]byte(patch)).Do(ctx).Error()
}

// ourDenial says that err is a decision, not a failure to make one.
func ourDenial(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `"serviceaccounts.validate.saguard.io" denied the request`)
}

func (s *site) await(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("wait for %s: %v", what, last)
	}
}

func (s *site) awaitReady(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Service().Await(ctx, func(ready []*install.Replica) bool { return len(ready) == n }); err != nil {
		t.Fatal(err)
	}
}

// start starts a replica and makes it an endpoint.
func (s *site) start(t *testing.T, o install.ReplicaOptions) *install.Replica {
	t.Helper()
	s.serial++
	o.Name = fmt.Sprintf("more-%d", s.serial)
	r, err := s.StartReplica(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Service().Add(r)
	return r
}

// ensure makes n replicas ready, and leaves no other.
func (s *site) ensure(t *testing.T, n int) []*install.Replica {
	t.Helper()
	ready := s.Service().Ready()
	for i := len(ready); i < n; i++ {
		s.start(t, install.ReplicaOptions{})
	}
	many := ready[min(n, len(ready)):]
	ended := make(chan error, len(many))
	for _, r := range many {
		go func() { ended <- s.Service().Terminate(t.Context(), r) }()
	}
	for range many {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	s.awaitReady(t, n)
	return s.Service().Ready()
}

// errNot is the error of a condition that does not hold yet.
func errNot(what string, err error) error { return fmt.Errorf("not %s yet: %v", what, err) }
