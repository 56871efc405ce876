package rbactest

import (
	"fmt"
	"math/rand/v2"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// Options sets how many objects of each kind Generate makes. The zero Options makes about a dozen of each.
type Options struct {
	Roles, ClusterRoles, RoleBindings, ClusterRoleBindings int
	// NamePrefix begins the name of every object and namespace: on a real API server, to keep off what is there already.
	// It is a DNS-1123 label prefix such as "w1-", or "".
	NamePrefix string
}

// Generator makes worlds, and questions and subjects that have much to do with them. It is not safe for concurrent use.
type Generator struct {
	rng    *rand.Rand
	prefix string
}

// NewGenerator returns the Generator of a seed. Equal seeds and calls give equal results.
func NewGenerator(seed uint64, namePrefix string) *Generator {
	return &Generator{rng: NewRand(seed), prefix: namePrefix}
}

// Generate returns a random world. Aggregated ClusterRoles come without rules, as one would apply them: see World.Aggregated.
func Generate(seed uint64, o Options) World {
	g := NewGenerator(seed, o.NamePrefix)
	number := func(n int) int {
		if n == 0 {
			return 6 + g.rng.IntN(12)
		}
		return n
	}
	w := World{Namespaces: g.namespaces()}
	for i := range number(o.Roles) {
		w.Roles = append(w.Roles, rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: g.name(namesOfRoles(), i), Namespace: pick(g, w.Namespaces)}, Rules: g.rules(),
		})
	}
	for i := range number(o.ClusterRoles) {
		w.ClusterRoles = append(w.ClusterRoles, g.clusterRole(i))
	}
	for i := range number(o.RoleBindings) {
		ns := pick(g, w.Namespaces)
		w.RoleBindings = append(w.RoleBindings, rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: g.name(namesOfBindings(), i), Namespace: ns},
			RoleRef:    g.roleRef(&w, ns), Subjects: g.bindingSubjects(true),
		})
	}
	for i := range number(o.ClusterRoleBindings) {
		w.ClusterRoleBindings = append(w.ClusterRoleBindings, rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: g.name(namesOfBindings(), i)},
			RoleRef:    g.roleRef(&w, ""), Subjects: g.bindingSubjects(false),
		})
	}
	return w
}

// What worlds, subjects and questions are made of: few enough words that they meet often.

// Role and binding names are path segments to the API server, not DNS names.
func namesOfRoles() []string {
	return []string{"edit", "labels:intern", "view all", "Admin", "system:x", "a=b", "ünïcode"}
}
func namesOfBindings() []string { return []string{"devs", "ops:all", "B", "b c", "z"} }

func users() []string {
	return []string{"alice", "bob", "Alice", "carol@example.com", "*", "oidc:dave/x y", "devs"}
}

func groups() []string {
	return []string{"devs", "Devs", "ops", "oidc:/team=a", "*", "alice", identity.AllServiceAccounts, "system:authenticated"}
}
func accounts() []string { return []string{"default", "web", "db", "web.v2"} }

func verbs() []string {
	return []string{"use", "bind", "get", "update", "impersonate", "Use", "create"}
}
func apiGroups() []string { return []string{"", "saguard.io", "apps", "projectcalico.org"} }
func resources() []string {
	return []string{
		"serviceaccounts", "serviceaccounts/labels", "serviceaccounts/token", "pods", "pods/exec", "policybands", "deployments",
		// None of these is a wildcard, or not the one it looks like.
		"*/labels", "*/exec", "serviceaccounts/*", "*/*", "serviceaccounts/", "/labels", "labels", "ServiceAccounts",
	}
}

func labelKeys() []string {
	return []string{"role", "team", "example.com/role", "example.com/team", "Role", "example.com"}
}
func labelValues() []string {
	return []string{"intern", "trusted", "", "Intern", "a.b", "*", "x=y", "x:y"}
}

