package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/hollow"
)

func forbidden(resource string) clienttesting.ReactionFunc {
	return func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: rbacv1.GroupName, Resource: resource}, "", errors.New("no"))
	}
}

func TestRBACFromCluster(t *testing.T) {
	objects := []runtime.Object{
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "r"}}, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "dev", Name: "r"}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "b"}}, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "c"}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "cb"}},
	}
	for namespace, roles := range map[string]int{"prod": 1, "": 2, "other": 0} {
		o, err := rbacFromCluster(t.Context(), fake.NewClientset(objects...).RbacV1(), namespace)
		if err != nil || len(o.Roles) != roles || len(o.ClusterRoles) != 1 || len(o.ClusterRoleBindings) != 1 {
			t.Errorf("namespace %q: got %+v, %v", namespace, o, err)
		}
	}
}

// Whoever may not list part of RBAC gets no answer at all, and is told what to ask for.
func TestRBACThatMayNotBeListed(t *testing.T) {
	for resource, want := range map[string]string{
		"clusterroles": "list clusterroles.rbac.authorization.k8s.io -A", "clusterrolebindings": "list clusterrolebindings.rbac.authorization.k8s.io -A",
		"roles": "list roles.rbac.authorization.k8s.io -n prod", "rolebindings": "list rolebindings.rbac.authorization.k8s.io -n prod",
	} {
		c := fake.NewClientset()
		c.PrependReactor("list", resource, forbidden(resource))
		o, err := rbacFromCluster(t.Context(), c.RbacV1(), "prod")
		if o != nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", resource, o, err, want)
		}
	}
}

// Half a list is no list.
func TestPages(t *testing.T) {
	broken := errors.New("expired")
	cases := map[string]struct {
		tokens []string // of the pages, in order
		fail   int      // the page that fails; 0 = none
	}{
		"one page":             {tokens: []string{""}},
		"three pages":          {tokens: []string{"a", "b", ""}},
		"the second one fails": {tokens: []string{"a", "b", ""}, fail: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var asked []string
			err := pages(func(o metav1.ListOptions) (metav1.ListInterface, error) {
				asked = append(asked, o.Continue)
				if o.Limit != pageSize {
					t.Errorf("limit %d", o.Limit)
				}
				if len(asked) == tc.fail {
					return nil, broken
				}
				return &metav1.ListMeta{Continue: tc.tokens[len(asked)-1]}, nil
			})
			if tc.fail > 0 {
				if !errors.Is(err, broken) || len(asked) != tc.fail {
					t.Errorf("asked %q, error %v", asked, err)
				}
				return
			}
			if want := append([]string{""}, tc.tokens[:len(tc.tokens)-1]...); err != nil || !slices.Equal(asked, want) {
				t.Errorf("asked %q, want %q, error %v", asked, want, err)
			}
		})
	}
}

func TestGuardsFromCluster(t *testing.T) {
	guards, namespaces := v1alpha1.GroupVersion().WithResource("serviceaccountguards"), schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	kinds := map[schema.GroupVersionResource]string{guards: "ServiceAccountGuardList", namespaces: "NamespaceList"}
	guard := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "saguard.io/v1alpha1", "kind": "ServiceAccountGuard", "metadata": map[string]any{"name": "g"},
		"spec": map[string]any{"workloads": map[string]any{"tokens": "Enforce", "fieldOfAnotherVersion": true}},
	}}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "prod"}}}
	cases := map[string]struct {
		objects []runtime.Object
		react   string // resource whose list fails
		err     error
		known   bool
		mode    v1alpha1.Mode
		note    string
		fails   bool
	}{
		"a guard":                           {objects: []runtime.Object{guard, namespace}, known: true, mode: v1alpha1.ModeEnforce},
		"no guard":                          {objects: []runtime.Object{namespace}, known: true, mode: v1alpha1.ModeOff, note: "nothing is guarded"},
		"no CRD":                            {react: "serviceaccountguards", err: apierrors.NewNotFound(guards.GroupResource(), ""), known: true, mode: v1alpha1.ModeOff, note: "not installed"},
		"guards that may not be listed":     {react: "serviceaccountguards", err: apierrors.NewForbidden(guards.GroupResource(), "", errors.New("no")), note: "you may not list"},
		"namespaces that may not be listed": {objects: []runtime.Object{guard}, react: "namespaces", err: apierrors.NewForbidden(namespaces.GroupResource(), "", errors.New("no")), note: "you may not list"},
		"a cluster that is away":            {react: "serviceaccountguards", err: errors.New("away"), fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, tc.objects...)
			if tc.react != "" {
				c.PrependReactor("list", tc.react, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tc.err })
			}
			fact, notes, err := guardsFromCluster(t.Context(), c)
			if (err != nil) != tc.fails || !strings.Contains(strings.Join(notes, " "), tc.note) {
				t.Fatalf("notes %q, error %v", notes, err)
			}
			modes, known := fact.Get()
			if known != tc.known {
				t.Fatalf("known %v, want %v", known, tc.known)
			}
			if known {
				if got := modes.Weakest(hollow.JudgedByToken, "prod"); got != tc.mode {
					t.Errorf("mode %s, want %s", got, tc.mode)
				}
			}
		})
	}
}

func TestLiveObjects(t *testing.T) {
	accounts := schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	there := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": "web", "namespace": "prod"}}}
	c := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{accounts: "ServiceAccountList"}, there)
	get := func(ctx context.Context, name string) (*unstructured.Unstructured, error) {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"namespace": "prod"}}}
		if name != "" {
			o.SetName(name)
		}
		return liveFrom(c)(ctx, &checkItem{manifest: manifest{Unstructured: o}, resource: accounts, namespaced: true})
	}
	for name, want := range map[string]bool{"web": true, "other": false, "": false} {
		if o, err := get(t.Context(), name); err != nil || (o != nil) != want {
			t.Errorf("%q: got %v, %v", name, o, err)
		}
	}
	c.PrependReactor("get", "serviceaccounts", forbidden("serviceaccounts"))
	if o, err := get(t.Context(), "web"); err == nil || o != nil {
		t.Errorf("an object that may not be read counts as %v, %v", o, err)
	}
}
