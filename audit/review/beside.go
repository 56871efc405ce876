package review

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
)

// componentWebhook is of the records that an audit log can have, too.
const componentWebhook = "webhook"

// slack is how far the clocks of a webhook and an API server may be apart.
const slack = 5 * time.Second

// trace is what an event of an audit log and a record of saguard's own log have in common of one decision. The uid of an AdmissionReview is no
// audit ID, and no annotation can have it, because annotations may not differ when the API server asks again: so it is who did what to which
// object, what came of it, and when.
type trace struct {
	request *Request
	// until is when an event ended; of a record it is its time.
	until time.Time
}

type traceKey struct {
	user, group, resource, subresource, namespace string
	deletes                                       bool
}

func keyOf(r *Request) traceKey {
	return traceKey{r.User, r.Object.Group, r.Object.Resource, r.Object.Subresource, r.Object.Namespace, strings.HasPrefix(r.Verb, "delete")}
}

// traces are decisions by what they have in common, each list sorted by time once it is complete.
type traces map[traceKey][]trace

func (t traces) add(r *Request, until time.Time) {
	// A name that the API server has yet to make is in neither, or in the event alone.
	t[keyOf(r)] = append(t[keyOf(r)], trace{r, until})
}

func (t traces) sort() {
	for _, list := range t {
		slices.SortFunc(list, func(a, b trace) int { return cmp.Compare(a.request.Time.UnixNano(), b.request.Time.UnixNano()) })
	}
}

// beside compares what the two logs say, where both speak of the same time: decisions that the audit log lacks, and annotations that saguard's
// own log does not know of. What happened within the slack of a like request of the same user cannot be told from it. Errors are left out: of those saguard may have a record of a mutation, which no annotation tells.
func (b *Builder) beside() {
	if len(b.records) > 0 && (b.traced > b.options.Limit || b.out.NotShown["records"] > 0) && b.options.Beside {
		b.note("the audit log and saguard's own were not compared: there are more than %d decisions in one of them; narrow the files", b.options.Limit)
		return
	}
	if len(b.records) == 0 || len(b.events) == 0 {
		return
	}
	records := traces{}
	var first, last time.Time
	for _, d := range b.records {
		if d.component != componentWebhook || d.Decision != audit.Allowed && d.Decision != audit.Denied {
			continue
		}
		records.add(&d.Request, d.Time)
		if first.IsZero() || d.Time.Before(first) {
			first = d.Time
		}
		if d.Time.After(last) {
			last = d.Time
		}
	}
	records.sort()
	b.events.sort()
	interest := auditlog.Guarded()
	add := func(r *Request, kind BypassKind, why string) {
		if b.options.Filter.picks(r) && (len(b.options.Filter.Accounts) == 0 || b.namesAccount(r, nil)) {
			b.row("bypasses", len(b.out.Bypasses), func() { b.out.Bypasses = append(b.out.Bypasses, Bypass{Request: *r, Kind: kind, Why: why}) })
		}
	}
	for key, list := range records {
		for _, t := range list {
			// What the reader passes over, and what no audit log was there for, is not missing.
			if !interest.Wants(key.resource, key.subresource, t.request.Verb) || t.request.Time.Before(b.eventsFrom) || t.request.Time.After(b.eventsTo) {
				continue
			}
			if !found(b.events[key], t, func(e *Request) bool { return e.Decision == t.request.Decision || e.Decision != audit.Allowed }) {
				add(t.request, Unlogged, "saguard recorded this decision, and the audit log does not have it: its policy leaves it out, or events are missing")
			}
		}
	}
	for key, list := range b.events {
		for _, t := range list {
			if t.request.Time.Before(first) || t.request.Time.After(last) || t.request.Decision != audit.Allowed && t.request.Decision != audit.Denied {
				continue
			}
			if !found(records[key], t, func(r *Request) bool { return r.Decision == t.request.Decision }) {
				add(t.request, Unrecorded, "the audit log has a decision that saguard's own log lacks: records are missing, a replica's log is not among the files, or the annotation is not saguard's")
			}
		}
	}
}

// found reports a counterpart of a trace: of the same object at the same time, with a decision that fits.
func found(list []trace, t trace, fits func(*Request) bool) bool {
	for _, o := range list {
		if o.request.Time.After(t.until.Add(slack)) {
			return false
		}
		if o.until.Before(t.request.Time.Add(-slack)) {
			continue
		}
		if a, b := o.request.Object.Name, t.request.Object.Name; (a == b || a == "" || b == "") && fits(o.request) {
			return true
		}
	}
	return false
}
