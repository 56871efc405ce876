package rbac_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func user(name string, groups ...string) identity.Subject {
	return identity.Subject{User: name, Groups: groups}
}

func TestAuthorize(t *testing.T) {
	const aliceUses = "clusterbind b clusterrole:r user:alice\n"
	cases := map[string]struct {
		world   string
		subject identity.Subject
		q       rbac.Question
		want    string // the Grant; "" = denied
	}{
		"a label by its exact name": {
			world:   "role prod/r use serviceaccounts/labels role=intern\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"), want: "RoleBinding prod/b of Role r rule 0",
		},
		"not another value of the label": {
			world:   "role prod/r use serviceaccounts/labels role=intern\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "trusted"),
		},
		"not the same value in other letters": {
			world:   "role prod/r use serviceaccounts/labels role=intern\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "Intern"),
		},
		"not with another verb": {
			world:   "role prod/r bind serviceaccounts/labels role=intern\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"),
		},
		"a key prefix covers its keys": {
			world:   "clusterrole r use serviceaccounts/labels example.com/*\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "example.com/role", "x"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a key prefix does not cover a key without prefix": {
			world:   "clusterrole r use serviceaccounts/labels example.com/*\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "example.com", "x"),
		},
		"a grant bound to an account holds for that account": {
			world:   "clusterrole r use serviceaccounts/labels web:role=intern\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a grant bound to an account holds for no other": {
			world:   "clusterrole r use serviceaccounts/labels web:role=intern,web:*\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "we", "role", "intern"),
		},
		"a grant bound to an account does not answer for no account": {
			world:   "clusterrole r bind serviceaccounts/labels web:role=intern,web:*,:role=intern,:*\n" + aliceUses,
			subject: user("alice"), q: rbac.BindLabel("prod", "role", "intern"),
		},
		"every value needs the star, not one value": {
			world:   "clusterrole r bind serviceaccounts/labels role=intern,*,*=*\n" + aliceUses,
			subject: user("alice"), q: rbac.BindAnyLabelValue("prod", "role"),
		},
		"every value by the star": {
			world:   "clusterrole r bind serviceaccounts/labels role=*\n" + aliceUses,
			subject: user("alice"), q: rbac.BindAnyLabelValue("prod", "role"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"unrestricted needs a rule without names": {
			world:   "clusterrole r bind serviceaccounts/labels *,role=*,example.com/*\n" + aliceUses,
			subject: user("alice"), q: rbac.BindUnrestrictedLabels("prod"),
		},
		"a rule without names answers everything": {
			world:   "clusterrole r bind serviceaccounts/labels\n" + aliceUses,
			subject: user("alice"), q: rbac.BindUnrestrictedLabels("prod"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"the resource does not give the subresource": {
			world:   "clusterrole r use serviceaccounts\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"),
		},
		"the subresource does not give the resource": {
			world:   "clusterrole r use serviceaccounts/labels\n" + aliceUses,
			subject: user("alice"), q: rbac.UseAccount("prod", "web"),
		},
		"star slash subresource": {
			world:   "clusterrole r use */labels\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"resource slash star is no wildcard": {
			world:   "clusterrole r use serviceaccounts/*\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"),
		},
		"another separator than the slash": {
			world:   "clusterrole r use serviceaccounts-labels,*.labels\n" + aliceUses,
			subject: user("alice"), q: rbac.UseLabel("prod", "web", "role", "intern"),
		},
		"another API group": {
			world:   "clusterrole r use saguard.io:serviceaccounts\n" + aliceUses,
			subject: user("alice"), q: rbac.UseAccount("prod", "web"),
		},
		"all wildcards": {
			world:   "clusterrole r * *:*\n" + aliceUses,
			subject: user("alice"), q: rbac.UseBand("prod", "developer"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a RoleBinding to a ClusterRole holds in its namespace": {
			world:   "clusterrole r use serviceaccounts\nbind prod/b clusterrole:r user:alice",
			subject: user("alice"), q: rbac.UseAccount("prod", "web"), want: "RoleBinding prod/b of ClusterRole r rule 0",
		},
		"a RoleBinding holds in no other namespace": {
			world:   "clusterrole r use serviceaccounts\nbind prod/b clusterrole:r user:alice",
			subject: user("alice"), q: rbac.UseAccount("dev", "web"),
		},
		"a RoleBinding does not answer cluster-wide": {
			world:   "clusterrole r use *:*\nbind prod/b clusterrole:r user:alice",
			subject: user("alice"), q: rbac.UseBand("", "developer"),
		},
		"a ClusterRoleBinding answers cluster-wide": {
			world:   "clusterrole r use saguard.io:policybands developer\n" + aliceUses,
			subject: user("alice"), q: rbac.UseBand("", "developer"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a Role of another namespace is not reached": {
			world:   "role dev/r use serviceaccounts\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseAccount("prod", "web"),
		},
		"a ClusterRole is not a Role of the same name": {
			world:   "clusterrole r use serviceaccounts\nbind prod/b role:r user:alice",
			subject: user("alice"), q: rbac.UseAccount("prod", "web"),
		},
		"a missing role grants nothing, and hides nothing": {
			world:   "clusterrole r use serviceaccounts\nclusterbind a clusterrole:missing user:alice\n" + aliceUses,
			subject: user("alice"), q: rbac.UseAccount("prod", "web"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a group": {
			world:   "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r group:devs",
			subject: user("alice", "x", "devs"), q: rbac.UseAccount("prod", "web"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a user is not the group of the same name": {
			world:   "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r group:alice",
			subject: user("alice"), q: rbac.UseAccount("prod", "web"),
		},
		"the user * is not everybody": {
			world:   "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r user:* group:*",
			subject: user("alice", "devs"), q: rbac.UseAccount("prod", "web"),
		},
		"a service account, as its token's user": {
			world:   "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r sa:prod/ci",
			subject: user("system:serviceaccount:prod:ci"), q: rbac.UseAccount("dev", "web"), want: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"a service account of the RoleBinding's own namespace": {
			world:   "clusterrole r use serviceaccounts\nbind prod/b clusterrole:r sa:ci",
			subject: user("system:serviceaccount:prod:ci"), q: rbac.UseAccount("prod", "web"), want: "RoleBinding prod/b of ClusterRole r rule 0",
		},
		"its namesake of another namespace is somebody else": {
			world:   "clusterrole r use serviceaccounts\nbind prod/b clusterrole:r sa:ci",
			subject: user("system:serviceaccount:dev:ci"), q: rbac.UseAccount("prod", "web"),
		},
		"a ClusterRoleBinding's service account without namespace is nobody": {
			world:   "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r sa:ci",
			subject: user("system:serviceaccount:prod:ci"), q: rbac.UseAccount("prod", "web"),
		},
		"system:masters passes everything": {
			subject: user("root", "system:masters"), q: rbac.UseAccount("prod", "web"), want: "Group system:masters",
		},
		"nobody without bindings": {subject: user("alice"), q: rbac.UseAccount("prod", "web")},
		"the zero question": {
			world:   "clusterrole r use serviceaccounts\n" + aliceUses,
			subject: user("alice"),
		},
		"the first grant: cluster-wide before namespace, then by name, whichever of the subject's names is bound": {
			world: `clusterrole r get pods
				clusterrole r use serviceaccounts
				bind prod/a clusterrole:r user:alice
				clusterbind z clusterrole:r user:alice
				clusterbind y clusterrole:r group:devs`,
			subject: user("alice", "ops", "devs"), q: rbac.UseAccount("prod", "web"), want: "ClusterRoleBinding y of ClusterRole r rule 1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			index := rbactest.MustParse(t, tc.world).Store().Snapshot()
			grant, ok := index.Authorize(tc.subject, tc.q)
			if grant.String() != tc.want || ok != (tc.want != "") {
				t.Errorf("%s: got %q, %v; want %q", tc.q, grant, ok, tc.want)
			}
		})
	}
}

func TestIndexWithoutObjectsAllowsOnlyMasters(t *testing.T) {
	for name, index := range map[string]*rbac.Index{"nil": nil, "zero": {}, "empty": rbac.NewStore().Snapshot()} {
		if _, ok := index.Authorize(user("alice", "devs"), rbac.UseAccount("prod", "web")); ok {
			t.Errorf("%s index allows", name)
		}
		if g, ok := index.Authorize(user("", "system:masters"), rbac.Question{}); !ok || !g.IsMasters() {
			t.Errorf("%s index refuses system:masters", name)
		}
		if holders := index.WhoCan(rbac.UseAccount("prod", "web")); len(holders) != 1 || !holders[0].Grant.IsMasters() {
			t.Errorf("%s index: WhoCan %v", name, holders)
		}
	}
}

// Objects that no API server accepts, but a folder of manifests may hold.
func TestMalformedObjectsGrantNothing(t *testing.T) {
	valid := rbactest.MustParse(t, "clusterrole r * *:*")
	alice := []rbacv1.Subject{{Kind: "User", Name: "alice"}}
	clusterRole := rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"}
	cases := map[string]func(*rbac.Store){
		"a RoleBinding without namespace": func(s *rbac.Store) {
			s.SetRoleBinding(&rbacv1.RoleBinding{RoleRef: clusterRole, Subjects: alice})
		},
		"a ClusterRoleBinding to a Role": func(s *rbac.Store) {
			s.SetRole(&rbacv1.Role{Rules: valid.ClusterRoles[0].Rules})
			s.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{Kind: "Role"}, Subjects: alice})
		},
		"a reference to a role of no kind": func(s *rbac.Store) {
			s.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{Name: "r"}, Subjects: alice})
		},
		"a subject of no kind": func(s *rbac.Store) {
			s.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{RoleRef: clusterRole, Subjects: []rbacv1.Subject{{Name: "alice"}}})
		},
		"subjects without name": func(s *rbac.Store) {
			s.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{RoleRef: clusterRole, Subjects: []rbacv1.Subject{
				{Kind: "User"}, {Kind: "Group"}, {Kind: "ServiceAccount", Namespace: "prod"},
			}})
		},
	}
	for name, set := range cases {
		t.Run(name, func(t *testing.T) {
			s := valid.Store()
			set(s)
			for _, who := range []identity.Subject{user("alice", ""), user(""), user("system:serviceaccount:prod:")} {
				if g, ok := s.Snapshot().Authorize(who, rbac.UseAccount("prod", "web")); ok {
					t.Errorf("granted by %s", g)
				}
			}
		})
	}
}

