package cli

import (
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/hollow"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func objectsOfWorld(w rbactest.World) *rbacObjects {
	return &rbacObjects{Roles: w.Roles, RoleBindings: w.RoleBindings, ClusterRoles: w.ClusterRoles, ClusterRoleBindings: w.ClusterRoleBindings}
}

// --fix takes impersonation, and nothing else, out of edit and admin.
func TestFixClosesTheBuiltinRoles(t *testing.T) {
	text := "bind prod/e clusterrole:edit group:editors\nbind prod/a clusterrole:admin group:admins\nclusterrole own impersonate users\nclusterbind o clusterrole:own user:own"
	o := objectsOfWorld(rbactest.MustParse(t, text))
	if _, err := addBuiltinRoles(o); err != nil {
		t.Fatal(err)
	}
	before := findings(t, o, nil)
	if n := len(findings(t, o, []string{hollow.Impersonate})); n != 3 {
		t.Fatalf("%d impersonate before, want editors, admins and own", n)
	}
	closed := closingRoles(aggregated(t, o))
	if len(closed) != 1 || closed[0].Name != "system:aggregate-to-edit" || closed[0].Annotations[autoupdate] != "false" {
		t.Fatalf("closes %+v", closed)
	}
	for i := range o.ClusterRoles {
		if o.ClusterRoles[i].Name == closed[0].Name {
			o.ClusterRoles[i] = closed[0]
		}
	}
	if left := findings(t, o, []string{hollow.Impersonate}); len(left) != 1 || left[0].Subject.Name != "own" {
		t.Errorf("left: %+v", left)
	}
	if after := findings(t, o, nil); len(after) != len(before)-2 {
		t.Errorf("%d findings after, %d before: want two less", len(after), len(before))
	}
	if again := closingRoles(aggregated(t, o)); len(again) != 0 {
		t.Errorf("closes again %+v", again)
	}
}

// A role that may do everything is not made whole by taking one verb away, and is left alone.
func TestFixLeavesWildcardsAlone(t *testing.T) {
	o := objectsOfWorld(rbactest.MustParse(t, "clusterrole own * serviceaccounts\nbind prod/e clusterrole:edit group:editors"))
	o.ClusterRoles[0].Labels = map[string]string{"rbac.authorization.k8s.io/aggregate-to-edit": "true"}
	if _, err := addBuiltinRoles(o); err != nil {
		t.Fatal(err)
	}
	for _, r := range closingRoles(aggregated(t, o)) {
		if r.Name == "own" {
			t.Errorf("closes %+v", r)
		}
	}
}

// A built-in role that the files have is the one that counts.
func TestFilesWinOverBuiltinRoles(t *testing.T) {
	o := objectsOfWorld(rbactest.MustParse(t, "clusterrole cluster-admin get pods\nclusterbind b clusterrole:cluster-admin user:alice"))
	notes, err := addBuiltinRoles(o)
	if err != nil || len(notes) > 0 {
		t.Errorf("notes %q, %v", notes, err)
	}
	if found := findings(t, o, nil); len(found) > 0 {
		t.Errorf("found %+v", found)
	}
}

func aggregated(t *testing.T, o *rbacObjects) *rbacObjects {
	t.Helper()
	roles, err := rbac.Aggregate(o.ClusterRoles)
	if err != nil {
		t.Fatal(err)
	}
	copied := *o
	copied.ClusterRoles = roles
	return &copied
}

func findings(t *testing.T, o *rbacObjects, only []string) []lintFinding {
	t.Helper()
	return lint(lintInput{Input: hollow.Input{RBAC: aggregated(t, o), Only: only}}).Findings
}

// The built-in roles are read, and hold what makes them worth naming.
func TestBuiltinRoles(t *testing.T) {
	roles, err := builtinRoles()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
	}
	want := []string{"admin", "cluster-admin", "edit", "system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view", "view"}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
