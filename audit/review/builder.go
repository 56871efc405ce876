package review

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
)

// DefaultLimit is the number of rows of each view that a review keeps.
const DefaultLimit = 200_000

// Options say what a [Builder] keeps.
type Options struct {
	Filter Filter
	// Unguarded are the namespaces in which no guard holds, whatever it says: writes there need no decision. nil is
	// [DefaultUnguarded].
	Unguarded []string
	// Limit of rows for each view; 0 is DefaultLimit.
	Limit int
	// Beside compares an audit log with saguard's own logs, if there are both; it keeps a row for each decision.
	Beside bool
	// Replay keeps what [Builder.Replay] and [Builder.Suggest] need.
	Replay bool
	// Propose, if given, judges every request under guards that are only proposed; [Builder.Proposed] is the result.
	Propose func(*Write) Proposed
}

// DefaultUnguarded returns the namespaces that the chart's webhooks never see, as the chart's default values say.
func DefaultUnguarded() []string {
	return []string{"kube-system", "saguard-system", "calico-apiserver", "calico-system", "tigera-operator"}
}

// Builder makes a review of entries in any order. It is not safe for concurrent use.
type Builder struct {
	options Options
	out     Review
	uses    map[useKey]*AccountUse
	// pending are the guarded writes without a decision: an aggregated API server may log one later.
	pending map[relayed][]Bypass
	decided map[relayed]bool // decisions about resources that aggregated API servers serve
	// firstDecision is when saguard is first known to have been there.
	firstDecision time.Time
	accounts      map[string]account
	records       []*decided // of saguard's own log; they are the same decisions as in an audit log that has them
	events        traces     // of the decisions in the audit log, where there are records too
	eventsFrom    time.Time
	eventsTo      time.Time
	traced        int
	unreadable    int
	truncated     int
	updates       int        // of accounts, without decision and body
	all           []*decided // with Options.Replay
	proposed      Replay     // with Options.Propose
	held          map[string]held
	heldBytes     int
	interned      interned
}

// relayed is what the events of two API servers about one request have in common. A client may choose the audit ID, so it
// alone does not tell that.
type relayed struct{ auditID, user, verb, group, resource, namespace string }

func relayedOf(r *Request) relayed {
	return relayed{r.AuditID, r.User, r.Verb, r.Object.Group, r.Object.Resource, r.Object.Namespace}
}

type useKey struct{ user, namespace, account, how string }

