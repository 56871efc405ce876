package compile

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy"
)

// Problems returns what is wrong in the objects as they are together, beside what Parse said of each: policies in tiers
// that are missing, policies that select more than was meant, pods of the node without namespace or account object, and
// addresses that several pods claim. None of them widens a verdict. It looks at all policies and addresses.
func (c *Compiler) Problems() []policy.Problem {
	var out []policy.Problem
	spec := field.NewPath("spec")
	for _, p := range c.enforced {
		if p.tier.tier.Missing {
			out = append(out, policy.Problem{Object: p.have.ID, Err: field.NotFound(spec.Child("tier"), p.have.Tier)})
		}
		if p.have.Unscoped {
			out = append(out, policy.Problem{Object: p.have.ID, Err: field.Invalid(spec.Child("selector"), p.have.Selector.String(),
				"a selector of the policy does not parse: it denies everything that the others select")})
		}
		for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
			for _, r := range p.have.Rules(d) {
				if r.Never {
					out = append(out, policy.Problem{Object: p.have.ID, Err: field.Forbidden(spec.Child(d.String()).Index(r.Index), "the rule is not supported and matches nothing")})
				}
			}
		}
	}
	for _, p := range c.pods {
		if !p.local || p.class == nil {
			continue
		}
		if p.class.namespace.object == nil {
			out = append(out, policy.Problem{Object: p.have.Ref(), Err: field.NotFound(field.NewPath("metadata", "namespace"), p.have.Namespace)})
		}
		if a := p.class.account; a != nil && a.object == nil {
			out = append(out, policy.Problem{Object: p.have.Ref(), Err: field.NotFound(spec.Child("serviceAccountName"), a.id.name)})
		}
	}
	for _, rec := range c.addresses {
		if rec.shared == nil {
			continue
		}
		for _, p := range append([]*pod{rec.owner}, rec.shared.others...) {
			out = append(out, policy.Problem{Object: p.have.Ref(), Err: field.Duplicate(field.NewPath("status", "podIPs"), rec.addr.String())})
		}
	}
	slices.SortFunc(out, func(a, b policy.Problem) int {
		if n := a.Object.Compare(b.Object); n != 0 {
			return n
		}
		return cmp.Compare(a.Error(), b.Error())
	})
	return out
}
