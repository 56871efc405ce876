package cli

import (
	"bytes"
	"embed"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/rbac"
)

//go:embed builtin_roles.yaml
var builtinFiles embed.FS

// builtinVersion is the Kubernetes whose roles builtin_roles.yaml has.
const builtinVersion = "v1.36"

// builtinRoles are the user-facing ClusterRoles of Kubernetes and those that they aggregate, not yet aggregated.
func builtinRoles() ([]rbacv1.ClusterRole, error) {
	raw, err := builtinFiles.ReadFile("builtin_roles.yaml")
	if err != nil {
		return nil, fmt.Errorf("read built-in ClusterRoles: %w", err)
	}
	manifests, err := readManifests([]string{"-"}, bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read built-in ClusterRoles: %w", err)
	}
	var roles []rbacv1.ClusterRole
	for _, m := range manifests {
		if roles, err = appendDecoded(roles, m); err != nil {
			return nil, fmt.Errorf("read built-in ClusterRoles: %w", err)
		}
	}
	return roles, nil
}

// addBuiltinRoles adds those that o does not have. Notes name those that its bindings refer to.
func addBuiltinRoles(o *rbacObjects) ([]string, error) {
	builtin, err := builtinRoles()
	if err != nil {
		return nil, err
	}
	have, bound := map[string]bool{}, map[string]bool{}
	for i := range o.ClusterRoles {
		have[o.ClusterRoles[i].Name] = true
	}
	for _, b := range o.Bindings() {
		if b.Role.Kind == rbac.KindClusterRole {
			bound[b.Role.Name] = true
		}
	}
	var notes []string
	for _, r := range builtin {
		if have[r.Name] {
			continue
		}
		o.ClusterRoles = append(o.ClusterRoles, r)
		if bound[r.Name] {
			notes = append(notes, fmt.Sprintf("ClusterRole %s is not in the files: taken as Kubernetes %s has it", r.Name, builtinVersion))
		}
	}
	return notes, nil
}
