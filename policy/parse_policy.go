package policy

import (
	"fmt"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

// source is what the policy kinds have in common.
type source struct {
	id              Ref
	tier            string
	order           *float64
	selector        string
	namespace       string // namespaceSelector of a global policy
	accounts        string // serviceAccountSelector
	types           []v3.PolicyType
	ingress, egress []v3.Rule
	// ingressIndex and egressIndex give a rule's place in the object, if that is another than in the list.
	ingressIndex, egressIndex []int
	// unscoped: the selector did not parse, and selects more than was meant.
	unscoped bool
	// hostOnly: doNotTrack and preDNAT policies never apply to pods.
	hostOnly string
}

// parsePolicy parses an enforced policy.
func parsePolicy(o Object, sem Semantics) (Resource, []Problem) {
	r := &reader{sem: sem}
	var in source
	spec := field.NewPath("spec")
	switch p := o.Value.(type) {
	case *v3.NetworkPolicy:
		r.namespace = p.Namespace
		in = source{
			id:   Ref{Kind: KindNetworkPolicy, Namespace: p.Namespace, Name: p.Name},
			tier: p.Spec.Tier, order: p.Spec.Order, selector: p.Spec.Selector, accounts: p.Spec.ServiceAccountSelector,
			types: p.Spec.Types, ingress: p.Spec.Ingress, egress: p.Spec.Egress,
		}
	case *v3.GlobalNetworkPolicy:
		in = source{
			id:   Ref{Kind: KindGlobalNetworkPolicy, Name: p.Name},
			tier: p.Spec.Tier, order: p.Spec.Order, selector: p.Spec.Selector, namespace: p.Spec.NamespaceSelector,
			accounts: p.Spec.ServiceAccountSelector, types: p.Spec.Types, ingress: p.Spec.Ingress, egress: p.Spec.Egress,
		}
		switch {
		case p.Spec.DoNotTrack:
			in.hostOnly = "doNotTrack"
		case p.Spec.PreDNAT:
			in.hostOnly = "preDNAT"
		}
	case *networkingv1.NetworkPolicy:
		r.namespace, r.unbounded = p.Namespace, true
		in = r.kubernetes(p)
	}
	if in.tier == "" {
		in.tier = DefaultTier
	}
	if o.CRD && in.tier == DefaultTier {
		// crd.projectcalico.org/v1 stores "default.NAME" for NAME in the default tier.
		in.id.Name = strings.TrimPrefix(in.id.Name, DefaultTier+".")
	}
	if in.hostOnly != "" {
		return nil, []Problem{{Object: in.id, Err: field.Forbidden(spec.Child(in.hostOnly), "policy for host endpoints is not supported and does not apply to pods")}}
	}
	p := r.policy(spec, in, o.Unknown)
	if r.absent {
		return nil, problems(in.id, r.errs)
	}
	return p, problems(in.id, r.errs)
}

// policy parses in; what is broken outside of the rules makes both directions, or those of the types, deny-all.
func (r *reader) policy(spec *field.Path, in source, unknown []string) *Policy {
	p := &Policy{ID: in.id, Tier: in.tier, Order: last(in.order)}
	r.types(spec.Child("types"), in, p)
	before := r.broken
	r.broken = false
	p.Selector = r.applies(spec, in)
	p.Unscoped = r.broken || in.unscoped
	r.broken = r.broken || before || in.unscoped
	brokenRules := r.unknown(unknown)
	p.Ingress = r.direction(spec.Child("ingress"), in.ingress, Ingress, in.ingressIndex, brokenRules)
	p.Egress = r.direction(spec.Child("egress"), in.egress, Egress, in.egressIndex, brokenRules)
	if r.broken {
		p.Ingress, p.Egress = []Rule{denyAll(0)}, []Rule{denyAll(0)}
	}
	if !p.AppliesIngress {
		p.Ingress = nil
	}
	if !p.AppliesEgress {
		p.Egress = nil
	}
	return p
}

// direction parses the rules of one direction. index gives a rule's place in the object, if that is another than in the
// list; broken are the paths of rules that are broken already.
func (r *reader) direction(path *field.Path, in []v3.Rule, d Direction, index []int, broken map[string]bool) []Rule {
	var out []Rule
	for i := range in {
		at := i
		if index != nil {
			at = index[i]
		}
		rules := r.rule(path.Index(at), &in[i], at, d)
		if broken[path.Index(at).String()] {
			rules = []Rule{denyAll(at)}
		}
		out = append(out, rules...)
	}
	return out
}

// types defaults as Calico's Go code does: by the length of the lists, so that an empty egress list counts as none
// (api/pkg/defaults/networkpolicy.go).
func (r *reader) types(path *field.Path, in source, p *Policy) {
	for i, t := range in.types {
		switch {
		case strings.EqualFold(string(t), string(v3.PolicyTypeIngress)):
			p.AppliesIngress = true
		case strings.EqualFold(string(t), string(v3.PolicyTypeEgress)):
			p.AppliesEgress = true
		default:
			r.fail(rowRuleFields, field.NotSupported(path.Index(i), t, []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress}))
			if r.sem.strict(rowRuleFields) {
				p.AppliesIngress, p.AppliesEgress = true, true
			}
		}
	}
	if len(in.types) == 0 {
		p.AppliesEgress = len(in.egress) > 0
		p.AppliesIngress = len(in.ingress) > 0 || !p.AppliesEgress
	}
}

