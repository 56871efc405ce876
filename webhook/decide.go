package webhook

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/rbac"
)

// The stable reasons of a decision, as they stand in records, annotations and metrics.
const (
	ReasonGranted          = "granted"
	ReasonNotGuarded       = "not-guarded"
	ReasonExempt           = "exempt"
	ReasonForbidden        = "forbidden"
	ReasonTolerated        = "tolerated" // findings of modes Warn and Audit only
	ReasonNotSynced        = "not-synced"
	ReasonNamespaceUnknown = "namespace-unknown"
	ReasonPodUnknown       = "pod-unknown"
	ReasonMalformed        = "malformed"
	ReasonTooLarge         = "too-large"
	ReasonUnauthorizable   = "authorizer-error"
	ReasonPanic            = "panic"
	ReasonInternal         = "internal"
)

// Decision is the answer to a request. The zero Decision denies.
type Decision struct {
	Verdict decision.Verdict
	Outcome audit.Outcome
	Reason  string
	// Mode is the strictest mode of all findings.
	Mode   v1alpha1.Mode
	Judged []Judged
	// Code, Message and Causes are for a denial; Message is written for the person denied.
	Code    int32
	Message string
	Causes  []metav1.StatusCause
	// Warnings are at most maxWarning characters each.
	Warnings []string
	// Err is for the record, not for the user.
	Err error
}

// decide folds the answers to all findings. It is pure; any finding of mode Enforce that does not hold denies.
func decide(f *Facts, judged []Judged) Decision {
	d := Decision{Verdict: decision.Allow, Outcome: audit.Allowed, Reason: ReasonGranted, Judged: judged}
	if len(judged) == 0 {
		d.Reason = ReasonNotGuarded
		if len(f.Guards.ExemptFrom) > 0 {
			d.Reason = ReasonExempt
		}
		return d
	}
	var sentences []string
	for i := range judged {
		j := &judged[i]
		d.Mode = v1alpha1.Strictest(d.Mode, j.Mode)
		if !j.violated() {
			continue
		}
		switch j.Mode.Normalize() {
		case v1alpha1.ModeEnforce:
			d.deny(j)
			sentences = append(sentences, j.sentence())
		case v1alpha1.ModeWarn:
			d.tolerate()
			d.Warnings = append(d.Warnings, j.warnings()...)
		default:
			d.tolerate()
		}
	}
	if d.Verdict == decision.Deny {
		d.Message = strings.Join(sentences, "; ")
	}
	return d
}

// deny makes the decision a denial. A question that nobody could answer is an error unless something is refused for certain.
func (d *Decision) deny(j *Judged) {
	d.Verdict = decision.Deny
	d.Causes = append(d.Causes, j.cause())
	if j.Err == nil {
		d.Outcome, d.Reason, d.Code = audit.Denied, ReasonForbidden, statusForbidden
		return
	}
	d.Err = errors.Join(d.Err, j.Err)
	if d.Outcome != audit.Denied {
		d.Outcome, d.Reason, d.Code = audit.Failed, ReasonUnauthorizable, statusInternal
	}
}

func (d *Decision) tolerate() {
	if d.Verdict == decision.Allow {
		d.Reason = ReasonTolerated
	}
}

// refuse is the decision for a request that could not be judged.
func refuse(err error) Decision {
	d := Decision{Outcome: audit.Failed, Reason: ReasonInternal, Code: statusInternal, Err: err}
	if f, ok := errors.AsType[*failure](err); ok {
		d.Reason, d.Code = f.reason, f.code
	}
	switch d.Reason {
	case ReasonNotSynced, ReasonNamespaceUnknown, ReasonPodUnknown:
		d.Message = fmt.Sprintf("saguard cannot judge this yet (%s): try again in a few seconds", d.Reason)
	case ReasonMalformed, ReasonTooLarge:
		d.Message = fmt.Sprintf("saguard cannot read this request (%s): %v", d.Reason, err)
	default:
		d.Message = fmt.Sprintf("saguard could not judge this (%s), and what it cannot judge it refuses; the webhook's log says more", d.Reason)
	}
	return d
}

func (j *Judged) cause() metav1.StatusCause {
	c := metav1.StatusCause{Type: metav1.CauseTypeForbidden, Message: j.Check + ": " + j.sentence()}
	if j.Field != nil {
		c.Field = j.Field.String()
	}
	return c
}

// sentence says what was attempted, what it takes, and how to ask for exactly that.
func (j *Judged) sentence() string {
	switch {
	case j.Err != nil:
		return fmt.Sprintf("you may not %s: whether you hold the permission could not be found out, try again", j.Attempt)
	case j.Need == nil && j.Field != nil:
		return fmt.Sprintf("you may not %s (%s): %s", j.Attempt, j.Field, j.Rule)
	case j.Need == nil:
		return fmt.Sprintf("you may not %s: %s", j.Attempt, j.Rule)
	case len(j.Outcome.Missing) == 0:
		return fmt.Sprintf("you may not %s: no permission allows it", j.Attempt)
	}
	missing := j.Outcome.Missing
	if len(missing) == 1 {
		q := missing[0]
		return fmt.Sprintf("you may not %s: that takes %q on %s; check: %s", j.Attempt, q.Verb, describe(q), q.CanI())
	}
	lines := make([]string, 0, maxMissing)
	for _, q := range missing[:min(len(missing), maxMissing)] {
		lines = append(lines, q.CanI())
	}
	if more := len(missing) - len(lines); more > 0 {
		return fmt.Sprintf("you may not %s: that takes more than you hold; check: %s and %d more", j.Attempt, strings.Join(lines, " / "), more)
	}
	return fmt.Sprintf("you may not %s: that takes %s; check: %s", j.Attempt, j.Outcome.Unmet, strings.Join(lines, " / "))
}

// maxMissing is how many missing permissions of one finding are told one by one.
const maxMissing = 8

func describe(q rbac.Question) string {
	name := q.Name.String()
	if name == "" {
		name = "(any)"
	}
	where := "cluster-wide"
	if q.Namespace != "" {
		where = "in namespace " + q.Namespace
	}
	return q.CombinedResource() + " " + name + " " + where
}

// maxWarning is the length that the API documentation of AdmissionResponse.warnings asks for.
const maxWarning = 120

// warnings are the attempt and, where it fits, the line to ask with. The API server drops a warning with control
// characters, so they are replaced.
func (j *Judged) warnings() []string {
	first := j.Check + ": you may not " + j.Attempt
	if j.Err != nil {
		first = j.Check + ": could not find out whether you may " + j.Attempt
	}
	out := []string{clip(first)}
	for _, q := range j.Outcome.Missing[:min(len(j.Outcome.Missing), maxMissing)] {
		if line := "check: " + q.CanI(); len(line) <= maxWarning {
			out = append(out, clip(line))
		}
	}
	return out
}

func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > maxWarning {
		return string(runes[:maxWarning-3]) + "..."
	}
	return s
}
