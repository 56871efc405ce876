package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
)

// finding is what a program that gates on a review wants to know: the bypasses and the denials, one by one.
type finding struct {
	rule    string // "bypass/no-decision", "denied/label-use"
	failure bool   // else it is worth knowing
	title   string
	text    string
	request *review.Request
}

// rules explains every rule that findings may have, by ID.
func rules() map[string]string {
	out := map[string]string{
		"denied/other": "saguard refused a request.",
	}
	for kind, text := range map[review.BypassKind]string{
		review.FailedOpen:    "A webhook of saguard's could not be called and its failurePolicy is Ignore.",
		review.NoDecision:    "A guarded write was carried out, and no decision of saguard's is in the log.",
		review.Tampering:     "saguard's own configuration, or the admission chain around it, was changed.",
		review.Impersonation: "A guarded write was made in somebody else's name.",
		review.Exempted:      "A guard exempts the user who made a guarded write.",
		review.TokenMinted:   "A token of a service account was issued; whoever holds it is that account.",
		review.Unlogged:      "saguard recorded a decision that the audit log lacks.",
		review.Unrecorded:    "The audit log has a decision that saguard's own log lacks.",
		review.Connected:     "Somebody connected to a pod, and acts as its account from there.",
	} {
		out["bypass/"+string(kind)] = text
	}
	return out
}

// findings lists bypasses before denials, each in the order of the review.
func findings(r *review.Review) []finding {
	var out []finding
	for i := range r.Bypasses {
		b := &r.Bypasses[i]
		out = append(out, finding{
			rule: "bypass/" + string(b.Kind), failure: b.Certain && (b.Kind == review.FailedOpen || b.Kind == review.NoDecision),
			title: what(&b.Request), text: who(&b.Request) + ": " + b.Why, request: &b.Request,
		})
	}
	for i := range r.Denials {
		d := &r.Denials[i]
		checks := d.Checks
		if len(checks) == 0 {
			checks = []string{"other"}
		}
		for _, check := range checks {
			verb := "was denied"
			if !d.Enforced {
				verb = "would be denied"
			}
			text := who(&d.Request) + " " + verb + " by " + check
			if missing := permissions(d.Missing); missing != "" {
				text += " for want of " + missing
			}
			out = append(out, finding{rule: "denied/" + check, title: what(&d.Request), text: text, request: &d.Request})
		}
	}
	return out
}

// what names a request: "patch serviceaccounts prod/web".
func what(r *review.Request) string {
	resource := r.Object.Resource
	if r.Object.Subresource != "" {
		resource += "/" + r.Object.Subresource
	}
	return strings.TrimSpace(r.Verb + " " + resource + " " + strings.Trim(r.Object.Namespace+"/"+r.Object.Name, "/"))
}

func who(r *review.Request) string {
	if r.Impersonator != "" {
		return r.Impersonator + " as " + r.User
	}
	return r.User
}

func permissions(tuples []audit.Tuple) string {
	var out []string
	for _, t := range tuples {
		text := fmt.Sprintf("%q on %s", t.Verb, strings.TrimSpace(t.Resource+" "+t.Name))
		if t.Namespace != "" {
			text += " in namespace " + t.Namespace
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}
