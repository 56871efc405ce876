// Package audit holds the one schema in which saguard says what it decided and why: as a JSON line of its own log, and as
// audit annotations of the API server, from which a Metadata-level audit log can be reviewed and replayed.
package audit

import (
	"errors"
	"time"
)

// Schema names the version of Record and of the annotations. It changes only when a field changes its meaning.
const Schema = "saguard.io/decision/v1"

// Outcome is what was decided. The zero value is no outcome, and a record without one cannot be written.
type Outcome string

const (
	// Allowed let the request pass; findings of modes Warn and Audit may stand beside it.
	Allowed Outcome = "Allow"
	// Denied refused it for want of a permission or for what it asks.
	Denied Outcome = "Deny"
	// Failed refused it because no decision could be made (fails closed).
	Failed Outcome = "Error"
)

// ErrNoOutcome says that a record lacks its outcome.
var ErrNoOutcome = errors.New("record has no outcome")

// Record is one decision.
type Record struct {
	// Schema is saguard.io/decision/v1.
	Schema string `json:"schema"`
	// Time is when the decision began.
	Time time.Time `json:"time"`
	// Component is who decided: "webhook", "agent" (packets) or "authz" (identity check).
	Component string `json:"component"`
	// Decision is "Allow", "Deny", or "Error" for a refusal because no decision could be made.
	Decision Outcome `json:"decision"`
	// Reason is a stable code: "granted", "not-guarded", "forbidden", "not-synced", ...
	Reason string `json:"reason"`
	// Mode is the strictest mode of the findings: Enforce, Warn, Audit, or "" without findings.
	Mode string `json:"mode,omitempty"`
	// Checks are what was found, one entry for each thing that the request asks for.
	Checks []Check `json:"checks,omitempty"`

	// User is who asks: the user of the request, impersonated or not; for packets and the identity check the account that owns the
	// source address.
	User string `json:"user,omitempty"`
	// Groups are those of the user of a request.
	Groups []string `json:"groups,omitempty"`
	// Operation is CREATE, UPDATE, DELETE or CONNECT of a request, "check" of the identity check.
	Operation string `json:"operation,omitempty"`
	// Object is what is written, or the pod that is reached.
	Object Object `json:"object,omitzero"`
	// LabelDiff holds the guarded labels that change, by key.
	LabelDiff map[string]Change `json:"labelDiff,omitempty"`
	// ExemptFrom names the guards that hold there but exempt the user.
	ExemptFrom []string `json:"exemptFrom,omitempty"`
	// Flow is the packet that was judged, in the agent's records.
	Flow *Flow `json:"flow,omitempty"`

	// UID is that of the AdmissionReview, or the id that a proxy gave.
	UID string `json:"uid,omitempty"`
	// DryRun says that the request is to change nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Revision counts the changes that the decider's memory had seen; it begins anew with each process.
	Revision uint64 `json:"revision"`
	// DurationMicros is the time from the decoded request to the decision, in microseconds.
	DurationMicros int64 `json:"durationMicros"`
	// Error is the failure behind an outcome of Error; for logs, not for users.
	Error string `json:"error,omitempty"`
	// More is how many decisions like this one followed within a minute and have no record of their own: of the identity check,
	// with the same decision, reason, user and account of the server.
	More uint64 `json:"more,omitempty"`
}

// Check is what one check found.
type Check struct {
	// ID is stable: that of an admission check, or "policy", "http", "network-identity", "cryptographic-identity".
	ID string `json:"id"`
	// Reason is "granted", "missing", "refused" or "error".
	Reason string `json:"reason"`
	// Mode is that of the finding.
	Mode string `json:"mode,omitempty"`
	// Field is a path in the object; for packets and the identity check, what was looked at.
	Field string `json:"field,omitempty"`
	// Tuples are the permissions that were asked for.
	Tuples []Tuple `json:"tuples,omitempty"`
}

// Tuple is one permission that was asked for, and the answer.
type Tuple struct {
	// Verb is "use" or "bind".
	Verb string `json:"verb"`
	// Resource is "serviceaccounts", "serviceaccounts/labels" or "policybands".
	Resource string `json:"resource"`
	// Group is the API group of the resource; absent for the core group.
	Group string `json:"group,omitempty"`
	// Name is the account, KEY=VALUE or the band; absent where only a rule without resourceNames answers.
	Name string `json:"name,omitempty"`
	// Namespace is where it was asked for; absent for cluster-wide.
	Namespace string `json:"namespace,omitempty"`
	// Allowed is the answer.
	Allowed bool `json:"allowed"`
	// GrantedBy names the binding, its role and the rule, or who else allowed.
	GrantedBy string `json:"grantedBy,omitempty"`
	// Unanswered says that nobody could be asked; Allowed is false then.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Object names what the request is about.
type Object struct {
	// Group is the API group; absent for the core group.
	Group string `json:"group,omitempty"`
	// Resource is the plural, such as "serviceaccounts".
	Resource string `json:"resource,omitempty"`
	// Subresource is such as "exec" or "token".
	Subresource string `json:"subresource,omitempty"`
	// Namespace is absent for cluster-scoped objects.
	Namespace string `json:"namespace,omitempty"`
	// Name is absent while the API server has not made it (generateName).
	Name string `json:"name,omitempty"`
}

// Change is the value of a label before and after; nil where the label is absent.
type Change struct {
	// Old is the value before.
	Old *string `json:"old"`
	// New is the value after.
	New *string `json:"new"`
}

// Validate refuses a record that does not say what was decided.
func (r *Record) Validate() error {
	switch r.Decision {
	case Allowed, Denied, Failed:
		return nil
	default:
		return ErrNoOutcome
	}
}
