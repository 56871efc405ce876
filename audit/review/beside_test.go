package review_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
	"github.com/saguard/saguard/audit/review"
)

// record is one of saguard's own log.
func record(second float64, decision audit.Outcome, operation, user, resource, name string) *auditlog.Entry {
	return &auditlog.Entry{At: auditlog.Position{File: "saguard.log", Line: 1}, Record: &audit.Record{
		Schema: audit.Schema, Time: noon.Add(time.Duration(second * float64(time.Second))), Component: "webhook", Decision: decision, Reason: "granted",
		User: user, Operation: operation, Object: audit.Object{Resource: resource, Namespace: "prod", Name: name},
	}}
}

func deciding(decision audit.Outcome) func(*auditv1.Event) {
	return func(e *auditv1.Event) {
		const prefix = "accounts.validate.saguard.io/"
		e.Annotations = map[string]string{prefix + audit.AnnotationSchema: audit.Schema, prefix + audit.AnnotationDecision: string(decision), prefix + audit.AnnotationReason: "granted"}
		if decision == audit.Denied {
			e.ResponseStatus.Code = 403
		}
	}
}

func notGuarded(e *auditv1.Event) {
	e.ObjectRef.Name = "plain"
	e.RequestReceivedTimestamp.Time = noon.Add(time.Second)
	e.Annotations["accounts.validate.saguard.io/"+audit.AnnotationReason] = "not-guarded"
}

// Events come one a second, from noon on.
func TestBothLogs(t *testing.T) {
	patch := func(decision audit.Outcome) *log {
		return new(log).add("patch", "serviceaccounts", "prod", "first", user("sam"), deciding(audit.Allowed)).
			add("patch", "serviceaccounts", "prod", "web", user("sam"), deciding(decision)).
			add("patch", "serviceaccounts", "prod", "last", user("sam"), deciding(audit.Allowed))
	}
	ends := []*auditlog.Entry{record(0, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "first"), record(2, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "last")}
	cases := map[string]struct {
		events  *log
		records []*auditlog.Entry
		want    []string
	}{
		"they agree":                                       {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web")}},
		"the API server asked twice":                       {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web"), record(1.2, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web")}},
		"the clocks differ":                                {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.9, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web")}},
		"no record":                                        {events: patch(audit.Allowed), want: []string{"unrecorded web"}},
		"the record is of another decision":                {events: patch(audit.Denied), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web")}, want: []string{"unrecorded web"}},
		"an annotation that says less than the record":     {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Denied, "UPDATE", "sam", "serviceaccounts", "web")}, want: []string{"unlogged web", "unrecorded web"}},
		"the record is of another user":                    {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "mallory", "serviceaccounts", "web")}, want: []string{"unlogged web", "unrecorded web"}},
		"no event":                                         {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web"), record(1.5, audit.Denied, "CREATE", "mallory", "pods", "p")}, want: []string{"unlogged p"}},
		"a record of what the review does not read":        {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web"), record(1.5, audit.Allowed, "UPDATE", "sam", "pods", "p")}},
		"an annotation of what is not recorded":            {events: patch(audit.Allowed).add("patch", "serviceaccounts", "prod", "last", user("sam"), deciding(audit.Allowed), notGuarded), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web")}},
		"a record from before the audit log":               {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web"), record(-60, audit.Denied, "CREATE", "mallory", "pods", "p")}},
		"an error, which no annotation may tell":           {events: patch(audit.Allowed), records: []*auditlog.Entry{record(1.1, audit.Allowed, "UPDATE", "sam", "serviceaccounts", "web"), record(1.5, audit.Failed, "CREATE", "mallory", "pods", "p")}},
		"a name that the API server makes after admission": {events: new(log).add("create", "pods", "prod", "p-x", user("sam"), deciding(audit.Allowed)).add("create", "pods", "prod", "q", user("sam"), deciding(audit.Allowed)).add("patch", "serviceaccounts", "prod", "last", user("sam"), deciding(audit.Allowed)), records: []*auditlog.Entry{record(0.1, audit.Allowed, "CREATE", "sam", "pods", ""), record(1.1, audit.Allowed, "CREATE", "sam", "pods", "q")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, recordsFirst := range []bool{true, false} {
				b := review.New(review.Options{Beside: true})
				all := slices.Concat(tc.events.entries, ends, tc.records)
				if recordsFirst {
					all = slices.Concat(ends, tc.records, tc.events.entries)
				}
				for _, e := range all {
					b.Add(e)
				}
				var got []string
				for _, x := range b.Review(auditlog.Stats{}).Bypasses {
					if x.Kind == review.Unlogged || x.Kind == review.Unrecorded {
						got = append(got, fmt.Sprintf("%s %s", x.Kind, x.Object.Name))
					}
				}
				slices.Sort(got)
				if name == "a name that the API server makes after admission" {
					got = slices.DeleteFunc(got, func(s string) bool { return s == "unlogged first" }) // no event of it in this case
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

// One log alone is compared with nothing, and so are logs of which not all could be kept.
func TestOneLogIsNotCompared(t *testing.T) {
	events := new(log).add("patch", "serviceaccounts", "prod", "web", user("sam"), deciding(audit.Allowed)).add("patch", "serviceaccounts", "prod", "x", user("sam"), deciding(audit.Allowed))
	mallory := record(0.5, audit.Allowed, "UPDATE", "mallory", "serviceaccounts", "web")
	for name, tc := range map[string]struct {
		options review.Options
		entries []*auditlog.Entry
		notes   int
	}{
		"no record":                   {options: review.Options{Beside: true}, entries: events.entries},
		"not asked for":               {entries: slices.Concat(events.entries, []*auditlog.Entry{mallory}), notes: 1},
		"more than the limit":         {options: review.Options{Beside: true, Limit: 1}, entries: slices.Concat(events.entries, []*auditlog.Entry{mallory}), notes: 2},
		"more records than the limit": {options: review.Options{Beside: true, Limit: 2}, entries: slices.Concat(events.entries, []*auditlog.Entry{mallory, mallory, mallory}), notes: 2},
	} {
		b := review.New(tc.options)
		for _, e := range tc.entries {
			b.Add(e)
		}
		r := b.Review(auditlog.Stats{})
		for _, x := range r.Bypasses {
			if x.Kind == review.Unlogged || x.Kind == review.Unrecorded {
				t.Errorf("%s: %+v", name, x)
			}
		}
		if len(r.Notes) != tc.notes {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
	}
}
