package rbac_test

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

const many = 10_000

// manyRoles has 10,000 Roles in 100 namespaces, each bound to a user, a group and a service account of its own; like a cluster's
// own roles, four of five have nothing to do with `use`.
func manyRoles() rbactest.World {
	var w rbactest.World
	for i := range many {
		ns, name := fmt.Sprintf("ns-%d", i%100), fmt.Sprintf("role-%d", i)
		rules := []rbacv1.PolicyRule{
			{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"", "apps"}, Resources: []string{"pods", "pods/log", "deployments"}},
			{Verbs: []string{"create", "update", "patch"}, APIGroups: []string{""}, Resources: []string{"configmaps", "services"}},
		}
		if i%5 == 0 {
			rules = append(rules, rbacv1.PolicyRule{
				Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"},
				ResourceNames: []string{"team=a", "team=b", "example.com/role=trusted", "web:example.com/role=*", "example.com/role=intern"},
			}, rbacv1.PolicyRule{
				Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"default", "web"},
			})
		}
		w.Roles = append(w.Roles, rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Rules: rules})
		w.RoleBindings = append(w.RoleBindings, rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("binding-%d", i)},
			RoleRef:    rbacv1.RoleRef{Kind: rbac.KindRole, Name: name},
			Subjects: []rbacv1.Subject{
				{Kind: rbacv1.UserKind, Name: fmt.Sprintf("user-%d", i%1000)}, {Kind: rbacv1.GroupKind, Name: fmt.Sprintf("group-%d", i%1000)},
				{Kind: rbacv1.ServiceAccountKind, Name: "web"},
			},
		})
	}
	return w
}

// oneGroup has one ClusterRole bound to one group by 10,000 RoleBindings, each in its own namespace.
func oneGroup() rbactest.World {
	w := rbactest.World{ClusterRoles: []rbacv1.ClusterRole{{
		ObjectMeta: metav1.ObjectMeta{Name: "labels"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}}},
	}}}
	for i := range many {
		w.RoleBindings = append(w.RoleBindings, rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("ns-%d", i), Name: "labels"},
			RoleRef:    rbacv1.RoleRef{Kind: rbac.KindClusterRole, Name: "labels"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "devs"}},
		})
	}
	return w
}

// oneNamespace is the worst for an index by subject and namespace: all of oneGroup's bindings in one namespace, for one group.
func oneNamespace() rbactest.World {
	w := oneGroup()
	for i := range w.RoleBindings {
		w.RoleBindings[i].ObjectMeta = metav1.ObjectMeta{Namespace: "ns-1", Name: fmt.Sprintf("labels-%d", i)}
	}
	return w
}

type benchCase struct {
	name    string
	world   func() rbactest.World
	subject identity.Subject
	q       rbac.Question
	allowed bool
}

func benchCases() []benchCase {
	alice := identity.Subject{User: "user-995", UID: "1", Groups: []string{"system:authenticated", "group-3", "oidc:all", "group-995"}}
	return []benchCase{
		{"label allowed", manyRoles, alice, rbac.UseLabel("ns-95", "web", "example.com/role", "intern"), true},
		{"account allowed", manyRoles, alice, rbac.UseAccount("ns-95", "web"), true},
		{"label denied", manyRoles, alice, rbac.UseLabel("ns-95", "web", "example.org/role", "intern"), false},
		{"one group bound 10000 times", oneGroup, user("alice", "system:authenticated", "devs"), rbac.UseLabel("ns-7777", "web", "role", "intern"), true},
		{"worst case denied", oneNamespace, user("alice", "devs"), rbac.UseAccount("ns-1", "web"), false},
		{"masters", manyRoles, user("root", "system:masters"), rbac.UseAccount("ns-1", "web"), true},
	}
}

func TestNoAllocs(t *testing.T) {
	for _, tc := range benchCases() {
		t.Run(tc.name, func(t *testing.T) {
			index := tc.world().Store().Snapshot()
			a := newAuthorizer(t, rbac.Options{Index: func() *rbac.Index { return index }})
			if n := testing.AllocsPerRun(100, func() {
				if _, ok := index.Authorize(tc.subject, tc.q); ok != tc.allowed {
					t.Fatalf("allowed %v, want %v", ok, tc.allowed)
				}
			}); n != 0 {
				t.Errorf("Index.Authorize allocates %v times", n)
			}
			if n := testing.AllocsPerRun(100, func() {
				if answer, err := a.Authorize(t.Context(), tc.subject, tc.q); err != nil || answer.Allowed != tc.allowed {
					t.Fatalf("got %+v, %v", answer, err)
				}
			}); n != 0 {
				t.Errorf("Authorizer.Authorize allocates %v times", n)
			}
		})
	}
}

