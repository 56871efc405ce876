// Package rbactest makes RBAC worlds for tests: written down in a few words (Parse) or at random from a seed (Generate). The
// objects are such as a real API server accepts.
package rbactest

import (
	"fmt"
	"math/rand/v2"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/rbac"
)

// World is a set of RBAC objects. RoleBindings and Roles are in namespaces that Namespaces lists.
type World struct {
	Namespaces          []string
	Roles               []rbacv1.Role
	ClusterRoles        []rbacv1.ClusterRole
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// Aggregated returns the world with its aggregated ClusterRoles filled in, as a cluster's controller would leave it.
func (w World) Aggregated() (World, error) {
	roles, err := rbac.Aggregate(w.ClusterRoles)
	if err != nil {
		return World{}, fmt.Errorf("aggregate world: %w", err)
	}
	w.ClusterRoles = roles
	return w, nil
}

// Store returns a Store that holds the world as it stands, without aggregation.
func (w World) Store() *rbac.Store {
	s := rbac.NewStore()
	w.Fill(s)
	return s
}

// Fill makes the world all that s holds.
func (w World) Fill(s *rbac.Store) {
	s.ReplaceRoles(w.Roles)
	s.ReplaceClusterRoles(w.ClusterRoles)
	s.ReplaceRoleBindings(w.RoleBindings)
	s.ReplaceClusterRoleBindings(w.ClusterRoleBindings)
}

// Events returns one function for each object, which sets it in a Store: to be called in any order.
func (w World) Events() []func(*rbac.Store) {
	var events []func(*rbac.Store)
	for i := range w.Roles {
		events = append(events, func(s *rbac.Store) { s.SetRole(&w.Roles[i]) })
	}
	for i := range w.ClusterRoles {
		events = append(events, func(s *rbac.Store) { s.SetClusterRole(&w.ClusterRoles[i]) })
	}
	for i := range w.RoleBindings {
		events = append(events, func(s *rbac.Store) { s.SetRoleBinding(&w.RoleBindings[i]) })
	}
	for i := range w.ClusterRoleBindings {
		events = append(events, func(s *rbac.Store) { s.SetClusterRoleBinding(&w.ClusterRoleBindings[i]) })
	}
	return events
}

// NewRand returns the generator of a seed; a failing test prints the seed.
func NewRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x5a6a2d)) }
