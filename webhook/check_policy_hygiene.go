package webhook

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/policy/hygiene"
)

// CheckPolicyHygiene is the ID of check policy-hygiene: a policy that is written says what its author can see it say. No
// permission is enough for one that does not; the rules are those of package hygiene. A policy that is there already is
// left alone until somebody changes what it says.
const CheckPolicyHygiene = hygiene.ID

// maxHygiene bounds how many errors of one policy are told, for the reader's sake.
const maxHygiene = 16

func policyHygiene() Check { return Check{ID: CheckPolicyHygiene, Run: runPolicyHygiene} }

func runPolicyHygiene(f *Facts) ([]Finding, error) {
	mode := f.Guards.Hygiene()
	if mode == v1alpha1.ModeOff || f.Policy == nil || !f.judgesPolicy() {
		return nil, nil
	}
	errs := f.Policy.misfits
	if f.Policy.object != nil {
		errs = append(errs[:len(errs):len(errs)], hygiene.Check(f.Policy.object, hygiene.Strict)...)
	}
	var out []Finding
	for _, e := range errs[:min(len(errs), maxHygiene)] {
		found := Finding{Mode: mode, Attempt: "write this policy", Rule: e.ErrorBody()}
		if e.Field != "" {
			found.Field = field.NewPath(e.Field) // the whole path as one name: it reads the same
		}
		out = append(out, found)
	}
	if more := len(errs) - len(out); more > 0 {
		out = append(out, Finding{Mode: mode, Attempt: "write this policy", Rule: fmt.Sprintf("%d more errors are not listed", more)})
	}
	return out, nil
}