func oddNames() []string {
	return []string{"*", "*=*", "*:*", ":", "=", "/", "role=", "role", ":role=intern", "web:", "web:*:*", "example.com/**", "a/b=c:*"}
}

func pick[T any](g *Generator, from []T) T { return from[g.rng.IntN(len(from))] }

// chance is true once in n times.
func (g *Generator) chance(n int) bool { return g.rng.IntN(n) == 0 }

// some returns between min and max elements, not always distinct.
func some[T any](g *Generator, from []T, minimum, maximum int) []T {
	var out []T
	for range minimum + g.rng.IntN(maximum-minimum+1) {
		out = append(out, pick(g, from))
	}
	return out
}

func (g *Generator) namespaces() []string {
	var out []string
	for _, ns := range []string{"prod", "dev", "web"} {
		out = append(out, g.prefix+ns)
	}
	return out
}

// name makes distinct names that do not sort as they are numbered.
func (g *Generator) name(from []string, i int) string {
	return fmt.Sprintf("%s%s-%d", g.prefix, pick(g, from), i)
}

func (g *Generator) rules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for range 1 + g.rng.IntN(4) {
		r := rbacv1.PolicyRule{
			Verbs: some(g, verbs(), 1, 3), APIGroups: some(g, apiGroups(), 1, 2), Resources: some(g, resources(), 1, 4),
		}
		if g.chance(8) {
			r.Verbs = append(r.Verbs, rbacv1.VerbAll)
		}
		if g.chance(8) {
			r.APIGroups = append(r.APIGroups, rbacv1.APIGroupAll)
		}
		if g.chance(8) {
			r.Resources = append(r.Resources, rbacv1.ResourceAll)
		}
		if !g.chance(3) {
			for range 1 + g.rng.IntN(4) {
				r.ResourceNames = append(r.ResourceNames, g.resourceName())
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func (g *Generator) resourceName() string {
	switch g.rng.IntN(8) {
	case 0:
		return pick(g, oddNames())
	case 1, 2:
		return pick(g, accounts())
	case 3:
		return pick(g, []string{"developer", "security", ""})
	default:
		return pick(g, rbac.Label(pick(g, accounts()), pick(g, labelKeys()), pick(g, labelValues())).Candidates())
	}
}

func (g *Generator) clusterRole(i int) rbacv1.ClusterRole {
	r := rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: g.name(namesOfRoles(), i), Labels: map[string]string{}}}
	for _, to := range []string{"view", "edit", "admin"} {
		if g.chance(3) {
			r.Labels[g.aggregateLabel(to)] = "true"
		}
	}
	if !g.chance(4) {
		r.Rules = g.rules()
		if g.chance(4) {
			r.Rules = append([]rbacv1.PolicyRule{{Verbs: []string{"use", "get"}, NonResourceURLs: []string{"*", "/metrics"}}}, r.Rules...)
		}
		return r
	}
	r.AggregationRule = &rbacv1.AggregationRule{}
	for _, to := range some(g, []string{"view", "edit", "admin"}, 1, 2) {
		selector := metav1.LabelSelector{MatchLabels: map[string]string{g.aggregateLabel(to): "true"}}
		if g.chance(3) {
			selector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: g.aggregateLabel(to), Operator: metav1.LabelSelectorOpExists},
				{Key: g.aggregateLabel("view"), Operator: metav1.LabelSelectorOpNotIn, Values: []string{"true"}},
			}}
		}
		r.AggregationRule.ClusterRoleSelectors = append(r.AggregationRule.ClusterRoleSelectors, selector)
	}
	return r
}

// aggregateLabel is a key of this world alone: on a real API server nothing of it reaches the built-in roles.
func (g *Generator) aggregateLabel(to string) string {
	return "rbactest.example/" + g.prefix + "aggregate-to-" + to
}

