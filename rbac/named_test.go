package rbac_test

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func TestGrantsByName(t *testing.T) {
	use := rbac.UseAccount("prod", "web")
	cases := map[string]struct {
		world string
		want  bool
	}{
		"to a user":                        {world: "role prod/r use serviceaccounts web\nbind prod/b role:r user:alice", want: true},
		"to a group":                       {world: "role prod/r use serviceaccounts\nbind prod/b role:r group:web", want: true},
		"to a service account":             {world: "role prod/r use serviceaccounts\nbind prod/b role:r sa:ci/deployer", want: true},
		"to everybody":                     {world: "role prod/r use serviceaccounts\nbind prod/b role:r group:system:authenticated", want: true},
		"everywhere":                       {world: "clusterrole r use serviceaccounts\nclusterbind b clusterrole:r user:alice", want: true},
		"the verb by name, of all things":  {world: "clusterrole r use *\nclusterbind b clusterrole:r user:alice", want: true},
		"of every verb":                    {world: "clusterrole r * serviceaccounts\nclusterbind b clusterrole:r user:alice"},
		"of every verb to the masters":     {world: "clusterrole r * *\nclusterbind b clusterrole:r group:system:masters"},
		"to the masters by name":           {world: "clusterrole r use *\nclusterbind b clusterrole:r group:system:masters"},
		"to a controller manager":          {world: "clusterrole r use *\nclusterbind b clusterrole:r user:system:kube-controller-manager"},
		"of another account":               {world: "role prod/r use serviceaccounts api\nbind prod/b role:r user:alice"},
		"of another verb":                  {world: "role prod/r bind serviceaccounts web\nbind prod/b role:r user:alice"},
		"in another namespace":             {world: "role dev/r use serviceaccounts web\nbind dev/b role:r user:alice"},
		"by a role that is bound nowhere":  {world: "role prod/r use serviceaccounts web"},
		"by a role that is not there":      {world: "bind prod/b role:r user:alice"},
		"by a ClusterRole, in a namespace": {world: "clusterrole r use serviceaccounts\nbind prod/b clusterrole:r user:alice", want: true},
		"by a ClusterRole, in another one": {world: "clusterrole r use serviceaccounts\nbind dev/b clusterrole:r user:alice"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			named := rbactest.MustParse(t, tc.world).Store().Snapshot().Named(rbac.VerbUse, rbac.VerbBind)
			if got := named.Anybody(use); got != tc.want {
				t.Errorf("granted %v, want %v", got, tc.want)
			}
			got, _, err := named.Review(t.Context(), identity.Subject{}, rbac.Attributes{Verb: use.Verb, Resource: use.Resource, Namespace: "prod", Name: "web"})
			if err != nil || got != tc.want {
				t.Errorf("review %v, %v, want %v", got, err, tc.want)
			}
		})
	}
	var none *rbac.Index
	if none.Named(rbac.VerbUse).Anybody(use) {
		t.Error("no index grants something")
	}
}

// What nobody holds nobody is granted, and without wildcards and the control plane's subjects the mirror of it.
func TestGrantsByNameAgreeWithHolders(t *testing.T) {
	granted := 0
	for seed := range uint64(60) {
		w, err := rbactest.Generate(seed, rbactest.Options{}).Aggregated()
		if err != nil {
			t.Fatal(err)
		}
		plain := seed%2 == 0
		if plain {
			for i := range w.Roles {
				w.Roles[i].Rules = withoutWildcardVerbs(w.Roles[i].Rules)
			}
			for i := range w.ClusterRoles {
				w.ClusterRoles[i].Rules = withoutWildcardVerbs(w.ClusterRoles[i].Rules)
			}
		}
		index := w.Store().Snapshot()
		named := index.Named(rbac.VerbUse, rbac.VerbBind)
		generator := rbactest.NewGenerator(seed, "")
		for range 200 {
			q := generator.Question()
			if q.Verb != rbac.VerbUse && q.Verb != rbac.VerbBind {
				continue
			}
			holders := slices.DeleteFunc(index.WhoCan(q), func(h rbac.Holder) bool {
				return strings.HasPrefix(h.Subject.Name, "system:") && h.Subject.Kind != rbacv1.ServiceAccountKind
			})
			got := named.Anybody(q)
			if got {
				granted++
			}
			if got && len(index.WhoCan(q)) < 2 || plain && !got && len(holders) > 0 {
				t.Fatalf("seed %d, %s: granted %v, held by %v", seed, q, got, holders)
			}
		}
	}
	if granted < 100 {
		t.Errorf("only %d grants: the questions do not meet the rules", granted)
	}
}

func withoutWildcardVerbs(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	return slices.DeleteFunc(slices.Clone(rules), func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Verbs, "*") })
}

func TestGroupsThatMayHold(t *testing.T) {
	index := rbactest.MustParse(t, "role prod/r use serviceaccounts web\nbind prod/b role:r group:web\nclusterrole all * *\nclusterbind m clusterrole:all group:system:masters").Store().Snapshot()
	for name, tc := range map[string]struct {
		q     rbac.Question
		known []string
		want  bool
	}{
		"a group that holds it":         {q: rbac.UseAccount("prod", "web"), known: []string{"system:authenticated"}, want: true},
		"a group that is known":         {q: rbac.UseAccount("prod", "web"), known: []string{"web"}},
		"nobody but the masters":        {q: rbac.UseAccount("prod", "api")},
		"in a namespace without grants": {q: rbac.UseAccount("dev", "web")},
	} {
		if got := index.MayBeGrantedToGroups(tc.q, tc.known); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
