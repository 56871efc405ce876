package oracle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

const (
	// patience bounds every wait for a condition; each takes a second or so.
	patience = time.Minute
	// parallel requests to the API server.
	parallel = 16
	// markerPrefix begins the names of what awaitAuthorizer writes.
	markerPrefix = "marker-"
)

// cluster is the real API server, as an administrator sees it.
type cluster struct {
	t       *testing.T
	client  kubernetes.Interface
	probes  int
	markers []func(*rbac.Store)
}

// objects is all the RBAC there is.
type objects struct{ rbactest.World }

func (o *objects) count() int {
	return len(o.Roles) + len(o.ClusterRoles) + len(o.RoleBindings) + len(o.ClusterRoleBindings)
}

// contents is what decides, of all objects but the markers, which are written after the others are read.
func (o *objects) contents() map[string]string {
	out := map[string]string{}
	add := func(kind string, m metav1.ObjectMeta, content any) {
		if !strings.HasPrefix(m.Name, markerPrefix) {
			out[kind+" "+m.Namespace+"/"+m.Name] = fmt.Sprint(content)
		}
	}
	for _, r := range o.Roles {
		add(rbac.KindRole, r.ObjectMeta, ruleTexts(r.Rules))
	}
	for _, r := range o.ClusterRoles {
		add(rbac.KindClusterRole, r.ObjectMeta, ruleTexts(r.Rules))
	}
	for _, b := range o.RoleBindings {
		add(rbac.KindRoleBinding, b.ObjectMeta, []any{b.RoleRef, b.Subjects})
	}
	for _, b := range o.ClusterRoleBindings {
		add(rbac.KindClusterRoleBinding, b.ObjectMeta, []any{b.RoleRef, b.Subjects})
	}
	return out
}

func newCluster(t *testing.T, cp *controlplane.ControlPlane) *cluster {
	t.Helper()
	client, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, client: client}
}

// all runs the requests, several at a time.
func (c *cluster) all(requests []func(context.Context) error) {
	c.t.Helper()
	group, ctx := errgroup.WithContext(c.t.Context())
	group.SetLimit(parallel)
	for _, request := range requests {
		group.Go(func() error { return request(ctx) })
	}
	if err := group.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

// apply creates what the worlds hold.
func (c *cluster) apply(made []rbactest.World) {
	c.t.Helper()
	var namespaces, others []func(context.Context) error
	for _, w := range made {
		for _, ns := range w.Namespaces {
			namespaces = append(namespaces, func(ctx context.Context) error {
				_, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
				return err
			})
		}
		for i := range w.Roles {
			others = append(others, func(ctx context.Context) error { return c.createRole(ctx, &w.Roles[i]) })
		}
		for i := range w.ClusterRoles {
			others = append(others, func(ctx context.Context) error { return c.createClusterRole(ctx, &w.ClusterRoles[i]) })
		}
		for i := range w.RoleBindings {
			others = append(others, func(ctx context.Context) error { return c.createRoleBinding(ctx, &w.RoleBindings[i]) })
		}
		for i := range w.ClusterRoleBindings {
			others = append(others, func(ctx context.Context) error { return c.createClusterRoleBinding(ctx, &w.ClusterRoleBindings[i]) })
		}
	}
	c.all(namespaces)
	c.all(others)
}

func (c *cluster) createRole(ctx context.Context, r *rbacv1.Role) error {
	_, err := c.client.RbacV1().Roles(r.Namespace).Create(ctx, r, metav1.CreateOptions{})
	return describe(err, "create Role", r)
}

func (c *cluster) createClusterRole(ctx context.Context, r *rbacv1.ClusterRole) error {
	_, err := c.client.RbacV1().ClusterRoles().Create(ctx, r, metav1.CreateOptions{})
	return describe(err, "create ClusterRole", r)
}

func (c *cluster) createRoleBinding(ctx context.Context, b *rbacv1.RoleBinding) error {
	_, err := c.client.RbacV1().RoleBindings(b.Namespace).Create(ctx, b, metav1.CreateOptions{})
	return describe(err, "create RoleBinding", b)
}

func (c *cluster) createClusterRoleBinding(ctx context.Context, b *rbacv1.ClusterRoleBinding) error {
	_, err := c.client.RbacV1().ClusterRoleBindings().Create(ctx, b, metav1.CreateOptions{})
	return describe(err, "create ClusterRoleBinding", b)
}

func describe(err error, what string, o metav1.Object) error {
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", what, o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// read lists everything from etcd, not from a cache of the API server.
func (c *cluster) read() objects {
	c.t.Helper()
	ctx, api := c.t.Context(), c.client.RbacV1()
	roles, err := api.Roles("").List(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	clusterRoles, err := api.ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	bindings, err := api.RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	clusterBindings, err := api.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return objects{rbactest.World{
		Roles: roles.Items, ClusterRoles: clusterRoles.Items, RoleBindings: bindings.Items, ClusterRoleBindings: clusterBindings.Items,
	}}
}

// settle waits until the controller manager has written the rules of every aggregated ClusterRole, the cluster's own among
// them. What they must come to is what rbac.Aggregate makes of the same roles, so that function is compared here as well.
func (c *cluster) settle() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var open []string
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		have := c.read().ClusterRoles
		want, err := rbac.Aggregate(have)
		if err != nil {
			return false, err
		}
		open = nil
		for i := range have {
			if have[i].AggregationRule != nil && !sameRules(have[i].Rules, want[i].Rules) {
				open = append(open, have[i].Name)
			}
		}
		return len(open) == 0, nil
	})
	if err != nil {
		c.t.Fatalf("seed %d: the controller manager and rbac.Aggregate do not agree on the rules of %q: %v", *seed, open, err)
	}
}

