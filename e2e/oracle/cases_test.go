package oracle_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// A question and who asks it.
type testCase struct {
	source  string
	subject identity.Subject
	q       rbac.Question
}

func prefix(world int) string { return fmt.Sprintf("w%d-", world) }

func generateWorlds(seed uint64) []rbactest.World {
	var made []rbactest.World
	for i := range worlds {
		made = append(made, rbactest.Generate(seed*worlds+uint64(i), rbactest.Options{NamePrefix: prefix(i)}))
	}
	return made
}

// cases returns questions of two sources: those that package rbactest makes for its worlds, saguard's own among them, and those
// that a binding of the cluster answers, or nearly. Bindings may be given as they were before a change, too.
func cases(seed uint64, bindings ...objects) []testCase {
	var out []testCase
	for i := range worlds {
		g := rbactest.NewGenerator(seed*worlds+uint64(i)+1<<32, prefix(i))
		for range fromWorlds {
			out = append(out, testCase{source: "worlds", subject: g.Subject(), q: g.Question()})
		}
	}
	for _, o := range bindings {
		a := newAim(seed, o)
		for range fromBindings {
			s, q := a.next()
			out = append(out, testCase{source: "bindings", subject: s, q: q})
		}
	}
	return out
}

// aim makes questions from what the cluster's bindings grant, the default ones of the API server included.
type aim struct {
	rng      *rand.Rand
	bindings []bound
}

type bound struct {
	namespace string // "" of a ClusterRoleBinding
	subjects  []rbacv1.Subject
	rules     []rbacv1.PolicyRule
}

func newAim(seed uint64, o objects) *aim {
	a := &aim{rng: rbactest.NewRand(seed)}
	rules := map[rbacv1.RoleRef][]rbacv1.PolicyRule{}
	for _, r := range o.ClusterRoles {
		// The controller that aggregates does not always come to the same order, and a seed must give the same questions.
		sorted := slices.SortedFunc(slices.Values(r.Rules), func(a, b rbacv1.PolicyRule) int { return cmp.Compare(a.String(), b.String()) })
		rules[rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: rbac.KindClusterRole, Name: r.Name}] = sorted
	}
	add := func(namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject, local []rbacv1.PolicyRule) {
		if ref.Kind == rbac.KindClusterRole {
			local = rules[ref]
		}
		if len(local) > 0 && len(subjects) > 0 {
			a.bindings = append(a.bindings, bound{namespace, subjects, local})
		}
	}
	for _, b := range o.ClusterRoleBindings {
		add("", b.RoleRef, b.Subjects, nil)
	}
	for _, b := range o.RoleBindings {
		var local []rbacv1.PolicyRule
		for _, r := range o.Roles {
			if r.Namespace == b.Namespace && r.Name == b.RoleRef.Name {
				local = r.Rules
			}
		}
		add(b.Namespace, b.RoleRef, b.Subjects, local)
	}
	return a
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// next returns a question that a rule answers; every second one is then put a little beside it.
func (a *aim) next() (identity.Subject, rbac.Question) {
	b := pick(a.rng, a.bindings)
	s := a.subject(pick(a.rng, b.subjects), b.namespace)
	q := a.question(pick(a.rng, b.rules), b.namespace)
	if a.rng.IntN(2) == 0 {
		a.miss(&s, &q)
	}
	return s, q
}

func (a *aim) subject(of rbacv1.Subject, namespace string) identity.Subject {
	switch of.Kind {
	case rbacv1.GroupKind:
		return identity.Subject{User: "somebody", Groups: []string{"system:other", of.Name}}
	case rbacv1.ServiceAccountKind:
		if of.Namespace != "" {
			namespace = of.Namespace
		}
		return identity.Subject{User: "system:serviceaccount:" + namespace + ":" + of.Name}
	default:
		return identity.Subject{User: of.Name}
	}
}

// question takes one word of each list. A star stands for a word that no rule names, or for itself.
func (a *aim) question(r rbacv1.PolicyRule, namespace string) rbac.Question {
	word := func(from []string, other string) string {
		if len(from) == 0 {
			return other
		}
		w := pick(a.rng, from)
		if w == rbacv1.VerbAll && a.rng.IntN(4) > 0 {
			return other
		}
		return w
	}
	q := rbac.Question{Verb: word(r.Verbs, "frobnicate"), Group: word(r.APIGroups, "other.example"), Namespace: namespace}
	resource := word(r.Resources, "things")
	if before, after, ok := strings.Cut(resource, "/"); ok && before != "" && after != "" {
		q.Resource, q.Subresource = before, after
		if before == rbacv1.ResourceAll && a.rng.IntN(4) > 0 {
			q.Resource = "things"
		}
	} else {
		q.Resource = resource
	}
	switch {
	case len(r.ResourceNames) > 0:
		q.Name = a.name(pick(a.rng, r.ResourceNames))
	case a.rng.IntN(2) == 0:
		q.Name = rbac.Exact("any")
	}
	if namespace == "" && a.rng.IntN(2) == 0 {
		q.Namespace = pick(a.rng, []string{"default", "kube-system", prefix(0) + "prod", "nowhere"})
	}
	return q
}

// name stands for the resource name literally or, in every second question, for a label that the resource name grants.
func (a *aim) name(resourceName string) rbac.Name {
	if a.rng.IntN(2) == 0 {
		return rbac.Exact(resourceName)
	}
	account, grant, bound := strings.Cut(resourceName, ":")
	if !bound {
		account, grant = "", resourceName
	}
	if grant == "*" && bound {
		return rbac.Label(account, "any.example/key", "any")
	}
	if keyPrefix, ok := strings.CutSuffix(grant, "/*"); ok {
		return rbac.Label(account, keyPrefix+"/any", "any")
	}
	key, value, ok := strings.Cut(grant, "=")
	if !ok {
		return rbac.Exact(resourceName)
	}
	if value == "*" {
		value = "any"
	}
	return rbac.Label(account, key, value)
}

// miss changes one thing; the question may still be answered, by the same rule or another.
func (a *aim) miss(s *identity.Subject, q *rbac.Question) {
	switch a.rng.IntN(8) {
	case 0:
		q.Verb = pick(a.rng, []string{"get", "use", "delete", "", "Use", "*"})
	case 1:
		q.Group = pick(a.rng, []string{"", "apps", "saguard.io", "*"})
	case 2:
		q.Resource += "s"
	case 3:
		q.Subresource = pick(a.rng, []string{"", "labels", "status", "exec"})
	case 4:
		q.Name = rbac.Exact(pick(a.rng, []string{"", "*", "role=intern", "web"}))
	case 5:
		q.Namespace = pick(a.rng, []string{"", "kube-system", "kube-public", prefix(1) + "dev"})
	case 6:
		s.User = strings.ToUpper(s.User[:1]) + s.User[1:]
		s.Groups = nil
	default:
		s.User = "system:serviceaccount:" + q.Namespace + ":default"
	}
}
