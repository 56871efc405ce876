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
	Schema    string    `json:"schema"`
	Time      time.Time `json:"time"`
	Component string    `json:"component"`
	Decision  Outcome   `json:"decision"`
	// Reason is a stable code: "granted", "not-guarded", "forbidden", "not-synced", ...
	Reason string `json:"reason"`
	// Mode is the strictest mode of the findings: Enforce, Warn, Audit, or "" without findings.
	Mode   string  `json:"mode,omitempty"`
	Checks []Check `json:"checks,omitempty"`

	User      string   `json:"user,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Operation string   `json:"operation,omitempty"`
	Object    Object   `json:"object,omitzero"`
	// LabelDiff holds the guarded labels that change, by key.
	LabelDiff map[string]Change `json:"labelDiff,omitempty"`
	// ExemptFrom names the guards that hold there but exempt the user.
	ExemptFrom []string `json:"exemptFrom,omitempty"`
	// Flow is the packet that was judged, in the agent's records.
	Flow *Flow `json:"flow,omitempty"`

	UID            string `json:"uid,omitempty"`
	DryRun         bool   `json:"dryRun,omitempty"`
	Revision       uint64 `json:"revision"`
	DurationMicros int64  `json:"durationMicros"`
	// Error is the failure behind an outcome of Error; for logs, not for users.
	Error string `json:"error,omitempty"`
}

// Check is what one check found.
type Check struct {
	ID string `json:"id"`
	// Reason is "granted", "missing", "refused" or "error".
	Reason string  `json:"reason"`
	Mode   string  `json:"mode,omitempty"`
	Field  string  `json:"field,omitempty"`
	Tuples []Tuple `json:"tuples,omitempty"`
}

// Tuple is one permission that was asked for, and the answer.
type Tuple struct {
	Verb      string `json:"verb"`
	Resource  string `json:"resource"`
	Group     string `json:"group,omitempty"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Allowed   bool   `json:"allowed"`
	GrantedBy string `json:"grantedBy,omitempty"`
	// Unanswered says that nobody could be asked; Allowed is false then.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Object names what the request is about.
type Object struct {
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
}

// Change is the value of a label before and after; nil where the label is absent.
type Change struct {
	Old *string `json:"old"`
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
