package reference_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/selector"
)

// held is one permission of somebody; namespace "" is everywhere.
type held struct {
	namespace string
	grant     reference.Grant
}

// answers: does a permission answer a question about w in the namespace, as RBAC's rules without names answer all names?
func (h held) answers(namespace string, w reference.Grant) bool {
	if h.namespace != "" && h.namespace != namespace {
		return false
	}
	switch h.grant.Kind {
	case reference.AnyAccount:
		return w.Kind == reference.AnyAccount || w.Kind == reference.Account
	case reference.AnyLabel:
		return w.Kind == reference.AnyLabel || w.Kind == reference.AnyValue || w.Kind == reference.Label
	case reference.AnyValue:
		return (w.Kind == reference.AnyValue || w.Kind == reference.Label) && w.Key == h.grant.Key
	default:
		return h.grant == w
	}
}

// covers: is this somebody who may refer to that account?
func (h held) covers(a *policy.ServiceAccount) bool {
	if h.namespace != "" && h.namespace != a.Namespace {
		return false
	}
	value, has := a.Labels[h.grant.Key]
	switch h.grant.Kind {
	case reference.AnyAccount, reference.AnyLabel:
		return true
	case reference.Account:
		return a.Name == h.grant.Value
	case reference.AnyValue:
		return has
	case reference.Label:
		return has && value == h.grant.Value
	default:
		return false
	}
}

type holder []held

func (hs holder) may(r reference.Reference) bool {
	namespaces := r.Namespaces
	if namespaces == nil {
		namespaces = []string{""}
	}
	for _, ns := range namespaces {
		ok := r.Formula.Holds(func(g selector.Grant) bool {
			w := reference.GrantOf(g)
			if w.Kind == reference.Everything {
				return hs.answers(ns, reference.Grant{Kind: reference.AnyAccount}) && hs.answers(ns, reference.Grant{Kind: reference.AnyLabel})
			}
			return hs.answers(ns, w)
		})
		if !ok {
			return false
		}
	}
	return true
}

func (hs holder) answers(ns string, w reference.Grant) bool {
	return slices.ContainsFunc(hs, func(h held) bool { return h.answers(ns, w) })
}

func (hs holder) covers(a *policy.ServiceAccount) bool {
	return slices.ContainsFunc(hs, func(h held) bool { return h.covers(a) })
}

// endpoints are pods of every account and pod label there is; stripped is the same pod without its account.
type endpoint struct {
	account        *policy.ServiceAccount
	full, stripped policy.EndpointLabels
}

func endpoints() []endpoint {
	var out []endpoint
	for _, ns := range []string{"prod", "dev"} {
		namespace := &policy.Namespace{Name: ns, Labels: map[string]string{"env": ns}}
		for _, name := range []string{"web", "db"} {
			for _, role := range []string{"", "a", "b"} {
				account := &policy.ServiceAccount{Namespace: ns, Name: name, Labels: map[string]string{}}
				if role != "" {
					account.Labels["role"] = role
				}
				for _, app := range []string{"", "x"} {
					own := map[string]string{policy.LabelNamespace: ns, policy.LabelOrchestrator: "k8s"}
					if app != "" {
						own["app"] = app
					}
					with := map[string]string{policy.LabelServiceAccount: name}
					for k, v := range own {
						with[k] = v
					}
					out = append(out, endpoint{
						account:  account,
						full:     policy.EndpointLabels{Own: with, Namespace: namespace, Account: account},
						stripped: policy.EndpointLabels{Own: own, Namespace: namespace},
					})
				}
			}
		}
	}
	return out
}

type random struct{ *rand.Rand }

func (r random) of(list ...string) string { return list[r.IntN(len(list))] }

// expression is a random selector over keys; "" sometimes.
func (r random) expression(depth int, leaf func() string) string {
	if depth == 0 || r.IntN(3) == 0 {
		return leaf()
	}
	switch r.IntN(3) {
	case 0:
		return "!(" + r.expression(depth-1, leaf) + ")"
	case 1:
		return "(" + r.expression(depth-1, leaf) + " && " + r.expression(depth-1, leaf) + ")"
	default:
		return "(" + r.expression(depth-1, leaf) + " || " + r.expression(depth-1, leaf) + ")"
	}
}

func (r random) test(key string, values ...string) string {
	switch r.IntN(7) {
	case 0:
		return fmt.Sprintf("%s != '%s'", key, r.of(values...))
	case 1:
		return fmt.Sprintf("has(%s)", key)
	case 2:
		return fmt.Sprintf("%s in {'%s', '%s'}", key, r.of(values...), r.of(values...))
	case 3:
		return fmt.Sprintf("%s not in {'%s'}", key, r.of(values...))
	case 4:
		return fmt.Sprintf("%s starts with '%s'", key, r.of(values...)[:1])
	default:
		return fmt.Sprintf("%s == '%s'", key, r.of(values...))
	}
}

func (r random) accountSelector() string {
	return r.expression(2, func() string {
		switch r.IntN(8) {
		case 0:
			return r.of("all()", "role in {}")
		case 1, 2:
			return r.test("projectcalico.org/name", "web", "db")
		default:
			return r.test("role", "a", "b")
		}
	})
}