func (g *Generator) roleRef(w *World, namespace string) rbacv1.RoleRef {
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: rbac.KindClusterRole, Name: pick(g, w.ClusterRoles).Name}
	var here []string
	for i := range w.Roles {
		if w.Roles[i].Namespace == namespace {
			here = append(here, w.Roles[i].Name)
		}
	}
	switch {
	case g.chance(10):
		ref.Name = g.prefix + "missing"
	case namespace != "" && len(here) > 0 && g.chance(2):
		ref.Kind, ref.Name = rbac.KindRole, pick(g, here)
	case namespace != "" && g.chance(10):
		// A Role of another namespace, or none: grants nothing.
		ref.Kind, ref.Name = rbac.KindRole, pick(g, w.Roles).Name
	}
	return ref
}

func (g *Generator) bindingSubjects(namespaced bool) []rbacv1.Subject {
	var out []rbacv1.Subject
	for range g.rng.IntN(4) {
		switch g.rng.IntN(4) {
		case 0:
			out = append(out, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: pick(g, users())})
		case 1:
			out = append(out, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: g.group()})
		case 2:
			// A service account named as the user that it authenticates as.
			out = append(out, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: g.account().Username()})
		default:
			s := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: pick(g, g.namespaces()), Name: pick(g, accounts())}
			if namespaced && g.chance(2) {
				s.Namespace = ""
			}
			out = append(out, s)
		}
	}
	return out
}

func (g *Generator) group() string {
	if g.chance(5) {
		return identity.AllServiceAccounts + ":" + pick(g, g.namespaces())
	}
	return pick(g, groups())
}

func (g *Generator) account() identity.ServiceAccount {
	a, err := identity.NewServiceAccount(pick(g, g.namespaces()), pick(g, accounts()))
	if err != nil {
		panic(err) // the names above are all valid; only a bad NamePrefix gets here
	}
	return a
}

// Subject returns a user or service account, with groups; once in fifty in system:masters.
func (g *Generator) Subject() identity.Subject {
	s := identity.Subject{User: pick(g, users()), Groups: []string{"system:authenticated"}}
	if g.chance(3) {
		a := g.account()
		s = identity.Subject{User: a.Username(), Groups: append(a.Groups(), "system:authenticated")}
	} else {
		s.Groups = append(s.Groups, some(g, groups(), 0, 3)...)
	}
	if g.chance(4) {
		s.UID = fmt.Sprintf("uid-%d", g.rng.IntN(3))
		s.Extra = map[string][]string{"example.com/tenant": some(g, users(), 0, 2)}
	}
	if g.chance(50) {
		s.Groups = append(s.Groups, identity.SystemMasters)
	}
	g.rng.Shuffle(len(s.Groups), func(i, j int) { s.Groups[i], s.Groups[j] = s.Groups[j], s.Groups[i] })
	return s
}

// Question returns one of saguard's own questions, or any other about a resource.
func (g *Generator) Question() rbac.Question {
	ns := pick(g, append(g.namespaces(), "", g.prefix+"elsewhere"))
	key, value := pick(g, labelKeys()), pick(g, labelValues())
	switch g.rng.IntN(12) {
	case 0:
		return rbac.UseAccount(ns, pick(g, accounts()))
	case 1:
		return rbac.BindAccount(ns, pick(g, accounts()))
	case 2, 3, 4:
		return rbac.UseLabel(ns, pick(g, append(accounts(), "")), key, value)
	case 5, 6:
		return rbac.BindLabel(ns, key, value)
	case 7:
		return rbac.BindAnyLabelValue(ns, key)
	case 8:
		return rbac.BindUnrestrictedLabels(ns)
	case 9:
		return rbac.UseBand(ns, pick(g, []string{"developer", "security"}))
	default:
		q := rbac.Question{
			Verb: pick(g, verbs()), Group: pick(g, apiGroups()), Resource: pick(g, []string{"serviceaccounts", "pods", "deployments", "labels"}),
			Subresource: pick(g, []string{"", "", "labels", "token", "exec"}), Namespace: ns, Name: rbac.Exact(g.resourceName()),
		}
		if g.chance(6) {
			q.Verb = rbacv1.VerbAll
		}
		return q
	}
}
