package review

import (
	"slices"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/identity"
)

// failedOpenPrefix begins the annotation that the API server writes for a webhook that it could not call and whose
// failurePolicy is Ignore; its value is the webhook's name (k8s.io/apiserver/pkg/admission/plugin/webhook).
const failedOpenPrefix = "failed-open."

// addBypasses looks for ways around saguard. d is nil where there is no decision; relabelled says that the body changes labels
// of an account.
func (b *Builder) addBypasses(r *Request, d *decided, e *auditv1.Event, relabelled bool) {
	if d != nil {
		if r.Object.Group == "projectcalico.org" {
			b.decided[relayedOf(r)] = true
		}
		r = &d.Request
	}
	if !b.options.Filter.picks(r) || len(b.options.Filter.Accounts) > 0 && !b.namesAccount(r, d) {
		return
	}
	add := func(kind BypassKind, certain bool, why string) {
		b.row("bypasses", len(b.out.Bypasses), func() {
			b.out.Bypasses = append(b.out.Bypasses, Bypass{Request: *r, Kind: kind, Certain: certain, Why: why})
		})
	}
	if !r.Succeeded() {
		return
	}
	if webhook := failedOpen(e.Annotations); webhook != "" {
		// A mutation that was missed is no decision that was missed: what it would have refused, a check refuses.
		add(FailedOpen, isValidating(webhook), "the webhook "+webhook+" could not be called, and its failurePolicy is Ignore")
	}
	if isTampering(r) {
		add(Tampering, true, "saguard's own configuration was changed")
	}
	if r.Impersonator != "" && (isWrite(r.Verb) || r.Object.Subresource != "") {
		add(Impersonation, true, r.Impersonator+" acted as "+r.User)
	}
	if d != nil && len(d.exempt) > 0 {
		add(Exempted, true, "the user is exempt from "+strings.Join(d.exempt, ", "))
	}
	switch {
	case identity.IsControllerManager(r.User), strings.HasPrefix(r.User, "system:node:"):
	case r.Object.Resource == "serviceaccounts" && r.Object.Subresource == "token" && r.Verb == "create":
		add(TokenMinted, true, "a token of "+r.Object.Namespace+"/"+r.Object.Name+" was issued")
	case r.Object.Resource == "secrets" && r.Object.Group == "" && (d != nil || isTokenSecret(e)):
		// saguard is asked of no other Secrets, so its decision tells this at every level.
		add(TokenMinted, true, "a Secret for a token of a service account was written")
	case r.Object.Resource == "pods" && isConnection(r.Object.Subresource):
		add(Connected, true, r.Object.Subresource+" to pod "+r.Object.Namespace+"/"+r.Object.Name)
	}
	if d != nil {
		return
	}
	if why := b.wantsDecision(r, relabelled); why != "" {
		certain := r.Object.Group != "projectcalico.org"
		if !certain {
			why += "; an aggregated API server may have it in its own log"
		}
		key := relayedOf(r)
		b.pending[key] = append(b.pending[key], Bypass{Request: *r, Kind: NoDecision, Certain: certain, Why: why})
	} else if r.Object.Resource == "serviceaccounts" && r.Object.Subresource == "" && (r.Verb == "update" || r.Verb == "patch") && e.RequestObject == nil {
		b.updates++
	}
}

// failedOpen returns the webhook of saguard's that could not be called, a validating one before the others; "" if there is none.
func failedOpen(annotations map[string]string) string {
	worst := ""
	for key, webhook := range annotations {
		if !strings.HasPrefix(key, failedOpenPrefix) || !strings.HasSuffix(webhook, ".saguard.io") {
			continue
		}
		if worst == "" || isValidating(webhook) && !isValidating(worst) || isValidating(webhook) == isValidating(worst) && webhook < worst {
			worst = webhook
		}
	}
	return worst
}

func isValidating(webhook string) bool { return strings.HasSuffix(webhook, ".validate.saguard.io") }

