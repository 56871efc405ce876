package webhook

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// Check is one rule of admission. Its ID is stable: it is the audit key, the metric label and the anchor in the docs.
type Check struct {
	ID string
	// Run is pure: facts in, findings out; nothing found means nothing guarded is asked for. An error means that the
	// objects cannot be read, and refuses the request.
	Run func(*Facts) ([]Finding, error)
}

// Finding is one thing that a request asks for and that somebody must be permitted.
type Finding struct {
	// Mode says what happens if it is not; a finding of mode Off is not made.
	Mode v1alpha1.Mode
	// Field is where in the object the request asks for it.
	Field *field.Path
	// Attempt completes "you may not ...": "put label role=intern on service account web".
	Attempt string
	// Need is what the subject must hold. Nil means that no permission is enough: Rule says why.
	Need *rbac.Need
	// Rule is the sentence for a finding without Need.
	Rule string
}

// Judged is a finding and its answer.
type Judged struct {
	Finding
	// Check is the ID of the check that found it.
	Check   string
	Outcome rbac.Outcome
	// Err says that RBAC could not answer; Outcome is then not met.
	Err error
	// unasked says that this stands for the findings after the last that was asked for.
	unasked bool
}

// violated reports that the finding's rule does not hold. Only an answer that is there and says so clears it.
func (j *Judged) violated() bool { return j.Err != nil || j.Need == nil || !j.Outcome.Met }

// Checks returns every check, in the order in which findings are told.
func Checks() []Check {
	return []Check{
		labelUse(),
		accountUse(),
		accountConnect(),
		accountToken(),
		policyReference(),
		policyPrecedence(),
		policyHygiene(),
		reservedLabel(),
		defaultBinding(),
		guardChange(),
	}
}

// Authorizer answers needs; it is *rbac.Authorizer.
type Authorizer interface {
	Evaluate(ctx context.Context, s identity.Subject, n rbac.Need) (rbac.Outcome, error)
}

// judge runs the checks and asks RBAC for what they found. All checks run even after a refusal, so that the answer tells
// the user everything at once.
func judge(ctx context.Context, checks []Check, f *Facts, authorizer Authorizer) ([]Judged, error) {
	var out []Judged
	for _, c := range checks {
		findings, err := c.Run(f)
		if err != nil {
			return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("check %s: %w", c.ID, err)}
		}
		out = append(out, judgeFindings(ctx, c.ID, findings, f.Subject, authorizer)...)
	}
	return out, nil
}

// maxRefused is how many findings of one check and mode are refused before the rest of them is not asked for: the answer is no
// already, and a request that is nothing but hostile must not keep the API server busy with SubjectAccessReviews. A finding
// that lacks many permissions counts as many.
const maxRefused = 8

func judgeFindings(ctx context.Context, check string, findings []Finding, s identity.Subject, authorizer Authorizer) []Judged {
	if len(findings) == 0 {
		return nil // most checks of most requests
	}
	out := make([]Judged, 0, min(len(findings), 1024))
	refused, left := make(map[v1alpha1.Mode]int), make(map[v1alpha1.Mode]int)
	for _, found := range findings {
		j := Judged{Finding: found, Check: check}
		if found.Need != nil {
			if refused[found.Mode] >= maxRefused {
				left[found.Mode]++
				continue
			}
			j.Outcome, j.Err = authorizer.Evaluate(ctx, s, *found.Need)
			if j.violated() {
				refused[found.Mode] += max(1, len(j.Outcome.Missing)/maxMissing)
			}
		}
		out = append(out, j)
	}
	for _, mode := range slices.Sorted(maps.Keys(left)) {
		out = append(out, Judged{Check: check, unasked: true, Finding: Finding{
			Mode: mode, Attempt: fmt.Sprintf("do %d things more that this request asks for", left[mode]),
			Rule: "whether you hold the permissions for them was not asked any more",
		}})
	}
	return out
}
