package hygiene

import (
	"fmt"
	"strings"
	"unicode/utf8"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

// GroupCRD is the API group of Calico's storage CRDs, which carry metadata in an
// annotation and tier prefixes in names.
const GroupCRD = "crd.projectcalico.org"

// Check examines a *v3.NetworkPolicy, *v3.GlobalNetworkPolicy,
// *v3.StagedNetworkPolicy or *v3.StagedGlobalNetworkPolicy and returns all that
// is wrong with it, in the order of its fields. Objects of
// crd.projectcalico.org/v1 are told by their TypeMeta. Anything else is refused:
// it fails closed.
func Check(obj metav1.Object, sem Semantics) field.ErrorList {
	var errs field.ErrorList
	for _, f := range findings(obj, sem) {
		errs = append(errs, f.err)
	}
	return errs
}

// finding is an error and the divergence it belongs to, "" if Calico has the
// rule, too.
type finding struct {
	err        *field.Error
	divergence string
}

func findings(obj metav1.Object, sem Semantics) []finding {
	p, ok := viewOf(obj)
	if !ok {
		return []finding{{err: field.NotSupported(field.NewPath("kind"), fmt.Sprintf("%T", obj), policyKinds())}}
	}
	c := &checker{sem: sem, global: p.global}
	c.metadata(p)
	c.spec(p)
	return c.found
}

// checker collects. Its zero value is strict.
type checker struct {
	sem    Semantics
	global bool // the policy is not confined to a namespace
	found  []finding
}

// fail records what Calico refuses, too.
func (c *checker) fail(err *field.Error) { c.found = append(c.found, finding{err: err}) }

// strict records what only we refuse.
func (c *checker) strict(divergence string, err *field.Error) {
	if c.sem == Strict {
		c.found = append(c.found, finding{err: err, divergence: divergence})
	}
}

// bound says whether Calico's CRDs bound the length of a selector field.
type bound bool

const (
	bounded   bound = true
	unbounded bound = false
)

// selector checks one selector field; nil if it does not parse. Like its
// neighbours it builds the path of the field only for an error, because most of
// a large policy's fields are empty or right.
func (c *checker) selector(parent *field.Path, name, text string, b bound) *selector.Selector {
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		c.fail(field.Invalid(parent.Child(name), brief(text), "not a selector: "+err.Error()))
		return nil
	}
	// The schema counts characters, the strict limit bytes.
	if b == bounded && utf8.RuneCountInString(text) > selector.MaxLength {
		c.fail(field.TooLong(parent.Child(name), brief(text), selector.MaxLength))
		return s
	}
	if len(text) > selector.MaxLength || strings.Count(text, "(") > selector.MaxDepth {
		if _, err := selector.Parse(text); err != nil {
			c.strict(selector.DivergenceOf(err), field.Invalid(parent.Child(name), brief(text), err.Error()))
		}
	}
	return s
}

// withoutGlobal is the CEL rule on all selectors but a rule's namespaceSelector:
// it looks at the text, quoted or not.
func (c *checker) withoutGlobal(parent *field.Path, name, text string) {
	if strings.Contains(text, "global(") {
		c.fail(field.Invalid(parent.Child(name), brief(text), "global() is for the namespaceSelector of a rule only"))
	}
}

// brief shortens a user's value for a message.
func brief(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// view is what the four kinds have in common.
type view struct {
	object     metav1.Object
	crd        bool
	global     bool
	staged     *v3.StagedAction // nil if not staged
	tier       string
	order      *float64
	ingress    []v3.Rule
	egress     []v3.Rule
	selector   string
	types      []v3.PolicyType
	accounts   string // serviceAccountSelector
	namespaces string // namespaceSelector
	hints      []v3.PolicyPerformanceHint

	doNotTrack, preDNAT, applyOnForward bool
}

func policyKinds() []string {
	return []string{
		v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindStagedNetworkPolicy, v3.KindStagedGlobalNetworkPolicy,
	}
}

// viewOf returns false for other types and for nil pointers.
func viewOf(obj metav1.Object) (*view, bool) {
	switch in := obj.(type) {
	case *v3.NetworkPolicy:
		if in == nil {
			return nil, false
		}
		s := &in.Spec
		return &view{
			object: in, crd: crdGroup(in.TypeMeta), tier: s.Tier, order: s.Order, ingress: s.Ingress, egress: s.Egress,
			selector: s.Selector, types: s.Types, accounts: s.ServiceAccountSelector, hints: s.PerformanceHints,
		}, true
	case *v3.StagedNetworkPolicy:
		if in == nil {
			return nil, false
		}
		s := &in.Spec
		return &view{
			object: in, crd: crdGroup(in.TypeMeta), staged: &s.StagedAction, tier: s.Tier, order: s.Order, ingress: s.Ingress,
			egress: s.Egress, selector: s.Selector, types: s.Types, accounts: s.ServiceAccountSelector, hints: s.PerformanceHints,
		}, true
	case *v3.GlobalNetworkPolicy:
		if in == nil {
			return nil, false
		}
		s := &in.Spec
		return &view{
			object: in, crd: crdGroup(in.TypeMeta), global: true, tier: s.Tier, order: s.Order, ingress: s.Ingress,
			egress: s.Egress, selector: s.Selector, types: s.Types, accounts: s.ServiceAccountSelector,
			namespaces: s.NamespaceSelector, hints: s.PerformanceHints,
			doNotTrack: s.DoNotTrack, preDNAT: s.PreDNAT, applyOnForward: s.ApplyOnForward,
		}, true
	case *v3.StagedGlobalNetworkPolicy:
		if in == nil {
			return nil, false
		}
		s := &in.Spec
		return &view{
			object: in, crd: crdGroup(in.TypeMeta), global: true, staged: &s.StagedAction, tier: s.Tier, order: s.Order,
			ingress: s.Ingress, egress: s.Egress, selector: s.Selector, types: s.Types, accounts: s.ServiceAccountSelector,
			namespaces: s.NamespaceSelector, hints: s.PerformanceHints,
			doNotTrack: s.DoNotTrack, preDNAT: s.PreDNAT, applyOnForward: s.ApplyOnForward,
		}, true
	}
	return nil, false
}

func crdGroup(t metav1.TypeMeta) bool { return t.GroupVersionKind().Group == GroupCRD }