// worlds is how many random worlds the property tests play; each is asked many questions.
const worlds = 150

func aggregated(t *testing.T, seed uint64, o rbactest.Options) rbactest.World {
	t.Helper()
	w, err := rbactest.Generate(seed, o).Aggregated()
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return w
}

func TestIndexAgreesWithOracle(t *testing.T) {
	allowed, denied := 0, 0
	for seed := range uint64(worlds) {
		w := aggregated(t, seed, rbactest.Options{})
		index, g := w.Store().Snapshot(), rbactest.NewGenerator(seed, "")
		for range 200 {
			s, q := g.Subject(), g.Question()
			wantGrant, want := oracle{w}.authorize(s, q)
			got, ok := index.Authorize(s, q)
			if ok != want || got != wantGrant {
				t.Fatalf("seed %d: %v %s: index %v %q, oracle %v %q", seed, s, q, ok, got, want, wantGrant)
			}
			if ok {
				allowed++
			} else {
				denied++
			}
		}
	}
	// A generator whose questions all have one answer would make this test worth nothing.
	if total := allowed + denied; allowed*20 < total || denied*20 < total {
		t.Errorf("%d allowed and %d denied: too one-sided to mean anything", allowed, denied)
	}
	t.Logf("%d allowed, %d denied", allowed, denied)
}

