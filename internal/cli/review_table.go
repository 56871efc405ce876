package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/rbac"
)

// tables prints every view that has rows, the bypasses on top, and what could not be read to standard error.
func (r reviewReport) tables(o *reviewOptions) error {
	for _, view := range r.views() {
		if len(view.table.Rows) == 0 {
			continue
		}
		if err := write(o.streams.Out, fmt.Sprintf("%s (%d)\n", view.title, len(view.table.Rows))); err != nil {
			return err
		}
		// One printer for all would print the header of equal columns once.
		printer := printers.NewTablePrinter(printers.PrintOptions{Wide: o.out.format == formatWide, NoHeaders: o.out.noHeaders})
		if err := printer.PrintObj(view.table, o.streams.Out); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
		if err := write(o.streams.Out, "\n"); err != nil {
			return err
		}
	}
	if err := write(o.streams.Out, r.summary()); err != nil {
		return err
	}
	return printNotes(o.streams.ErrOut, r.notes())
}

func (r reviewReport) summary() string {
	if r.From.IsZero() {
		return "Nothing in the log is about service accounts, policies or who may do what.\n"
	}
	text := fmt.Sprintf("%s to %s: %d decisions (%d allowed, %d denied, %d failed), %d bypasses, %d label changes.\n",
		shortTime(r.From), shortTime(r.To), r.Decisions[audit.Allowed]+r.Decisions[audit.Denied]+r.Decisions[audit.Failed],
		r.Decisions[audit.Allowed], r.Decisions[audit.Denied], r.Decisions[audit.Failed], len(r.Bypasses), len(r.LabelChanges))
	if r.Replay != nil {
		text += fmt.Sprintf("Replayed: %d newly denied, %d newly allowed, %d unchanged, %d that the log does not tell enough of.\n",
			len(r.Replay.NewlyDenied), len(r.Replay.NewlyAllowed), r.Replay.Unchanged, r.Replay.Unknown)
	}
	return text
}

func (r reviewReport) notes() []string {
	notes := append(slices.Clone(r.Notes), r.Read.Problems()...)
	for _, e := range r.Read.Examples {
		notes = append(notes, e.At.String()+": "+e.Why)
	}
	if r.Replay != nil {
		for _, why := range slices.Sorted(maps.Keys(r.Replay.NotJudged)) {
			notes = append(notes, fmt.Sprintf("%d requests were not judged: %s", r.Replay.NotJudged[why], why))
		}
	}
	for view, n := range r.NotShown {
		notes = append(notes, fmt.Sprintf("%d more rows of %s are not shown", n, view))
	}
	return notes
}

type reviewView struct {
	title string
	table *metav1.Table
}

func (r reviewReport) views() []reviewView {
	request := func(q *review.Request) []any {
		return []any{shortTime(q.Time), who(q), q.Verb, describeObject(q.Object)}
	}
	where := func(q *review.Request) []any {
		return []any{q.SourceIP, fmt.Sprintf("%s:%d", q.File, q.Line), q.AuditID}
	}
	head := []metav1.TableColumnDefinition{column("Time"), column("User"), column("Verb"), column("Object")}
	tail := []metav1.TableColumnDefinition{wideColumn("From"), wideColumn("Line"), wideColumn("Audit ID")}
	table := func(columns ...metav1.TableColumnDefinition) *metav1.Table {
		return &metav1.Table{ColumnDefinitions: append(append(append([]metav1.TableColumnDefinition(nil), head...), columns...), tail...)}
	}
	add := func(t *metav1.Table, q *review.Request, cells ...any) {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: append(append(request(q), cells...), where(q)...)})
	}

	bypasses := table(column("Kind"), column("Certain"), column("Why"))
	for i := range r.Bypasses {
		b := &r.Bypasses[i]
		add(bypasses, &b.Request, string(b.Kind), yesNo(b.Certain), b.Why)
	}
	denials := table(column("Checks"), column("Enforced"), column("Missing"))
	for i := range r.Denials {
		d := &r.Denials[i]
		add(denials, &d.Request, orReason(strings.Join(d.Checks, ","), d.Reason), yesNo(d.Enforced), tuples(d.Missing))
	}
	labels := table(column("Label"), column("Old"), column("New"), column("Applied"))
	for i := range r.LabelChanges {
		l := &r.LabelChanges[i]
		was := value(l.Old)
		if l.OldUnknown {
			was = "?"
		}
		add(labels, &l.Request, l.Key, was, value(l.New), yesNo(l.Applied))
	}
	uses := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Account"), column("User"), column("By"), column("Allowed"), column("Denied"), column("First"), column("Last"),
	}}
	for _, u := range r.AccountUses {
		uses.Rows = append(uses.Rows, row(u.Namespace+"/"+u.Account, u.User, u.How, u.Allowed, u.Denied, shortTime(u.First), shortTime(u.Last)))
	}
	policies := table(column("Decision"), column("Refers to"))
	for i := range r.PolicyChanges {
		p := &r.PolicyChanges[i]
		add(policies, &p.Request, orReason(string(p.Decision), "-"), strings.Join(p.Refers, ", "))
	}
	out := []reviewView{
		{"BYPASSES", bypasses}, {"DENIALS", denials}, {"LABEL CHANGES", labels}, {"ACCOUNT USE", uses}, {"POLICY CHANGES", policies},
	}
	if r.Replay == nil {
		return out
	}
	for _, v := range []struct {
		title string
		rows  []review.Replayed
	}{{"NEWLY DENIED", r.Replay.NewlyDenied}, {"NEWLY ALLOWED", r.Replay.NewlyAllowed}} {
		t := table(column("Enforced"), column(map[bool]string{true: "Reasons", false: "Permissions"}[r.Replay.NotJudged != nil]))
		for i := range v.rows {
			why := tuples(v.rows[i].Permissions)
			if len(v.rows[i].Reasons) > 0 {
				why = strings.Join(v.rows[i].Reasons, "; ")
			}
			add(t, &v.rows[i].Request, yesNo(v.rows[i].Enforced), why)
		}
		out = append(out, reviewView{v.title, t})
	}
	return out
}

func shortTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func who(q *review.Request) string {
	if q.Impersonator != "" {
		return q.User + " (by " + q.Impersonator + ")"
	}
	return q.User
}

func describeObject(o audit.Object) string {
	resource := o.Resource
	if o.Subresource != "" {
		resource += "/" + o.Subresource
	}
	return resource + " " + strings.Trim(o.Namespace+"/"+o.Name, "/")
}

func value(v *string) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%q", *v)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orReason(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func tuples(list []audit.Tuple) string {
	var out []string
	for _, t := range list {
		text := t.Verb + " " + strings.TrimSpace(t.Resource+" "+t.Name)
		if t.Namespace != "" {
			text += " -n " + t.Namespace
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// manifestObjects lists roles with their bindings.
func manifestObjects(m rbac.Manifests) []runtime.Object {
	var out []runtime.Object
	for i := range m.Roles {
		out = append(out, &m.Roles[i], &m.RoleBindings[i])
	}
	for i := range m.ClusterRoles {
		out = append(out, &m.ClusterRoles[i], &m.ClusterRoleBindings[i])
	}
	return out
}
