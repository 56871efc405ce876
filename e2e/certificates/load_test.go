package certificates

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	namespace = "certificates"
	perSecond = 200
	workers   = 16
)

// site is a namespace with guarded labels, and a user who may set some of them.
type site struct {
	admin, user kubernetes.Interface
}

func unlimited(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newSite(t *testing.T) *site {
	t.Helper()
	ctx := t.Context()
	user, err := shared.CP.User("alice")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{admin: unlimited(t, shared.CP.AdminConfig()), user: unlimited(t, user)}
	const objects = `{"apiVersion":"v1","kind":"List","items":[
		{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"certificates"}},
		{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"certificates"},"spec":{
			"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"certificates"}},"labels":{"mode":"Enforce","keys":["role"]}}}]}`
	if _, err := shared.KubectlStdin(ctx, shared.Admin, strings.NewReader(objects), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "alice"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"create", "patch"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}},
		{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: []string{"role=r0", "role=r1"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "alice"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "alice"},
	}
	if _, err := s.admin.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := s.admin.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for n := range workers {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", n)}}
		if _, err := s.admin.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	await(t, "the guard, obeyed by both replicas", func(ctx context.Context) error {
		for range 8 {
			if err := s.label(ctx, 0, "forbidden"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "validate.saguard.io") {
				return fmt.Errorf("a label that nobody granted: %v", err)
			}
		}
		return s.label(ctx, 0, "r0")
	})
	return s
}

// label changes the label of a worker's account, which both of saguard's configurations judge with failurePolicy Fail.
func (s *site) label(ctx context.Context, worker int, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"role":%q}}}`, value)
	_, err := s.user.CoreV1().ServiceAccounts(namespace).Patch(ctx, fmt.Sprintf("a%d", worker), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// load is label changes at a rate, until stopped.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	began  time.Time

	mu        sync.Mutex
	latencies []time.Duration
	failures  []failure
}

type failure struct {
	at  time.Time
	err error
}

func (s *site) load(t *testing.T) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, began: time.Now()}
	turns := make(chan int)
	l.done.Go(func() {
		defer close(turns)
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case turns <- n:
			}
		}
	})
	for w := range workers {
		l.done.Go(func() {
			value := 0
			for range turns {
				value = 1 - value // what changes nothing is not sent to the webhook
				start := time.Now()
				err := s.label(context.WithoutCancel(ctx), w, fmt.Sprintf("r%d", value))
				l.mu.Lock()
				if err != nil {
					l.failures = append(l.failures, failure{start, err})
				} else {
					l.latencies = append(l.latencies, time.Since(start))
				}
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(cancel)
	return l
}

// stop ends the load and prints what was lost.
func (l *load) stop(t *testing.T, drill, remark string) []failure {
	t.Helper()
	l.cancel()
	l.done.Wait()
	took := time.Since(l.began)
	slices.Sort(l.latencies)
	n := len(l.latencies)
	if n == 0 {
		t.Fatalf("%s: no request was answered; %v", drill, l.failures)
	}
	requests := n + len(l.failures)
	t.Logf("%s: %d label changes in %s (%.0f/s), %d lost, p50 %s, p99 %s; %s", drill, requests, took.Round(100*time.Millisecond),
		float64(requests)/took.Seconds(), len(l.failures), l.latencies[n/2].Round(100*time.Microsecond), l.latencies[n*99/100].Round(100*time.Microsecond), remark)
	return l.failures
}

// none asserts that nothing was lost.
func none(t *testing.T, failures []failure) {
	t.Helper()
	for i, f := range failures {
		if i == 3 {
			break
		}
		t.Errorf("lost at %s: %v", f.at.Format("15:04:05.000"), f.err)
	}
}

// await polls until there is no error.
func await(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v", what, err)
		}
	}
}
