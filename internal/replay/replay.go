// Package replay judges what a log tells under guards that are only proposed: which requests they would refuse, which they would let pass,
// and of which the log does not tell enough. It is pure, and never guesses: what is not proven is not judged.
package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// Why a request could not be judged. There are few of them, because they are counted.
const (
	WhyNoBody      = "neither a body (level Request) nor enough annotations of saguard's are in the log"
	WhyNoBefore    = "what was there before is not in the log, and it depends on that"
	WhyLabels      = "which other labels were changed, and from what, is not in the log"
	WhyNamespace   = "the labels of the namespace are not known"
	WhyCollection  = "which objects were deleted is not in the log"
	WhyConnection  = "as which account the pod ran is not in the log"
	WhyUnreadable  = "the body could not be read"
	WhyNotAnswered = "RBAC could not be asked"
)

// Judge judges requests under the guards of a world.
type Judge struct {
	world    webhook.World
	offline  *webhook.Offline
	allowed  func(identity.Subject, rbac.Question) bool
	excluded map[string]bool
}

// New returns a judge of the world's guards, of which the excluded namespaces are never guarded. index is the RBAC that counts.
func New(world webhook.World, index *rbac.Index, excluded ...string) (*Judge, error) {
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: func() *rbac.Index { return index }})
	if err != nil {
		return nil, err
	}
	offline, err := webhook.NewOffline(world, authorizer, excluded...)
	if err != nil {
		return nil, err
	}
	j := &Judge{world: world, offline: offline, excluded: map[string]bool{}, allowed: func(s identity.Subject, q rbac.Question) bool {
		_, ok := index.Authorize(s, q)
		return ok
	}}
	for _, ns := range excluded {
		j.excluded[ns] = true
	}
	return j, nil
}

// Judge judges one request.
func (j *Judge) Judge(ctx context.Context, w *review.Write) review.Proposed {
	subject := identity.Subject{User: w.User, Groups: w.Groups}
	guards, known := j.effective(ctx, w, subject)
	switch {
	case !known:
		return notJudged(WhyNamespace)
	case len(guards.Guards()) == 0 && w.Object.Group != v1alpha1.GroupName:
		return review.Proposed{Verdict: review.WouldAllow}
	case w.Verb == "deletecollection":
		return notJudged(WhyCollection)
	case w.Object.Subresource != "":
		return j.bySubresource(w, guards)
	case w.Object.Group == "" && w.Object.Resource == "serviceaccounts" && w.Before == nil && (w.Verb != "create" || w.Body == nil):
		return j.labels(ctx, w, guards)
	case w.Verb == "create" && w.Body != nil:
		return j.review(ctx, w, admissionv1.Create, w.Body, nil)
	case (w.Verb == "update" || w.Verb == "patch") && w.Body != nil && w.Before != nil:
		return j.review(ctx, w, admissionv1.Update, w.Body, w.Before)
	case w.Verb == "delete" && w.Before != nil:
		return j.review(ctx, w, admissionv1.Delete, nil, w.Before)
	case w.Verb == "delete" && !isPolicy(w):
		return review.Proposed{Verdict: review.WouldAllow} // of what is deleted only accounts and policies are judged
	case (w.Verb == "update" || w.Verb == "patch") && w.Body != nil && !isPolicy(w):
		// As if all of it were new: more than that no check can find.
		if p := j.review(ctx, w, admissionv1.Create, w.Body, nil); p.Verdict == review.WouldAllow {
			return p
		}
		return notJudged(WhyNoBefore)
	}
	if p := j.byAnnotations(w, guards); p.Verdict != review.NotJudged || w.Body == nil {
		return p
	}
	return notJudged(WhyNoBefore)
}

func notJudged(why string) review.Proposed { return review.Proposed{Why: []string{why}} }

func isPolicy(w *review.Write) bool { return strings.HasSuffix(w.Object.Resource, "networkpolicies") }