// sameRules compares as sets. The controller's order depends on its passes where roles aggregate each other in a circle.
func sameRules(a, b []rbacv1.PolicyRule) bool {
	return slices.Equal(ruleTexts(a), ruleTexts(b))
}

func ruleTexts(rules []rbacv1.PolicyRule) []string {
	var texts []string
	for i := range rules {
		texts = append(texts, rules[i].String())
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// awaitAuthorizer waits until the API server's authorizer has seen all that was written before this call. It looks objects up
// in informers, one for each kind, which see changes in the order of the writes: so an object of each kind is written now, and
// asked for until it counts. The objects are added to o, and as events to c.markers.
func (c *cluster) awaitAuthorizer(o *objects) {
	c.t.Helper()
	c.probes++
	name := fmt.Sprintf("%s%d", markerPrefix, c.probes)
	rules := []rbacv1.PolicyRule{{Verbs: []string{"mark"}, APIGroups: []string{"oracle.example"}, Resources: []string{name}}}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "marker"}}
	ref := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	cluster, local := metav1.ObjectMeta{Name: name}, metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}
	// The ClusterRole counts cluster-wide through its binding, the Role in its namespace alone.
	clusterRole := rbacv1.ClusterRole{ObjectMeta: cluster, Rules: rules}
	role := rbacv1.Role{ObjectMeta: local, Rules: []rbacv1.PolicyRule{{Verbs: []string{"mark"}, APIGroups: []string{"oracle.example"}, Resources: []string{name + "-local"}}}}
	clusterBinding := rbacv1.ClusterRoleBinding{ObjectMeta: cluster, RoleRef: ref(rbac.KindClusterRole), Subjects: subjects}
	binding := rbacv1.RoleBinding{ObjectMeta: local, RoleRef: ref(rbac.KindRole), Subjects: subjects}
	c.all([]func(context.Context) error{
		func(ctx context.Context) error { return c.createRole(ctx, &role) },
		func(ctx context.Context) error { return c.createClusterRole(ctx, &clusterRole) },
		func(ctx context.Context) error { return c.createRoleBinding(ctx, &binding) },
		func(ctx context.Context) error { return c.createClusterRoleBinding(ctx, &clusterBinding) },
	})
	o.Roles, o.ClusterRoles = append(o.Roles, role), append(o.ClusterRoles, clusterRole)
	o.RoleBindings, o.ClusterRoleBindings = append(o.RoleBindings, binding), append(o.ClusterRoleBindings, clusterBinding)
	c.markers = append(c.markers,
		func(s *rbac.Store) { s.SetRole(&role) }, func(s *rbac.Store) { s.SetClusterRole(&clusterRole) },
		func(s *rbac.Store) { s.SetRoleBinding(&binding) }, func(s *rbac.Store) { s.SetClusterRoleBinding(&clusterBinding) },
	)

	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for _, resource := range []string{name, name + "-local"} {
		a := rbac.Attributes{Verb: "mark", Group: "oracle.example", Resource: resource, Namespace: metav1.NamespaceDefault}
		if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			return c.review(ctx, identity.Subject{User: "marker"}, a)
		}); err != nil {
			c.t.Fatalf("the API server's authorizer never saw %s: %v", resource, err)
		}
	}
}