// report gives how many times slower the named baseline is. The baseline is timed for as many rounds in the same run.
func report(b *testing.B, baseline string, rounds int, f func()) {
	b.StopTimer()
	start := time.Now()
	for range rounds {
		f()
	}
	base := float64(time.Since(start).Nanoseconds()) / float64(rounds)
	ours := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	b.ReportMetric(base/ours, "x-"+baseline)
}

// The baseline walks all bindings, as the API server's authorizer does.
func BenchmarkAuthorize(b *testing.B) {
	for _, tc := range benchCases() {
		b.Run(tc.name, func(b *testing.B) {
			w := tc.world()
			index, walk := w.Store().Snapshot(), linear{w}
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := index.Authorize(tc.subject, tc.q); ok != tc.allowed {
					b.Fatalf("allowed %v, want %v", ok, tc.allowed)
				}
			}
			report(b, "linear-walk", 20, func() {
				if walk.authorize(tc.subject, tc.q) != tc.allowed {
					b.Fatalf("the baseline does not agree")
				}
			})
		})
	}
}

// linear walks bindings until one allows, with nothing prepared but a map of the roles.
type linear struct{ world rbactest.World }

func (l linear) authorize(s identity.Subject, q rbac.Question) bool {
	if s.InGroup(identity.SystemMasters) {
		return true
	}
	for i := range l.world.RoleBindings {
		b := &l.world.RoleBindings[i]
		if b.Namespace == q.Namespace && boundTo(s, b.Subjects, b.Namespace) {
			if _, ok := ruleThatAllows(oracle(l).rules(b.RoleRef, b.Namespace), q); ok {
				return true
			}
		}
	}
	return false
}

// The baseline builds the whole Index anew for every event, which is what an immutable snapshot costs without shared parts.
func BenchmarkUpdate(b *testing.B) {
	cases := map[string]struct {
		world func() rbactest.World
		flip  func(s *rbac.Store, on bool)
	}{
		"one binding": {manyRoles, func(s *rbac.Store, on bool) {
			to := "role-1"
			if on {
				to = "role-101"
			}
			s.SetRoleBinding(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns-1", Name: "binding-1"}, RoleRef: rbacv1.RoleRef{Kind: rbac.KindRole, Name: to},
				Subjects: []rbacv1.Subject{
					{Kind: rbacv1.UserKind, Name: "user-1"}, {Kind: rbacv1.GroupKind, Name: "group-1"}, {Kind: rbacv1.ServiceAccountKind, Name: "web"},
				},
			})
		}},
		"one more binding of a group bound 10000 times": {oneGroup, func(s *rbac.Store, on bool) {
			if !on {
				s.DeleteRoleBinding("ns-1", "more")
				return
			}
			s.SetRoleBinding(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns-1", Name: "more"}, RoleRef: rbacv1.RoleRef{Kind: rbac.KindClusterRole, Name: "labels"},
				Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "devs"}},
			})
		}},
		"one more binding of a group bound 10000 times in the namespace": {oneNamespace, func(s *rbac.Store, on bool) {
			if !on {
				s.DeleteRoleBinding("ns-1", "more")
				return
			}
			s.SetRoleBinding(&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns-1", Name: "more"}, RoleRef: rbacv1.RoleRef{Kind: rbac.KindClusterRole, Name: "labels"},
				Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "devs"}},
			})
		}},
		"one role of 10000 bindings": {oneGroup, func(s *rbac.Store, on bool) {
			verb := "use"
			if on {
				verb = "bind"
			}
			s.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "labels"}, Rules: []rbacv1.PolicyRule{
				{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}},
			}})
		}},
	}
	for name, tc := range cases {
		b.Run(name, func(b *testing.B) {
			w := tc.world()
			s := w.Store()
			on := false
			b.ReportAllocs()
			for b.Loop() {
				on = !on
				tc.flip(s, on)
			}
			report(b, "full-rebuild", 3, func() { w.Store() })
		})
	}
}
