package rbac_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func worldOf(m rbac.Manifests) rbactest.World {
	return rbactest.World{
		Roles: m.Roles, ClusterRoles: m.ClusterRoles, RoleBindings: m.RoleBindings, ClusterRoleBindings: m.ClusterRoleBindings,
	}
}

func TestGrantManifests(t *testing.T) {
	subject := rbacv1.Subject{Kind: "User", APIGroup: "rbac.authorization.k8s.io", Name: "sam"}
	m, err := rbac.GrantManifests("sam-labels", subject, []rbac.Question{
		rbac.UseLabel("prod", "web", "role", "intern"), rbac.BindLabel("prod", "role", "intern"),
		rbac.UseLabel("prod", "db", "role", "trusted"), rbac.UseLabel("prod", "web", "role", "intern"),
		rbac.BindAnyAccount("dev"), rbac.BindAccount("dev", "web"), rbac.UseBand("", "developer"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	describe := func(kind, namespace, name string, rules []rbacv1.PolicyRule) {
		got = append(got, kind+" "+namespace+"/"+name)
		for _, r := range rules {
			got = append(got, strings.Join([]string{
				strings.Join(r.Verbs, ","), strings.Join(r.APIGroups, ","), strings.Join(r.Resources, ","), strings.Join(r.ResourceNames, ","),
			}, " "))
		}
	}
	for i, r := range m.Roles {
		describe(r.Kind, r.Namespace, r.Name, r.Rules)
		b := m.RoleBindings[i]
		if b.Namespace != r.Namespace || b.RoleRef != (rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: r.Name}) || b.Subjects[0] != subject {
			t.Errorf("binding %+v of role %s/%s", b, r.Namespace, r.Name)
		}
	}
	for i, r := range m.ClusterRoles {
		describe(r.Kind, r.Namespace, r.Name, r.Rules)
		b := m.ClusterRoleBindings[i]
		if b.RoleRef != (rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: r.Name}) || b.Subjects[0] != subject || b.Kind != "ClusterRoleBinding" {
			t.Errorf("binding %+v", b)
		}
	}
	want := []string{
		"Role dev/sam-labels", "bind  serviceaccounts ",
		"Role prod/sam-labels", "bind  serviceaccounts/labels role=intern", "use  serviceaccounts/labels role=intern,role=trusted",
		"ClusterRole /sam-labels", "use saguard.io policybands developer",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestVerbsOverEqualNamesShareARule(t *testing.T) {
	m, err := rbac.GrantManifests("x", rbacv1.Subject{Kind: "Group", Name: "devs"}, []rbac.Question{
		rbac.UseAccount("prod", "web"), rbac.BindAccount("prod", "web"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if rules := m.Roles[0].Rules; len(rules) != 1 || strings.Join(rules[0].Verbs, ",") != "bind,use" {
		t.Errorf("rules %v", rules)
	}
}

// The manifests allow each question, by the name that CanI asks for, and no question that those asked for do not cover.
func TestGrantManifestsAreEnoughAndLeast(t *testing.T) {
	for seed := range uint64(worlds) {
		g := rbactest.NewGenerator(seed, "")
		var wanted []rbac.Question
		for range 1 + seed%6 {
			if q := g.Question(); q.Verb != "*" {
				wanted = append(wanted, q)
			}
		}
		m, err := rbac.GrantManifests("x", rbacv1.Subject{Kind: "User", Name: "sam"}, wanted)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		index := worldOf(m).Store().Snapshot()
		sam := identity.Subject{User: "sam"}
		covered := func(q rbac.Question) bool {
			for _, w := range wanted {
				name := w.Name.String()
				w.Name = rbac.Name{}
				other := q
				other.Name = rbac.Name{}
				if (w == other || w.Namespace == "" && sameBut(w, other)) && (name == "" || q.Name.Matches(name)) {
					return true
				}
			}
			return false
		}
		for _, q := range wanted {
			literal := q
			literal.Name = rbac.Exact(q.Name.String())
			for _, ask := range []rbac.Question{q, literal} {
				if _, ok := index.Authorize(sam, ask); !ok {
					t.Fatalf("seed %d: %s is not allowed by its own manifests", seed, ask)
				}
			}
			if _, ok := index.Authorize(identity.Subject{User: "mallory"}, q); ok {
				t.Fatalf("seed %d: %s is allowed to somebody else", seed, q)
			}
		}
		for range 300 {
			q := g.Question()
			if _, ok := index.Authorize(sam, q); ok != covered(q) {
				t.Fatalf("seed %d: %s is allowed %v, but covered %v by %v", seed, q, ok, !ok, wanted)
			}
		}
	}
}

func sameBut(a, b rbac.Question) bool {
	a.Namespace = b.Namespace
	return a == b
}

func TestGrantManifestsRefuses(t *testing.T) {
	sam := rbacv1.Subject{Kind: "User", Name: "sam"}
	ok := []rbac.Question{rbac.UseAccount("prod", "web")}
	cases := map[string]struct {
		name    string
		subject rbacv1.Subject
		q       []rbac.Question
	}{
		"no name":                             {subject: sam, q: ok},
		"nobody":                              {name: "x", q: ok},
		"a service account without namespace": {name: "x", subject: rbacv1.Subject{Kind: "ServiceAccount", Name: "ci"}, q: ok},
		"the zero question":                   {name: "x", subject: sam, q: []rbac.Question{{}}},
	}
	for name, tc := range cases {
		if _, err := rbac.GrantManifests(tc.name, tc.subject, tc.q); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