func (r random) plainSelector() string {
	return r.expression(2, func() string {
		switch r.IntN(6) {
		case 0:
			return r.test("app", "x")
		case 1:
			return r.test("projectcalico.org/serviceaccount", "web", "db")
		case 2:
			return r.test("pcsa.projectcalico.org/name", "web", "db")
		case 3:
			return r.of("all()", "app == 'pcsa.x'", r.test("pcns.env", "prod", "dev"))
		default:
			return r.test("pcsa.role", "a", "b")
		}
	})
}

func (r random) namespaceSelector() string {
	return r.expression(2, func() string {
		if r.IntN(4) == 0 {
			return r.test("env", "prod", "dev")
		}
		return r.test("projectcalico.org/name", "prod", "dev")
	})
}

func (r random) entity() v3.EntityRule {
	e := v3.EntityRule{}
	if r.IntN(2) == 0 {
		e.NamespaceSelector = r.namespaceSelector()
	}
	if r.IntN(3) == 0 {
		e.Selector = r.plainSelector()
	}
	if r.IntN(4) == 0 {
		e.NotSelector = r.plainSelector()
	}
	if r.IntN(2) == 0 {
		sa := &v3.ServiceAccountMatch{}
		for range r.IntN(3) {
			sa.Names = append(sa.Names, r.of("web", "db", "web", "db", "other", "web'", "x' } || all() || a in {'y", "x'} || pcsa.role in {'a"))
		}
		if r.IntN(2) == 0 {
			sa.Selector = r.accountSelector()
		}
		if r.IntN(20) == 0 {
			sa.Selector = "role = 'a'"
		}
		e.ServiceAccounts = sa
	}
	return e
}

func (r random) holder() holder {
	var out holder
	for range r.IntN(4) {
		g := reference.Grant{Kind: reference.Kind(1 + r.IntN(5))}
		switch g.Kind {
		case reference.Account:
			g.Value = r.of("web", "db")
		case reference.Label:
			g.Key, g.Value = "role", r.of("a", "b")
		case reference.AnyValue:
			g.Key = "role"
		default:
		}
		out = append(out, held{namespace: r.of("prod", "dev", ""), grant: g})
	}
	return out
}

// matches is Calico's own meaning of one end of a rule.
func matches(e policy.Entity, l selector.Labels) bool {
	return (e.Set == nil || e.Set.Selector.Matches(l)) && (e.NotSet == nil || !e.NotSet.Selector.Matches(l))
}

// What a policy selects, holes included, is compared with what its references ask for: whoever satisfies them may refer to
// every account that is selected, or the pod is selected for other labels alone.
func TestReferencesAreSound(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	pods := endpoints()
	var checked, covered, narrow, unparsed int
	for range 10_000 {
		spec := v3.GlobalNetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Allow, Source: r.entity(), Destination: r.entity()}}}
		if r.IntN(3) == 0 {
			spec.Selector = r.plainSelector()
		}
		if r.IntN(3) == 0 {
			spec.ServiceAccountSelector = r.accountSelector()
		}
		var object metav1.Object
		namespace := ""
		if r.IntN(2) == 0 {
			namespace = "prod"
			object = &v3.NetworkPolicy{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: namespace},
				Spec:       v3.NetworkPolicySpec{Selector: spec.Selector, ServiceAccountSelector: spec.ServiceAccountSelector, Ingress: spec.Ingress},
			}
		} else {
			if r.IntN(2) == 0 {
				spec.NamespaceSelector = r.namespaceSelector()
			}
			object = &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}
		}
		res, _ := policy.Parse(policy.Object{Value: object}, policy.Calico)
		p, ok := res.(*policy.Policy)
		if !ok {
			unparsed++
			continue
		}
		refs := reference.Created(reference.Read(object, namespace))
		for range 5 {
			hs := r.holder()
			if slices.ContainsFunc(refs, func(ref reference.Reference) bool { return !hs.may(ref) }) {
				continue
			}
			checked++
			if len(refs) > 0 && !hs.answers("", reference.Grant{Kind: reference.AnyAccount}) && !hs.answers("", reference.Grant{Kind: reference.AnyLabel}) {
				narrow++
			}
			for _, pod := range pods {
				for what, selects := range map[string]func(selector.Labels) bool{
					"subject": p.Selector.Matches,
					"source":  func(l selector.Labels) bool { return matches(p.Ingress[0].Source, l) },
					"destination": func(l selector.Labels) bool {
						return matches(p.Ingress[0].Destination, l)
					},
				} {
					switch {
					case !selects(pod.full):
					case hs.covers(pod.account):
						covered++
					case !selects(pod.stripped):
						t.Fatalf("%v satisfies %s\nof %+v\nbut its %s selects %+v", hs, strings.Join(text(refs), "; "), spec, what, pod.account)
					}
				}
			}
		}
	}
	if checked < 5_000 || covered < 5_000 || narrow < 500 || unparsed > 7_000 {
		t.Errorf("lopsided sample: %d checked, %d of them narrow, %d covered, %d policies that Calico drops", checked, narrow, covered, unparsed)
	}
}
