package webhook

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/band"
	"github.com/saguard/saguard/rbac"
)

// CheckPolicyPrecedence is the ID of check policy-precedence: a policy is written, changed and deleted by those who may use the
// bands that it lies in, before and after. Without any band in the cluster the check is off. As soon as there is one, a
// place that no band holds, also in a tier that no band speaks of, is for those who may use all bands: else whoever is kept
// out of a band would go past it, to an earlier tier.
const CheckPolicyPrecedence = "policy-precedence"

func policyPrecedence() Check { return Check{ID: CheckPolicyPrecedence, Run: runPolicyPrecedence} }

func runPolicyPrecedence(f *Facts) ([]Finding, error) {
	mode := f.Guards.Precedence()
	if mode == v1alpha1.ModeOff || len(f.Bands) == 0 || !f.judgesPolicy() {
		return nil, nil
	}
	now, was := positionOf(f.Policy), positionOf(f.OldPolicy)
	var out []Finding
	if now != nil {
		out = append(out, precedenceFindings(f, mode, *now, "place policy in ", f.Policy)...)
	}
	switch {
	case was == nil, now != nil && *now == *was && !f.OldPolicy.policy.Unreadable:
	case now == nil:
		out = append(out, precedenceFindings(f, mode, *was, "delete policy in ", f.OldPolicy)...)
	default:
		out = append(out, precedenceFindings(f, mode, *was, "move or change policy in ", f.OldPolicy)...)
	}
	return out, nil
}

func positionOf(v *policyView) *band.Position {
	if v == nil {
		return nil
	}
	return &band.Position{Tier: v.policy.Tier, Order: v.policy.Order}
}

// precedenceFindings is empty for a place that is everybody's.
func precedenceFindings(f *Facts, mode v1alpha1.Mode, p band.Position, attempt string, v *policyView) []Finding {
	found := Finding{Mode: mode, Field: field.NewPath("spec", "order"), Attempt: attempt + p.String()}
	r := band.Of(f.Bands, p)
	if v.policy.Unreadable {
		r, found.Attempt = band.Requirement{}, attempt+"a place that cannot be read"
	} else if !r.Placed {
		found.Attempt += ", which no PolicyBand holds"
	}
	if r.Placed && len(r.Bands) == 0 {
		return nil
	}
	need := rbac.Ask(rbac.UseBand(f.Request.Namespace, "")) // only who may use all bands
	if r.Placed {
		parts := make([]rbac.Need, len(r.Bands))
		for i, name := range r.Bands {
			parts[i] = rbac.Ask(rbac.UseBand(f.Request.Namespace, name))
		}
		need = rbac.All(parts...)
	}
	found.Need = &need
	return []Finding{found}
}
