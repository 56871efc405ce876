package extauthz

import (
	"strconv"
	"strings"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/decision"
)

// Component is this part's name in decision records.
const Component = "authz"

// maxField bounds what a client wrote and a record repeats, in bytes.
const maxField = 256

// IDs of the checks in a record: the two factors, what was asked for, and the policy.
const (
	checkNetwork       = "network-identity"
	checkCryptographic = "cryptographic-identity"
	checkHTTP          = "http"
	checkPolicy        = "policy"
)

// record says who asked for what and what decided. User is the account that owns the source address, Object the server's
// pod; the field of each check is what it looked at.
func record(q *question, a *answer, started time.Time, took time.Duration) *audit.Record {
	rec := &audit.Record{
		Schema: audit.Schema, Time: started, Component: Component, Decision: a.outcome, Reason: string(a.Reason),
		Operation: "check", UID: cut(q.id), Revision: a.revision, DurationMicros: took.Microseconds(),
	}
	if a.err != nil {
		rec.Error = a.err.Error()
	}
	if w := a.Server; w != nil {
		rec.Object = audit.Object{Resource: "pods", Namespace: w.Namespace, Name: w.Name}
	}
	network, crypto := audit.Check{ID: checkNetwork, Reason: "missing", Field: cut(q.request.Source.Address)},
		audit.Check{ID: checkCryptographic, Reason: "missing", Field: cut(q.request.Source.Principal)}
	if w := a.Client; w != nil {
		network.Reason, network.Field = "granted", network.Field+" "+w.Namespace+"/"+w.Name
		if !w.Account.IsZero() {
			rec.User = w.Account.Username()
		}
	}
	if !a.Certified.IsZero() {
		crypto.Reason = "granted"
	}
	if a.Reason == authz.ReasonMismatch {
		network.Reason, crypto.Reason = "refused", "refused"
	}
	rec.Checks = append(rec.Checks, network, crypto)
	if h := q.request.HTTP; h != nil {
		path, _, _ := strings.Cut(h.Path, "?") // queries carry secrets
		rec.Checks = append(rec.Checks, audit.Check{ID: checkHTTP, Reason: result(a), Field: cut(h.Method + " " + path)})
	}
	if a.Tier != "" {
		rec.Checks = append(rec.Checks, audit.Check{ID: checkPolicy, Reason: result(a), Field: a.Tier + " " + a.Policy.Path() + " " + rule(a)})
	}
	return rec
}

// rule names the deciding rule as its field in the object.
func rule(a *answer) string {
	if a.Rule < 0 {
		return "end-of-tier"
	}
	return "spec.ingress[" + strconv.Itoa(a.Rule) + "]"
}

func result(a *answer) string {
	switch {
	case a.err != nil:
		return "error"
	case a.Verdict == decision.Allow:
		return "granted"
	default:
		return "refused"
	}
}

// cut bounds a text, and makes it valid UTF-8.
func cut(s string) string {
	if len(s) > maxField {
		s = s[:maxField]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
