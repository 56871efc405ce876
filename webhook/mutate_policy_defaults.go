package webhook

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/band"
	"github.com/saguard/saguard/policy/reference"
)

// mutatePolicyDefaults writes down what a policy means where it says nothing: tier and types as Calico's own Go code defaults
// them, because its store and its CRDs do not, and the order of everybody's band. Who else may use a band is not known here,
// and a mutation does not ask.
//
// It leaves crd.projectcalico.org/v1 alone: what is written there is what Calico's API server has defaulted, and it compares
// what it reads with what it wrote. An update that changes nothing is left alone, too: it must not become one that does.
func mutatePolicyDefaults() Mutation {
	return Mutation{ID: "policy-defaults", Run: func(f *Facts) ([]PatchOp, error) {
		if f.Policy == nil || !f.Policy.readable || f.SamePolicy || f.Operation == admissionv1.Delete || f.Resource.Group != groupCalico {
			return nil, nil
		}
		return patchSpec(f.Object, policyDefaults(f)), nil
	}}
}

// specField is a field of spec to set.
type specField struct {
	name  string
	value any
}

func policyDefaults(f *Facts) []specField {
	d := defaultable(f.Policy)
	var out []specField
	if d.tier == "" {
		out = append(out, specField{name: "tier", value: reference.DefaultTier})
	}
	if d.deletes {
		return out // such a policy may say nothing else
	}
	if d.order == nil && f.Guards.Precedence() != v1alpha1.ModeOff {
		if order, ok := band.DefaultOrder(f.Bands, f.Policy.policy.Tier); ok {
			out = append(out, specField{name: "order", value: order})
		}
	}
	if d.types == 0 {
		out = append(out, specField{name: "types", value: defaultTypes(d.ingress, d.egress)})
	}
	return out
}

// defaultTypes is api/pkg/defaults/networkpolicy.go: by the length of the lists, so that an empty egress counts as none.
func defaultTypes(ingress, egress int) []v3.PolicyType {
	switch {
	case egress == 0:
		return []v3.PolicyType{v3.PolicyTypeIngress}
	case ingress == 0:
		return []v3.PolicyType{v3.PolicyTypeEgress}
	default:
		return []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress}
	}
}

type defaults struct {
	tier                   string
	order                  *float64
	types, ingress, egress int // how many
	deletes                bool
}

func defaultable(v *policyView) defaults {
	switch p := v.object.(type) {
	case *v3.NetworkPolicy:
		s := &p.Spec
		return defaults{tier: s.Tier, order: s.Order, types: len(s.Types), ingress: len(s.Ingress), egress: len(s.Egress)}
	case *v3.GlobalNetworkPolicy:
		s := &p.Spec
		return defaults{tier: s.Tier, order: s.Order, types: len(s.Types), ingress: len(s.Ingress), egress: len(s.Egress)}
	case *v3.StagedNetworkPolicy:
		s := &p.Spec
		return defaults{
			tier: s.Tier, order: s.Order, types: len(s.Types), ingress: len(s.Ingress), egress: len(s.Egress),
			deletes: s.StagedAction == v3.StagedActionDelete,
		}
	case *v3.StagedGlobalNetworkPolicy:
		s := &p.Spec
		return defaults{
			tier: s.Tier, order: s.Order, types: len(s.Types), ingress: len(s.Ingress), egress: len(s.Egress),
			deletes: s.StagedAction == v3.StagedActionDelete,
		}
	default:
		return defaults{tier: reference.DefaultTier, deletes: true} // nothing to default
	}
}

// patchSpec sets fields one by one, so that nobody becomes the owner of more than was added. A policy without spec gets one.
func patchSpec(object []byte, fields []specField) []PatchOp {
	if len(fields) == 0 {
		return nil
	}
	if rawSpec(object) == nil {
		spec := map[string]any{}
		for _, f := range fields {
			spec[f.name] = f.value
		}
		return []PatchOp{{Op: "add", Path: pointer("spec"), Value: spec}}
	}
	ops := make([]PatchOp, 0, len(fields))
	for _, f := range fields {
		ops = append(ops, PatchOp{Op: "add", Path: pointer("spec", f.name), Value: f.value})
	}
	return ops
}