func TestWhoCanAgreesWithAuthorize(t *testing.T) {
	found := 0
	for seed := range uint64(worlds) {
		w := aggregated(t, seed, rbactest.Options{})
		index, g := w.Store().Snapshot(), rbactest.NewGenerator(seed, "")
		everybody := map[string]identity.Subject{}
		add := func(namespace string, subjects []rbacv1.Subject) {
			for _, s := range subjects {
				who, of := identity.Subject{User: s.Name}, s.Namespace
				if of == "" {
					of = namespace
				}
				switch s.Kind {
				case "Group":
					who = identity.Subject{User: "nobody", Groups: []string{s.Name}}
				case "ServiceAccount":
					who = identity.Subject{User: "system:serviceaccount:" + of + ":" + s.Name}
				}
				everybody[fmt.Sprint(who.User, who.Groups)] = who
			}
		}
		for _, b := range w.RoleBindings {
			add(b.Namespace, b.Subjects)
		}
		for _, b := range w.ClusterRoleBindings {
			add("", b.Subjects)
		}
		for range 20 {
			q := g.Question()
			want := []string{"Group//system:masters Group system:masters"}
			for _, who := range everybody {
				if grant, ok := (oracle{w}).authorize(who, q); ok {
					subject := "User//" + who.User
					if len(who.Groups) > 0 {
						subject = "Group//" + who.Groups[0]
					} else if a, err := identity.ParseUsername(who.User); err == nil {
						subject = "ServiceAccount/" + a.Namespace() + "/" + a.Name()
					}
					want = append(want, subject+" "+grant.String())
				}
			}
			var got []string
			for _, h := range index.WhoCan(q) {
				got = append(got, h.Subject.Kind+"/"+h.Subject.Namespace+"/"+h.Subject.Name+" "+h.Grant.String())
			}
			found += len(got) - 1
			slices.Sort(want)
			if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, want) {
				t.Fatalf("seed %d: %s:\ngot  %s\nwant %s", seed, q, strings.Join(sorted, "\n     "), strings.Join(want, "\n     "))
			}
		}
	}
	if found < worlds {
		t.Errorf("only %d holders found in all worlds", found)
	}
}

func TestWhoCanIsSortedAndFindsWildcards(t *testing.T) {
	index := rbactest.MustParse(t, `
		clusterrole admin * *:*
		clusterrole use use serviceaccounts
		clusterbind ops clusterrole:admin group:ops sa:prod/ci user:zoe user:alice
		clusterbind devs clusterrole:use group:devs`).Store().Snapshot()
	var got []string
	for _, h := range index.WhoCan(rbac.Question{Verb: "*", Resource: "serviceaccounts", Namespace: "prod"}) {
		got = append(got, h.Subject.Kind+" "+h.Subject.Name)
	}
	want := []string{"Group ops", "Group system:masters", "ServiceAccount ci", "User alice", "User zoe"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