func (b *Builder) namesAccount(r *Request, d *decided) bool {
	if d != nil {
		return b.aboutAccount(d)
	}
	return r.Object.Resource == "serviceaccounts" && b.options.Filter.account(r.Object.Namespace, r.Object.Name)
}

// wantsDecision says why a request that was carried out should have a decision; "" if it need not. It follows the chart's
// webhook configuration; updates, of which the webhooks see only some by matchConditions, are wanted only where the body shows
// what was changed.
func (b *Builder) wantsDecision(r *Request, relabelled bool) string {
	if r.Object.Namespace != "" && slices.Contains(b.options.Unguarded, r.Object.Namespace) {
		return ""
	}
	const missing = ", and saguard's decision is not in the log"
	o := r.Object
	switch {
	case o.Resource == "serviceaccounts" && o.Subresource == "" && relabelled:
		return "labels of a service account were changed" + missing
	case o.Resource == "serviceaccounts" && o.Subresource == "" && (r.Verb == "create" || r.Verb == "delete" && !identity.DeletesForNamespaces(r.User)):
		return "a service account was written" + missing
	case o.Resource == "serviceaccounts" && o.Subresource == "token" && r.Verb == "create" &&
		!identity.IsControllerManager(r.User) && !strings.HasPrefix(r.User, "system:node:"):
		return "a token was issued" + missing
	case o.Resource == "pods" && isConnection(o.Subresource):
		return "somebody connected to a pod" + missing
	case r.Verb == "create" && o.Subresource == "" && runsPods(o) && !identity.IsTemplateController(r.User):
		return "somebody ran a workload" + missing
	case isPolicy(o) && o.Group != "networking.k8s.io" && o.Resource != "tiers" && r.Verb == "create":
		return "a policy was written" + missing
	}
	return ""
}

// settleBypasses lists the writes that no decision was found for, after the first one that saguard is known to have decided.
func (b *Builder) settleBypasses() {
	before := 0
	for key, rows := range b.pending {
		if b.decided[key] {
			continue
		}
		for _, row := range rows {
			if !b.firstDecision.IsZero() && row.Time.Before(b.firstDecision) {
				before++
				continue
			}
			row.Certain = row.Certain && !b.firstDecision.IsZero()
			b.row("bypasses", len(b.out.Bypasses), func() { b.out.Bypasses = append(b.out.Bypasses, row) })
		}
	}
	b.pending = map[relayed][]Bypass{}
	if before > 0 {
		b.note("%d guarded writes before %s, the first decision in the log, are not listed as bypasses", before, b.firstDecision.Format("2006-01-02T15:04:05Z"))
	}
	if b.firstDecision.IsZero() {
		b.note("no decision of saguard's is in this log: it was not installed, or the log's policy leaves out what it decides on")
	}
}

func isConnection(subresource string) bool {
	switch subresource {
	case "exec", "attach", "portforward", "ephemeralcontainers":
		return true
	}
	return false
}

func isTampering(r *Request) bool {
	if !isWrite(r.Verb) || r.Object.Subresource != "" {
		return false
	}
	switch r.Object.Group {
	case "saguard.io":
		return true
	case "admissionregistration.k8s.io":
		return r.Verb == "deletecollection" || strings.Contains(r.Object.Name, "saguard")
	}
	return false
}

func isTokenSecret(e *auditv1.Event) bool {
	// The reader leaves of a Secret's body only what says whose token it is to hold, and nothing of other Secrets.
	return isWrite(e.Verb) && e.RequestObject != nil && strings.Contains(string(e.RequestObject.Raw), "service-account-token")
}

func runsPods(o audit.Object) bool {
	switch o.Resource {
	case "pods", "podtemplates", "replicationcontrollers":
		return o.Group == ""
	case "deployments", "statefulsets", "daemonsets", "replicasets":
		return o.Group == "apps"
	case "jobs", "cronjobs":
		return o.Group == "batch"
	}
	return false
}
