package review

import (
	"net/url"
	"slices"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
)

// requestOf reads an event's own fields.
func requestOf(at auditlog.Position, e *auditv1.Event) Request {
	r := Request{
		Time: e.RequestReceivedTimestamp.UTC(), AuditID: string(e.AuditID), File: at.File, Line: at.Line,
		User: e.User.Username, Groups: e.User.Groups, Verb: e.Verb,
		Object: audit.Object{
			Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
			Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		},
	}
	if e.ImpersonatedUser != nil {
		r.Impersonator, r.User, r.Groups = r.User, e.ImpersonatedUser.Username, e.ImpersonatedUser.Groups
	}
	if len(e.SourceIPs) > 0 {
		r.SourceIP = e.SourceIPs[0]
	}
	if e.ResponseStatus != nil {
		r.Code = e.ResponseStatus.Code
	}
	if u, err := url.ParseRequestURI(e.RequestURI); err == nil {
		// dryRun=All is the only value that the API server accepts.
		r.DryRun = slices.Contains(u.Query()["dryRun"], "All")
	}
	return r
}

// requestOfRecord reads a record of saguard's own log, which knows neither the status nor where the request came from.
func requestOfRecord(at auditlog.Position, rec *audit.Record) Request {
	verbs := map[string]string{"CREATE": "create", "UPDATE": "update", "DELETE": "delete", "CONNECT": "connect"}
	verb := verbs[rec.Operation]
	if verb == "" {
		verb = rec.Operation
	}
	return Request{
		Time: rec.Time.UTC(), AuditID: rec.UID, File: at.File, Line: at.Line, User: rec.User, Groups: rec.Groups,
		Verb: verb, Object: rec.Object, DryRun: rec.DryRun, Decision: rec.Decision,
	}
}

// decided is a request with what saguard said of it: the annotations of all its webhooks in one.
type decided struct {
	Request
	reason, mode string
	component    string // of a record
	checks       []audit.Check
	tuples       []audit.Tuple
	diff         map[string]audit.Change
	exempt       []string
	truncated    int
	unreadable   []string
}

// decidedOf folds an event's annotations; nil if there is no decision. The worst outcome counts.
func decidedOf(r Request, annotations map[string]string) *decided {
	all := audit.ParseAnnotations(annotations)
	if len(all) == 0 {
		return nil
	}
	d := &decided{Request: r}
	rank := map[audit.Outcome]int{"": 0, audit.Allowed: 1, audit.Failed: 2, audit.Denied: 3}
	for i := range all {
		a := &all[i]
		if a.Schema != audit.Schema {
			d.unreadable = append(d.unreadable, audit.AnnotationSchema)
			continue
		}
		if rank[a.Decision] >= rank[d.Decision] {
			d.Decision, d.reason, d.mode = a.Decision, a.Reason, a.Mode
		}
		d.checks = append(d.checks, a.Checks...)
		d.tuples = append(d.tuples, a.Tuples...)
		d.exempt = append(d.exempt, a.ExemptFrom...)
		d.truncated += a.Truncated
		d.unreadable = append(d.unreadable, a.Unreadable...)
		for k, c := range a.LabelDiff {
			if d.diff == nil {
				d.diff = map[string]audit.Change{}
			}
			d.diff[k] = c
		}
	}
	return d
}

func decidedOfRecord(at auditlog.Position, rec *audit.Record) *decided {
	d := &decided{
		Request: requestOfRecord(at, rec), reason: rec.Reason, mode: rec.Mode, component: rec.Component, checks: rec.Checks, diff: rec.LabelDiff, exempt: rec.ExemptFrom,
	}
	for _, c := range rec.Checks {
		d.tuples = append(d.tuples, c.Tuples...)
	}
	return d
}
