package review

import (
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
)

// Schema names the version of [Review] as JSON.
const Schema = "saguard.io/review/v1"

// Review is what a log tells. Rows are sorted by time, position breaking ties.
type Review struct {
	Schema string `json:"schema"`
	// From and To are the times of the first and last entry that was looked at.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`

	Bypasses      []Bypass       `json:"bypasses"`
	Denials       []Denial       `json:"denials"`
	LabelChanges  []LabelChange  `json:"labelChanges"`
	AccountUses   []AccountUse   `json:"accountUses"`
	PolicyChanges []PolicyChange `json:"policyChanges"`

	// Decisions counts the requests that saguard decided, by outcome.
	Decisions map[audit.Outcome]int `json:"decisions"`
	// NotShown counts the rows beyond the limit, by view; nothing is left out without a number.
	NotShown map[string]int `json:"notShown,omitempty"`
	// Notes are sentences about what the log cannot tell.
	Notes []string       `json:"notes,omitempty"`
	Read  auditlog.Stats `json:"read"`
}

// Request is who asked for what, and what came of it.
type Request struct {
	Time    time.Time `json:"time"`
	AuditID string    `json:"auditID,omitempty"`
	// File and Line say where the log has it.
	File string `json:"file"`
	Line int    `json:"line"`
	// User is in whose name it was done: the impersonated user if there is one.
	User   string   `json:"user"`
	Groups []string `json:"groups,omitempty"`
	// Impersonator is who was authenticated, if that is somebody else.
	Impersonator string       `json:"impersonator,omitempty"`
	SourceIP     string       `json:"sourceIP,omitempty"`
	Verb         string       `json:"verb"`
	Object       audit.Object `json:"object"`
	DryRun       bool         `json:"dryRun,omitempty"`
	// Code is the HTTP status; 0 where it is not known.
	Code int32 `json:"code,omitempty"`
	// Decision is saguard's; "" if the log has none.
	Decision audit.Outcome `json:"decision,omitempty"`
}

// Succeeded reports whether the request was carried out and is there to stay.
func (r *Request) Succeeded() bool {
	return !r.DryRun && (r.Code >= 200 && r.Code < 300 || r.Code == 101 || r.Code == 0 && r.Decision == audit.Allowed)
}

// LabelChange is one label of one service account that a request changed or would have changed.
type LabelChange struct {
	Request
	Namespace string `json:"namespace"`
	Account   string `json:"account"`
	Key       string `json:"key"`
	// Old and New are the values; nil where the label is absent.
	Old *string `json:"old"`
	New *string `json:"new"`
	// OldUnknown says that the log does not prove what was there before.
	OldUnknown bool `json:"oldUnknown,omitempty"`
	// Applied says that the label is changed: the request was carried out.
	Applied bool `json:"applied"`
	// FromBody says that saguard did not decide, and the request's body tells; whether the key is guarded is not known then.
	FromBody bool `json:"fromBody,omitempty"`
}

// AccountUse sums up how one user took the identity of one service account.
type AccountUse struct {
	User      string `json:"user"`
	Namespace string `json:"namespace"`
	Account   string `json:"account"`
	// How is the resource it was done by: "pods", "deployments", "pods/exec", "serviceaccounts/token".
	How     string    `json:"how"`
	Allowed int       `json:"allowed"`
	Denied  int       `json:"denied"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// PolicyChange is a write to a policy, a network set, a tier, a guard or a band.
type PolicyChange struct {
	Request
	// Refers lists the accounts and labels that the policy refers to, as far as they were asked about: "prod/web",
	// "prod role=intern", "* role=*".
	Refers []string `json:"refers,omitempty"`
}

// Denial is a request that saguard refused, or would have refused in a mode stricter than Warn and Audit.
type Denial struct {
	Request
	// Enforced is false for findings of mode Warn and Audit, which refused nothing.
	Enforced bool   `json:"enforced"`
	Reason   string `json:"reason,omitempty"`
	// Checks are the IDs of the checks that found something.
	Checks []string `json:"checks,omitempty"`
	// Missing are the permissions that the user lacked.
	Missing []audit.Tuple `json:"missing,omitempty"`
}

// Bypass is a request that may have gone around saguard.
type Bypass struct {
	Request
	Kind BypassKind `json:"kind"`
	// Certain says that it did; otherwise the log allows no other conclusion than that it may have.
	Certain bool   `json:"certain"`
	Why     string `json:"why"`
}

// BypassKind is how a request went around saguard. The values are stable.
type BypassKind string

// The kinds of bypasses, the gravest first.
const (
	// FailedOpen: a webhook of saguard's could not be asked and its failurePolicy is Ignore.
	FailedOpen BypassKind = "failed-open"
	// NoDecision: a guarded write was carried out and no decision is in the log.
	NoDecision BypassKind = "no-decision"
	// Tampering: saguard's own configuration, or the chain of admission, was changed.
	Tampering BypassKind = "tampering"
	// Impersonation: a guarded write in somebody else's name.
	Impersonation BypassKind = "impersonation"
	// Exempted: saguard decided, and a guard exempts the user.
	Exempted BypassKind = "exempted"
	// TokenMinted: somebody holds an account's token, wherever it is used.
	TokenMinted BypassKind = "token-minted"
	// Connected: somebody had a shell or a port in a pod, and with it the pod's identity.
	Connected BypassKind = "connected"
	// Unlogged: saguard's own log has a decision that the audit log lacks.
	Unlogged BypassKind = "unlogged"
	// Unrecorded: the audit log has a decision that saguard's own log lacks.
	Unrecorded BypassKind = "unrecorded"
)

// BypassKinds returns all kinds, the gravest first.
func BypassKinds() []BypassKind {
	return []BypassKind{FailedOpen, NoDecision, Tampering, Impersonation, Exempted, TokenMinted, Connected, Unlogged, Unrecorded}
}
