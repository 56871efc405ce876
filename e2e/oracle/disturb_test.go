package oracle_test

import (
	"context"
	"math/rand/v2"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// disturb changes and deletes a third of what the worlds hold, in the cluster, and returns the same as events for a Store.
// ClusterRoles that others aggregate are left alone: of a circle the controller never takes a rule back, as it finds each
// rule in the other.
func (c *cluster) disturb(seed uint64, made []rbactest.World) []func(*rbac.Store) {
	c.t.Helper()
	rng := rbactest.NewRand(seed)
	var requests []func(context.Context) error
	var events []func(*rbac.Store)
	do := func(request func(context.Context) error, event func(*rbac.Store)) {
		requests, events = append(requests, request), append(events, event)
	}
	for _, w := range made {
		for i := range w.Roles {
			c.disturbRole(rng, w.Roles[i].DeepCopy(), do)
		}
		for i := range w.ClusterRoles {
			if r := w.ClusterRoles[i].DeepCopy(); len(r.Labels) == 0 && r.AggregationRule == nil {
				c.disturbClusterRole(rng, r, do)
			}
		}
		for i := range w.RoleBindings {
			c.disturbRoleBinding(rng, w.RoleBindings[i].DeepCopy(), do)
		}
		for i := range w.ClusterRoleBindings {
			c.disturbClusterRoleBinding(rng, w.ClusterRoleBindings[i].DeepCopy(), do)
		}
	}
	c.all(requests)
	return events
}

type doFunc func(request func(context.Context) error, event func(*rbac.Store))

func (c *cluster) disturbRole(rng *rand.Rand, r *rbacv1.Role, do doFunc) {
	switch api := c.client.RbacV1().Roles(r.Namespace); rng.IntN(6) {
	case 0:
		do(func(ctx context.Context) error { return api.Delete(ctx, r.Name, metav1.DeleteOptions{}) },
			func(s *rbac.Store) { s.DeleteRole(r.Namespace, r.Name) })
	case 1:
		r.Rules = changedRules(rng, r.Rules)
		do(func(ctx context.Context) error { _, err := api.Update(ctx, r, metav1.UpdateOptions{}); return err },
			func(s *rbac.Store) { s.SetRole(r) })
	}
}

func (c *cluster) disturbClusterRole(rng *rand.Rand, r *rbacv1.ClusterRole, do doFunc) {
	switch api := c.client.RbacV1().ClusterRoles(); rng.IntN(6) {
	case 0:
		do(func(ctx context.Context) error { return api.Delete(ctx, r.Name, metav1.DeleteOptions{}) },
			func(s *rbac.Store) { s.DeleteClusterRole(r.Name) })
	case 1:
		r.Rules = changedRules(rng, r.Rules)
		do(func(ctx context.Context) error { _, err := api.Update(ctx, r, metav1.UpdateOptions{}); return err },
			func(s *rbac.Store) { s.SetClusterRole(r) })
	}
}

func (c *cluster) disturbRoleBinding(rng *rand.Rand, b *rbacv1.RoleBinding, do doFunc) {
	switch api := c.client.RbacV1().RoleBindings(b.Namespace); rng.IntN(6) {
	case 0:
		do(func(ctx context.Context) error { return api.Delete(ctx, b.Name, metav1.DeleteOptions{}) },
			func(s *rbac.Store) { s.DeleteRoleBinding(b.Namespace, b.Name) })
	case 1:
		b.Subjects = changedSubjects(rng, b.Subjects)
		do(func(ctx context.Context) error { _, err := api.Update(ctx, b, metav1.UpdateOptions{}); return err },
			func(s *rbac.Store) { s.SetRoleBinding(b) })
	}
}

func (c *cluster) disturbClusterRoleBinding(rng *rand.Rand, b *rbacv1.ClusterRoleBinding, do doFunc) {
	switch api := c.client.RbacV1().ClusterRoleBindings(); rng.IntN(6) {
	case 0:
		do(func(ctx context.Context) error { return api.Delete(ctx, b.Name, metav1.DeleteOptions{}) },
			func(s *rbac.Store) { s.DeleteClusterRoleBinding(b.Name) })
	case 1:
		b.Subjects = changedSubjects(rng, b.Subjects)
		do(func(ctx context.Context) error { _, err := api.Update(ctx, b, metav1.UpdateOptions{}); return err },
			func(s *rbac.Store) { s.SetClusterRoleBinding(b) })
	}
}

// changedRules drops the first rule and lets the last begin with one name more or fewer.
func changedRules(rng *rand.Rand, rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	if len(rules) > 1 {
		rules = rules[1:]
	}
	last := &rules[len(rules)-1]
	switch {
	case len(last.NonResourceURLs) > 0:
	case len(last.ResourceNames) > 1 && rng.IntN(2) == 0:
		last.ResourceNames = last.ResourceNames[1:]
	default:
		last.ResourceNames = append([]string{"role=intern"}, last.ResourceNames...)
	}
	return rules
}

// changedSubjects takes the first away, if there is one, and adds a group.
func changedSubjects(rng *rand.Rand, subjects []rbacv1.Subject) []rbacv1.Subject {
	if len(subjects) > 0 {
		subjects = subjects[1:]
	}
	group := []string{"devs", "ops", "system:serviceaccounts"}[rng.IntN(3)]
	return append(subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group})
}
