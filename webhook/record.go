package webhook

import (
	"time"

	"github.com/saguard/saguard/audit"
)

const component = "webhook"

func newRecord(r *Request, f *Facts, d *Decision, revision uint64, started time.Time, took time.Duration) *audit.Record {
	rec := &audit.Record{
		Schema: audit.Schema, Time: started, Component: component,
		Decision: d.Outcome, Reason: d.Reason, Mode: string(d.Mode),
		User: r.Subject.User, Groups: r.Subject.Groups, Operation: string(r.Operation), Object: r.auditObject(),
		LabelDiff: labelDiff(f), UID: r.UID, DryRun: r.DryRun, Revision: revision, DurationMicros: took.Microseconds(),
	}
	if d.Err != nil {
		rec.Error = d.Err.Error()
	}
	if f != nil {
		rec.ExemptFrom = f.Guards.ExemptFrom
		if rec.Object.Name == "" && f.groupResource() == resourceServiceAccounts {
			rec.Object.Name = f.accountName()
		}
	}
	for i := range d.Judged {
		rec.Checks = append(rec.Checks, d.Judged[i].record())
	}
	return rec
}

func (j *Judged) record() audit.Check {
	c := audit.Check{ID: j.Check, Mode: string(j.Mode), Reason: j.result()}
	if j.Field != nil {
		c.Field = j.Field.String()
	}
	for _, t := range j.Outcome.Tuples {
		c.Tuples = append(c.Tuples, audit.Tuple(t))
	}
	return c
}

// result is the reason of a single finding: a closed set, used as a metric label too.
func (j *Judged) result() string {
	switch {
	case j.Err != nil:
		return "error"
	case j.Need == nil:
		return "refused"
	case j.Outcome.Met:
		return "granted"
	default:
		return "missing"
	}
}
