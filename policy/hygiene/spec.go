package hygiene

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxRules is the maxItems of ingress and of egress in Calico's CRDs.
const maxRules = 1024

func (c *checker) spec(p *view) {
	path := field.NewPath("spec")
	c.stagedAction(path, p)
	c.tier(path.Child("tier"), p.tier)
	c.rules(path.Child("ingress"), p.ingress, directionIngress)
	c.rules(path.Child("egress"), p.egress, directionEgress)
	c.subject(path, p)
	c.types(path, p)
	c.hostFlags(path, p)
	c.hints(path.Child("performanceHints"), p.hints)
}

func (c *checker) stagedAction(path *field.Path, p *view) {
	if p.staged == nil {
		return
	}
	known := []v3.StagedAction{v3.StagedActionSet, v3.StagedActionDelete, v3.StagedActionLearn, v3.StagedActionIgnore}
	if a := *p.staged; a != "" && !sets.New(known...).Has(a) {
		c.fail(field.NotSupported(path.Child("stagedAction"), a, known))
	}
	if *p.staged != v3.StagedActionDelete {
		return
	}
	if p.order != nil || len(p.ingress)+len(p.egress)+len(p.types)+len(p.hints) > 0 ||
		p.selector+p.accounts+p.namespaces != "" || p.doNotTrack || p.preDNAT || p.applyOnForward {
		c.fail(field.Forbidden(path, "stagedAction Delete allows no other field than tier"))
	}
}

// tier must fit into a label, because Calico labels the policy with it.
func (c *checker) tier(path *field.Path, tier string) {
	if tier == "" {
		return
	}
	for _, why := range validation.IsValidLabelValue(tier) {
		c.fail(field.Invalid(path, brief(tier), why))
	}
	for _, why := range validation.IsDNS1123Subdomain(tier) {
		c.fail(field.Invalid(path, brief(tier), why))
	}
}

// subject checks what the policy applies to. all() is the usual way to say
// "whatever the account" there and widens nothing.
func (c *checker) subject(path *field.Path, p *view) {
	c.withoutGlobal(path, "selector", p.selector)
	c.plainNegative(path, p.selector, c.selector(path, "selector", p.selector, bounded))

	c.withoutGlobal(path, "serviceAccountSelector", p.accounts)
	s := c.selector(path, "serviceAccountSelector", p.accounts, bounded)
	if s != nil && s.MatchesUnlabelled() && !s.IsAll() {
		c.strict(DivergenceAccountsNegative, negative(path.Child("serviceAccountSelector"), p.accounts, hasAccountName))
	}

	c.withoutGlobal(path, "namespaceSelector", p.namespaces)
	c.selector(path, "namespaceSelector", p.namespaces, bounded)
}

func (c *checker) types(path *field.Path, p *view) {
	path = path.Child("types")
	if len(p.types) > 2 {
		c.fail(field.TooMany(path, len(p.types), 2))
	}
	seen := sets.New[v3.PolicyType]()
	for i, t := range p.types {
		if t != v3.PolicyTypeIngress && t != v3.PolicyTypeEgress {
			c.fail(field.NotSupported(path.Index(i), t, []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress}))
		}
		if seen.Has(t) {
			c.fail(field.Duplicate(path.Index(i), t))
		}
		if t == v3.PolicyTypeEgress && p.preDNAT {
			c.fail(field.Forbidden(path.Index(i), "a preDNAT policy is for ingress only"))
		}
		seen.Insert(t)
	}
}

func (c *checker) hostFlags(path *field.Path, p *view) {
	if p.preDNAT && p.doNotTrack {
		c.fail(field.Forbidden(path.Child("preDNAT"), "may not be true together with doNotTrack"))
	}
	if p.preDNAT && len(p.egress) > 0 {
		c.fail(field.Forbidden(path.Child("egress"), "a preDNAT policy is for ingress only"))
	}
	if (p.preDNAT || p.doNotTrack) && !p.applyOnForward {
		c.fail(field.Invalid(path.Child("applyOnForward"), false, "must be true where preDNAT or doNotTrack is"))
	}
}

func (c *checker) hints(path *field.Path, hints []v3.PolicyPerformanceHint) {
	seen := sets.New[v3.PolicyPerformanceHint]()
	for i, h := range hints {
		if h != v3.PerfHintAssumeNeededOnEveryNode {
			c.fail(field.NotSupported(path.Index(i), h, []v3.PolicyPerformanceHint{v3.PerfHintAssumeNeededOnEveryNode}))
		}
		if seen.Has(h) {
			c.fail(field.Duplicate(path.Index(i), h))
		}
		seen.Insert(h)
	}
}
