package webhook

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

// advise returns warnings that help whoever writes a policy and decide nothing. Each is at most maxWarning characters.
func advise(f *Facts) []string {
	if f.Policy == nil || f.SamePolicy {
		return nil
	}
	return slices.Concat(adviseUnsupported(f), adviseShadowed(f), adviseNobody(f))
}

// adviseUnsupported says what of a policy saguard's agent does not enforce (package policy says the same of such a policy).
func adviseUnsupported(f *Facts) []string {
	var fields []string
	host := func(spec *v3.GlobalNetworkPolicySpec) {
		for _, one := range []struct {
			name string
			set  bool
		}{{name: "doNotTrack", set: spec.DoNotTrack}, {name: "preDNAT", set: spec.PreDNAT}, {name: "applyOnForward", set: spec.ApplyOnForward}} {
			if one.set {
				fields = append(fields, "spec."+one.name)
			}
		}
	}
	var ingress, egress []v3.Rule
	switch p := f.Policy.object.(type) {
	case *v3.NetworkPolicy:
		ingress, egress = p.Spec.Ingress, p.Spec.Egress
	case *v3.GlobalNetworkPolicy:
		ingress, egress = p.Spec.Ingress, p.Spec.Egress
		host(&p.Spec)
	default:
		return nil // a staged policy is enforced by nobody
	}
	var out []string
	if len(fields) > 0 {
		out = append(out, clip(strings.Join(fields, ", ")+": for host endpoints, which saguard's agent does not enforce"))
	}
	if n := serviceRules(ingress) + serviceRules(egress); n > 0 {
		out = append(out, clip(fmt.Sprintf("%d rules match services, which saguard's agent does not support: to it they deny", n)))
	}
	return out
}

func serviceRules(rules []v3.Rule) int {
	n := 0
	for i := range rules {
		if rules[i].Source.Services != nil || rules[i].Destination.Services != nil {
			n++
		}
	}
	return n
}