// effective is what holds where the object is; false where that is not known.
func (j *Judge) effective(ctx context.Context, w *review.Write, s identity.Subject) (guard.Effective, bool) {
	namespace, set := w.Object.Namespace, j.world.Guards()
	switch {
	case w.Object.Resource == "namespaces" && j.excluded[w.Object.Name], j.excluded[namespace]:
		return guard.Effective{}, true
	case namespace == "" || w.Object.Resource == "namespaces":
		return set.ForCluster(s), true
	case !set.NeedsNamespaceLabels():
		return set.ForNamespace(namespace, nil, s), true
	}
	ns, ok := j.world.Namespace(ctx, namespace, false).Get()
	if !ok {
		return guard.Effective{}, false
	}
	return set.ForNamespace(namespace, ns.Labels, s), true
}

// review runs the webhook's mutations and checks.
func (j *Judge) review(ctx context.Context, w *review.Write, op admissionv1.Operation, object, old json.RawMessage) review.Proposed {
	body := object
	if body == nil {
		body = old
	}
	var shape struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return notJudged(WhyUnreadable)
	}
	r := &webhook.Request{
		UID: w.AuditID, Operation: op, Kind: shape.Kind, Namespace: w.Object.Namespace, Name: w.Object.Name, DryRun: w.DryRun,
		Resource: schema.GroupVersionResource{Group: w.Object.Group, Version: w.APIVersion, Resource: w.Object.Resource},
		Subject:  identity.Subject{User: w.User, Groups: w.Groups}, Object: object, OldObject: old,
	}
	d := j.offline.Review(ctx, r)
	var why []string
	unanswered := false
	for _, v := range d.Violations() {
		unanswered = unanswered || v.Unanswered
		if v.Mode == v1alpha1.ModeEnforce {
			why = append(why, v.Check+": "+v.Message)
		}
	}
	switch {
	case d.Reason == webhook.ReasonNamespaceUnknown:
		return notJudged(WhyNamespace)
	case d.Reason == webhook.ReasonMalformed:
		return notJudged(WhyUnreadable)
	case unanswered || d.Denied() && len(why) == 0:
		return notJudged(WhyNotAnswered)
	case d.Denied():
		return review.Proposed{Verdict: review.WouldDeny, Why: why}
	default:
		return review.Proposed{Verdict: review.WouldAllow}
	}
}

// labels judges a change of an account of which the log does not prove what was there before: of a label that saguard's annotations name, they
// do. A refusal of those is certain; that nothing else was refused is only where a patch names no other guarded label.
func (j *Judge) labels(ctx context.Context, w *review.Write, guards guard.Effective) review.Proposed {
	object := func(value func(audit.Change) *string) json.RawMessage {
		labels := map[string]string{}
		for key, c := range w.Labels {
			if v := value(c); v != nil {
				labels[key] = *v
			}
		}
		raw, err := json.Marshal(map[string]any{"kind": "ServiceAccount", "apiVersion": "v1", "metadata": map[string]any{"name": w.Object.Name, "namespace": w.Object.Namespace, "labels": labels}})
		if err != nil {
			return nil
		}
		return raw
	}
	if len(w.Labels) > 0 {
		op, now := admissionv1.Update, object(func(c audit.Change) *string { return c.New })
		if w.Verb == "delete" {
			op, now = admissionv1.Delete, nil
		}
		p := j.review(ctx, w, op, now, object(func(c audit.Change) *string { return c.Old }))
		if p.Verdict != review.WouldAllow {
			return p
		}
	}
	if w.Verb != "patch" || w.Touched == nil {
		return notJudged(WhyLabels)
	}
	for key := range w.Touched {
		if _, told := w.Labels[key]; !told && guards.LabelMode(key) != v1alpha1.ModeOff {
			return notJudged(WhyLabels)
		}
	}
	return review.Proposed{Verdict: review.WouldAllow}
}