// applies is networkpolicyprocessor.go and globalnetworkpolicyprocessor.go: the selectors of the policy in one text. If
// one does not parse, the strict selector is made of the others, so that it selects no less than what was meant.
func (r *reader) applies(spec *field.Path, in source) *selector.Selector {
	check := func(name string, text *string) {
		_, row, err := r.selector(spec.Child(name), *text)
		if err == nil {
			return
		}
		r.fail(row, err)
		if r.sem.strict(row) {
			*text = ""
		}
	}
	check("selector", &in.selector)
	check("namespaceSelector", &in.namespace)
	check("serviceAccountSelector", &in.accounts)

	text := in.selector
	if r.namespace != "" {
		own := fmt.Sprintf("%s == '%s'", LabelNamespace, r.namespace)
		if text == "" {
			text = own
		} else {
			text = fmt.Sprintf("(%s) && %s", text, own)
		}
	}
	if in.namespace != "" {
		text = and(text, prefixed(in.namespace, PrefixNamespace))
		text = strings.ReplaceAll(text, "all()", hasNamespace)
	}
	if in.accounts != "" {
		text = and(text, prefixed(in.accounts, PrefixServiceAccount))
		if r.namespace == "" {
			text = strings.ReplaceAll(text, "all()", hasAccount)
		}
	}
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		// Strict texts are made of parts that parse, so this is Calico's reading: the policy is absent.
		r.absent = true
		if len(r.errs) == 0 {
			r.errs = append(r.errs, field.Invalid(spec.Child("selector"), text, err.Error()))
		}
		return nil
	}
	return s
}

// and is updateprocessors/selectors.go (prefixAndAppendSelector).
func and(text, more string) string {
	switch {
	case more == "":
		return text
	case text == "":
		return more
	}
	return fmt.Sprintf("(%s) && %s", text, more)
}

// unknown sorts unknown fields by what they break: returned are the rules by path; a field elsewhere in the spec breaks
// the policy.
func (r *reader) unknown(fields []string) map[string]bool {
	rules := map[string]bool{}
	for _, f := range fields {
		if !strings.HasPrefix(f, "spec.") {
			continue
		}
		r.errs = append(r.errs, field.Invalid(field.NewPath(f), "", "unknown or repeated field"))
		if !r.sem.strict(rowRuleFields) {
			continue
		}
		rule, ok := "", false
		for _, list := range []string{"spec.ingress[", "spec.egress["} {
			if rest, found := strings.CutPrefix(f, list); found {
				if n, _, closed := strings.Cut(rest, "]"); closed {
					rule, ok = list+n+"]", true
				}
			}
		}
		if ok {
			rules[rule] = true
		} else {
			r.broken = true
		}
	}
	return rules
}
