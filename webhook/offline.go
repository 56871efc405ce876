package webhook

import (
	"context"
	"errors"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/rbac"
)

// Offline judges requests that no API server has sent: manifests before they are applied, objects that are there already. Facts,
// mutations, checks and decision are the Handler's own; there is no transport, no record and no metric. It is safe for concurrent use.
type Offline struct{ handler *Handler }

// NewOffline returns an Offline with all mutations and checks. excludedNamespaces are never guarded, as in Options.
func NewOffline(world World, authorizer Authorizer, excludedNamespaces ...string) (*Offline, error) {
	if world == nil || authorizer == nil {
		return nil, errors.New("make offline webhook: World and Authorizer are required")
	}
	h := &Handler{world: world, authorizer: authorizer, excluded: map[string]bool{}, checks: Checks(), mutations: Mutations()}
	for _, ns := range excludedNamespaces {
		h.excluded[ns] = true
	}
	return &Offline{handler: h}, nil
}

// Review mutates and then judges, as the API server would have it done. r.Object is not changed. A request that cannot be judged is
// denied, with an Outcome of audit.Failed.
func (o *Offline) Review(ctx context.Context, r *Request) Decision {
	patch, err := o.handler.patch(ctx, r)
	if err != nil {
		return refuse(err)
	}
	mutated := *r
	if len(patch) > 0 {
		if mutated.Object, err = applyPatch(r.Object, patch); err != nil {
			return refuse(&failure{code: statusInternal, reason: ReasonInternal, err: err})
		}
	}
	_, d := o.handler.judge(ctx, &mutated)
	return d
}

func applyPatch(object, patch []byte) ([]byte, error) {
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("decode own patch: %w", err)
	}
	out, err := p.Apply(object)
	if err != nil {
		return nil, fmt.Errorf("apply own patch: %w", err)
	}
	return out, nil
}

// Violation is a finding that does not hold, in words.
type Violation struct {
	// Check is the ID of the check.
	Check string
	Mode  v1alpha1.Mode
	// Field is a path in the object; "" if the finding is about the whole.
	Field string
	// Message is the sentence that a denial has for it.
	Message string
	// Attempt completes "may not ...".
	Attempt string
	// Rule is why no permission is enough; "" where one is.
	Rule string
	// Missing are the permissions that were answered "no" and would do; nil if Rule says why, or RBAC could not be asked.
	Missing []rbac.Question
	// Unmet is the formula of them in words.
	Unmet string
	// CanI are the `kubectl auth can-i` lines of the permissions that are missing.
	CanI []string
	// Unanswered says that RBAC could not be asked.
	Unanswered bool
	// Unasked says that this stands for further findings, whose permissions were not asked for any more.
	Unasked bool
}

// Violations returns the findings that do not hold, of every mode, in the order of the checks.
func (d *Decision) Violations() []Violation {
	var out []Violation
	for i := range d.Judged {
		j := &d.Judged[i]
		if !j.violated() || j.Mode.Normalize() == v1alpha1.ModeOff {
			continue
		}
		v := Violation{
			Check: j.Check, Mode: j.Mode.Normalize(), Message: j.sentence(), Unanswered: j.Err != nil,
			Attempt: j.Attempt, Rule: j.Rule, Missing: j.Outcome.Missing, Unasked: j.unasked, Unmet: j.Outcome.Unmet.String(),
		}
		if j.Field != nil {
			v.Field = j.Field.String()
		}
		for _, q := range j.Outcome.Missing {
			v.CanI = append(v.CanI, q.CanI())
		}
		out = append(out, v)
	}
	return out
}

// Denied reports that the request is refused.
func (d *Decision) Denied() bool { return d.Verdict != decision.Allow }