// bySubresource judges tokens and connections by what saguard asked then: whose account it was about.
func (j *Judge) bySubresource(w *review.Write, guards guard.Effective) review.Proposed {
	o := w.Object
	mode, check := v1alpha1.ModeOff, ""
	switch {
	case o.Resource == "serviceaccounts" && o.Subresource == "token":
		if identity.IsControllerManager(w.User) || strings.HasPrefix(w.User, "system:node:") {
			return review.Proposed{Verdict: review.WouldAllow} // a kubelet's token for a pod of another node is refused by the API server already
		}
		mode, check = guards.Tokens(), webhook.CheckAccountToken
		if mode == v1alpha1.ModeEnforce {
			return j.all([]rbac.Question{rbac.UseAccount(o.Namespace, o.Name)}, w, check)
		}
	case o.Resource == "pods" && slices.Contains(webhook.JudgedPodSubresources(), o.Subresource):
		mode, check = guards.Connect(), webhook.CheckAccountConnect
	}
	if mode != v1alpha1.ModeEnforce {
		return review.Proposed{Verdict: review.WouldAllow}
	}
	questions := accountsAsked(w)
	if !w.Decided || len(questions) == 0 {
		return notJudged(WhyConnection)
	}
	return j.all(questions, w, check)
}

// byAnnotations judges by what saguard asked then. That it would be refused is certain where a check found something; that it would not is only
// where every check that the proposed guards turn on is one that always finds something.
func (j *Judge) byAnnotations(w *review.Write, guards guard.Effective) review.Proposed {
	if !w.Decided {
		return notJudged(WhyNoBody)
	}
	questions := accountsAsked(w)
	if guards.Workloads() == v1alpha1.ModeEnforce && asked(w, webhook.CheckAccountUse) && len(questions) > 0 {
		if p := j.all(questions, w, webhook.CheckAccountUse); p.Verdict == review.WouldDeny {
			return p
		}
	}
	for _, c := range w.Checks {
		// What is no permission, such as a selector that does not parse, no RBAC changes.
		if c.Reason == "refused" && modeOf(guards, c.ID) == v1alpha1.ModeEnforce {
			return review.Proposed{Verdict: review.WouldDeny, Why: []string{c.ID + ": refused then, by a rule that no permission lifts"}}
		}
	}
	if !runsPods(w) || guards.Hygiene() != v1alpha1.ModeOff || len(guards.Templates()) > 0 ||
		guards.Workloads() != v1alpha1.ModeOff && !asked(w, webhook.CheckAccountUse) {
		return notJudged(WhyNoBody)
	}
	return review.Proposed{Verdict: review.WouldAllow}
}

// runsPods reports a built-in workload.
func runsPods(w *review.Write) bool {
	return slices.ContainsFunc(webhook.BuiltinTemplates(), func(b webhook.BuiltinTemplate) bool {
		return b.Group == w.Object.Group && b.Resource == w.Object.Resource
	})
}

func modeOf(e guard.Effective, check string) v1alpha1.Mode {
	switch check {
	case webhook.CheckPolicyHygiene, webhook.CheckReservedLabel:
		return e.Hygiene()
	case webhook.CheckAccountUse:
		return e.Workloads()
	default:
		return v1alpha1.ModeOff
	}
}

func asked(w *review.Write, check string) bool {
	return slices.ContainsFunc(w.Checks, func(c audit.Check) bool { return c.ID == check })
}

// accountsAsked are the accounts whose use was asked for.
func accountsAsked(w *review.Write) []rbac.Question {
	found := map[string]rbac.Question{}
	for _, t := range w.Tuples {
		if t.Verb == rbac.VerbUse && t.Group == "" && t.Resource == rbac.ResourceServiceAccounts {
			found[t.Name] = rbac.UseAccount(t.Namespace, t.Name)
		}
	}
	out := slices.Collect(maps.Values(found))
	slices.SortFunc(out, func(a, b rbac.Question) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// all reports whether the user holds every permission.
func (j *Judge) all(questions []rbac.Question, w *review.Write, check string) review.Proposed {
	out := review.Proposed{Verdict: review.WouldAllow}
	for _, q := range questions {
		if !j.allowed(identity.Subject{User: w.User, Groups: w.Groups}, q) {
			out.Verdict = review.WouldDeny
			out.Why = append(out.Why, check+": that takes "+q.String()+"; check: "+q.CanI())
		}
	}
	return out
}
