package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/shadow"
)

// lintShadowed is the ID of a policy that never matches because another decides first. Nothing is open by it.
const lintShadowed = "shadowed-policy"

// shadowedPolicy is a policy of which a direction, or both, never match.
type shadowedPolicy struct {
	ID     string     `json:"id"`
	Policy objectName `json:"policy"`
	// Directions are "ingress", "egress" or both.
	Directions []string `json:"directions"`
	// By decides first; Tier and Order are its place. Order is absent for a policy without one.
	By    objectName `json:"by"`
	Tier  string     `json:"tier"`
	Order *float64   `json:"order,omitempty"`
	name  string     // of By, with its tier
}

// lintPolicies are the policies and tiers that lint looks at.
type lintPolicies struct {
	candidates []*shadow.Policy
	// by are the policies by namespace, "" for the global ones.
	by    map[string][]*shadow.Policy
	tiers shadow.Tiers
	notes []string
}

// add takes a policy or tier; anything else is left alone. namespace is for one that names none.
func (l *lintPolicies) add(o *unstructured.Unstructured, namespace string) {
	gk := o.GroupVersionKind().GroupKind()
	if !isLintPolicy(gk) {
		return
	}
	if gk.Kind == policy.KindNetworkPolicy && o.GetNamespace() == "" {
		o = o.DeepCopy()
		o.SetNamespace(namespace)
	}
	raw, err := o.MarshalJSON()
	var object policy.Object
	if err == nil {
		object, err = policy.Decode(raw)
	}
	switch {
	case err != nil && gk.Kind == policy.KindTier:
		l.notes = append(l.notes, fmt.Sprintf("Tier %s cannot be read: what comes before or after it is not known", o.GetName()))
	case err != nil:
		l.notes = append(l.notes, fmt.Sprintf("%s cannot be read: what it decides before others is not known", manifest{Unstructured: o}.describe()))
		l.put(shadow.Unreadable(policy.Ref{Kind: gk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}))
	case gk.Kind == policy.KindTier:
		parsed, problems := policy.Parse(object, policy.Strict)
		if t, ok := parsed.(*policy.Tier); ok && len(problems) == 0 {
			l.putTier(*t)
		}
	default:
		if p := shadow.New(object); p != nil {
			l.put(p)
			l.candidates = append(l.candidates, shadow.Candidate(object))
		}
	}
}

func (l *lintPolicies) put(p *shadow.Policy) {
	if l.by == nil {
		l.by = map[string][]*shadow.Policy{}
	}
	l.by[p.ID.Namespace] = append(l.by[p.ID.Namespace], p)
}

func (l *lintPolicies) putTier(t policy.Tier) {
	if l.tiers == nil {
		l.tiers = shadow.Tiers{}
	}
	l.tiers[t.Name] = t
}

func isLintPolicy(gk schema.GroupKind) bool {
	return slices.ContainsFunc(lintPolicyGroups(), func(gv schema.GroupVersion) bool { return gv.Group == gk.Group }) &&
		(gk.Kind == policy.KindNetworkPolicy || gk.Kind == policy.KindGlobalNetworkPolicy || gk.Kind == policy.KindTier)
}

func lintPolicyGroups() []schema.GroupVersion {
	return []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}}
}

// shadowed finds every policy that provably never matches, by tier and name. It is pure.
func (l *lintPolicies) shadowed() []shadowedPolicy {
	var out []shadowedPolicy
	for _, p := range l.candidates {
		others := shadow.Others{Global: l.by[""], Tiers: decision.Known(l.tiers)}
		if p.ID.Namespace != "" {
			others.Own = l.by[p.ID.Namespace]
		}
		for _, f := range shadow.Find(p, others) {
			s := shadowedPolicy{
				ID: lintShadowed, Policy: policyName(p.ID), Directions: []string{f.Direction.String()}, By: policyName(f.By.ID), Tier: f.By.Tier, name: f.By.Name(),
			}
			if !math.IsInf(f.By.Order, 1) {
				s.Order = &f.By.Order
			}
			if n := len(out); n > 0 && out[n-1].Policy == s.Policy && out[n-1].By == s.By {
				out[n-1].Directions = append(out[n-1].Directions, s.Directions...)
				continue
			}
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b shadowedPolicy) int {
		return cmp.Or(strings.Compare(a.Policy.String(), b.Policy.String()), strings.Compare(a.Directions[0], b.Directions[0]))
	})
	return out
}

func policyName(r policy.Ref) objectName {
	return objectName{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// says is the finding in words: "never matches on ingress: security/deny-intern (order 10) decides first".
func (s *shadowedPolicy) says() string {
	order := "without order"
	if s.Order != nil {
		order = "order " + strconv.FormatFloat(*s.Order, 'f', -1, 64)
	}
	return fmt.Sprintf("never matches on %s: %s (%s) decides first", strings.Join(s.Directions, " and "), s.name, order)
}

// policiesFromCluster reads policies and tiers from the group that users write, or from Calico's store where that is not served. Who
// may not read them is told so.
func policiesFromCluster(ctx context.Context, c dynamic.Interface) (*lintPolicies, error) {
	out := &lintPolicies{}
	for _, gv := range lintPolicyGroups() {
		var all []unstructured.Unstructured
		served := true
		for _, resource := range []string{"networkpolicies", "globalnetworkpolicies", "tiers"} {
			list, err := listAll(ctx, c, gv.WithResource(resource))
			switch {
			case apierrors.IsNotFound(err):
				served = false
			case apierrors.IsForbidden(err):
				return &lintPolicies{notes: []string{fmt.Sprintf("you may not list %s.%s: policies that never match are not looked for", resource, gv.Group)}}, nil
			case err != nil:
				return nil, fmt.Errorf("list %s.%s: %w", resource, gv.Group, err)
			}
			all = append(all, list...)
		}
		if !served {
			continue
		}
		for i := range all {
			out.add(&all[i], metav1.NamespaceDefault)
		}
		return out, nil
	}
	return out, nil
}