// New returns an empty builder.
func New(o Options) *Builder {
	if o.Unguarded == nil {
		o.Unguarded = DefaultUnguarded()
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	return &Builder{
		options: o, uses: map[useKey]*AccountUse{}, pending: map[relayed][]Bypass{}, decided: map[relayed]bool{}, accounts: map[string]account{},
		out: Review{Schema: Schema, Decisions: make(map[audit.Outcome]int), NotShown: map[string]int{}},
	}
}

// Add takes one entry.
func (b *Builder) Add(e *auditlog.Entry) {
	if e.Record != nil {
		b.records = append(b.records, decidedOfRecord(e.At, e.Record))
		if len(b.records) > b.options.Limit {
			b.records = b.records[1:]
			b.out.NotShown["records"]++
		}
		return
	}
	r := requestOf(e.At, e.Event)
	b.interned.request(&r)
	b.span(r.Time)
	d := decidedOf(r, e.Event.Annotations)
	if d != nil {
		b.interned.decided(d)
		b.addDecided(d)
		b.trace(d, e.Event)
	}
	// What is known of an account's labels follows the log whatever the filter picks.
	changes := b.followLabels(&r, e.Event)
	if d == nil && b.options.Filter.picks(&r) {
		for _, c := range changes {
			if b.options.Filter.account(c.Namespace, c.Account) {
				b.row("labelChanges", len(b.out.LabelChanges), func() { b.out.LabelChanges = append(b.out.LabelChanges, c) })
			}
		}
		if isPolicy(r.Object) && isWrite(r.Verb) && r.Succeeded() {
			b.row("policyChanges", len(b.out.PolicyChanges), func() { b.out.PolicyChanges = append(b.out.PolicyChanges, PolicyChange{Request: r}) })
		}
	}
	b.addBypasses(&r, d, e.Event, len(changes) > 0)
	b.propose(&r, d, e.Event)
}

// reasonNotGuarded is of decisions that saguard does not record: nothing that is guarded was asked for (package webhook).
const reasonNotGuarded = "not-guarded"

// trace keeps what saguard's own log is compared with.
func (b *Builder) trace(d *decided, e *auditv1.Event) {
	if !b.options.Beside || d.reason == reasonNotGuarded {
		return
	}
	if b.traced++; b.traced > b.options.Limit {
		b.events = nil // half of it would make findings of the other half
		return
	}
	if b.events == nil {
		b.events = traces{}
	}
	end := e.StageTimestamp.UTC()
	if end.Before(d.Time) {
		end = d.Time
	}
	r := d.Request // a copy, so that the rest of the decision is not kept
	b.events.add(&r, end)
	if b.eventsFrom.IsZero() || d.Time.Before(b.eventsFrom) {
		b.eventsFrom = d.Time
	}
	if end.After(b.eventsTo) {
		b.eventsTo = end
	}
}

func (b *Builder) span(t time.Time) {
	if b.out.From.IsZero() || t.Before(b.out.From) {
		b.out.From = t
	}
	if t.After(b.out.To) {
		b.out.To = t
	}
}

// row adds a row, or counts it where there are too many.
func (b *Builder) row(view string, have int, add func()) {
	if have >= b.options.Limit {
		b.out.NotShown[view]++
		return
	}
	add()
}

// addDecided takes what saguard decided.
func (b *Builder) addDecided(d *decided) {
	b.span(d.Time)
	if b.firstDecision.IsZero() || d.Time.Before(b.firstDecision) {
		b.firstDecision = d.Time
	}
	b.unreadable += len(d.unreadable)
	if d.truncated > 0 {
		b.truncated++
	}
	if !b.options.Filter.picks(&d.Request) || !b.aboutAccount(d) {
		return
	}
	if d.Decision != "" {
		b.out.Decisions[d.Decision]++
	}
	for _, key := range slices.Sorted(maps.Keys(d.diff)) {
		change := d.diff[key]
		row := LabelChange{
			Request: d.Request, Namespace: d.Object.Namespace, Account: d.Object.Name, Key: b.interned.text(key), Old: change.Old, New: change.New, Applied: d.Succeeded(),
		}
		b.row("labelChanges", len(b.out.LabelChanges), func() { b.out.LabelChanges = append(b.out.LabelChanges, row) })
	}
	b.addUses(d)
	if isPolicy(d.Object) {
		row := PolicyChange{Request: d.Request, Refers: refers(d.tuples)}
		b.row("policyChanges", len(b.out.PolicyChanges), func() { b.out.PolicyChanges = append(b.out.PolicyChanges, row) })
	}
	b.addDenial(d)
	if b.options.Replay {
		b.row("replayed", len(b.all), func() { b.all = append(b.all, d) })
	}
}

// aboutAccount reports whether a decision is about an account that the filter picks.
func (b *Builder) aboutAccount(d *decided) bool {
	f := &b.options.Filter
	if len(f.Accounts) == 0 || d.Object.Resource == "serviceaccounts" && f.account(d.Object.Namespace, d.Object.Name) {
		return true
	}
	return slices.ContainsFunc(d.tuples, func(t audit.Tuple) bool {
		return t.Resource == "serviceaccounts" && f.account(t.Namespace, t.Name)
	})
}

func (b *Builder) addUses(d *decided) {
	if d.DryRun || d.Object.Resource == "serviceaccounts" && d.Object.Subresource == "" {
		return
	}
	how := d.Object.Resource
	if d.Object.Subresource != "" {
		how += "/" + d.Object.Subresource
	}
	for _, t := range d.tuples {
		if t.Verb != "use" || t.Resource != "serviceaccounts" || t.Name == "" {
			continue
		}
		key := useKey{d.User, t.Namespace, t.Name, how}
		u := b.uses[key]
		if u == nil {
			if len(b.uses) >= b.options.Limit {
				b.out.NotShown["accountUses"]++
				continue
			}
			u = &AccountUse{User: d.User, Namespace: t.Namespace, Account: t.Name, How: how, First: d.Time, Last: d.Time}
			b.uses[key] = u
		}
		if d.Decision == audit.Allowed {
			u.Allowed++
		} else {
			u.Denied++
		}
		if d.Time.Before(u.First) {
			u.First = d.Time
		}
		if d.Time.After(u.Last) {
			u.Last = d.Time
		}
	}
}

func (b *Builder) addDenial(d *decided) {
	row := Denial{Request: d.Request, Reason: d.reason, Enforced: d.Decision != audit.Allowed}
	for _, c := range d.checks {
		if c.Reason != "granted" && !slices.Contains(row.Checks, c.ID) {
			row.Checks = append(row.Checks, c.ID)
		}
	}
	if d.Decision == audit.Allowed && len(row.Checks) == 0 {
		return
	}
	for _, t := range d.tuples {
		if !t.Allowed && len(row.Checks) > 0 {
			row.Missing = append(row.Missing, t)
		}
	}
	b.row("denials", len(b.out.Denials), func() { b.out.Denials = append(b.out.Denials, row) })
}

// refers lists what "bind" was asked for, in the words of [PolicyChange].
func refers(tuples []audit.Tuple) []string {
	var out []string
	for _, t := range tuples {
		if t.Verb != "bind" {
			continue
		}
		namespace, name := t.Namespace, t.Name
		if namespace == "" {
			namespace = "*"
		}
		if name == "" {
			name = "*"
		}
		text := namespace + "/" + name
		if strings.HasSuffix(t.Resource, "/labels") {
			text = namespace + " " + name
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// Review returns what was told so far; read is what the reader counted.
func (b *Builder) Review(read auditlog.Stats) *Review {
	b.beside()
	fromEvents := len(b.out.Decisions) > 0 || !b.firstDecision.IsZero()
	if fromEvents && len(b.records) > 0 {
		b.note("%d records of saguard's own log are not shown, since decisions are taken from the audit log; what that lacks, the records alone may show", len(b.records))
	} else {
		for _, d := range b.records {
			b.addDecided(d)
		}
	}
	b.records = nil
	b.settleBypasses()
	out := b.out
	out.Read = read
	for _, key := range slices.SortedFunc(maps.Keys(b.uses), func(x, y useKey) int {
		return cmp.Or(cmp.Compare(x.namespace, y.namespace), cmp.Compare(x.account, y.account), cmp.Compare(x.user, y.user), cmp.Compare(x.how, y.how))
	}) {
		out.AccountUses = append(out.AccountUses, *b.uses[key])
	}
	byTime(out.Bypasses, func(r *Bypass) *Request { return &r.Request })
	byTime(out.Denials, func(r *Denial) *Request { return &r.Request })
	byTime(out.LabelChanges, func(r *LabelChange) *Request { return &r.Request })
	byTime(out.PolicyChanges, func(r *PolicyChange) *Request { return &r.Request })
	if b.unreadable > 0 {
		b.note("%d annotations of decisions could not be read; what they say is missing", b.unreadable)
	}
	if b.truncated > 0 {
		b.note("%d decisions had more to say than fits an annotation; permissions may be missing from them", b.truncated)
	}
	if b.updates > 0 {
		b.note("%d updates of service accounts have neither a decision nor a body: most change no label, but the log does not say so", b.updates)
	}
	if read.Events == 0 && read.Requests > 0 {
		b.note("the log has only events of stage RequestReceived, which tell no outcome")
	}
	out.Notes = b.out.Notes
	return &out
}

func (b *Builder) note(format string, args ...any) {
	b.out.Notes = append(b.out.Notes, fmt.Sprintf(format, args...))
}

func byTime[T any](rows []T, request func(*T) *Request) {
	slices.SortStableFunc(rows, func(x, y T) int {
		p, q := request(&x), request(&y)
		return cmp.Or(p.Time.Compare(q.Time), cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line))
	})
}

func isWrite(verb string) bool {
	switch verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// isPolicy reports whether an object decides about traffic or about saguard.
func isPolicy(o audit.Object) bool {
	if o.Subresource != "" {
		return false
	}
	switch o.Group {
	case "projectcalico.org", "crd.projectcalico.org", "saguard.io":
		return true
	case "networking.k8s.io":
		return o.Resource == "networkpolicies"
	}
	return false
}
