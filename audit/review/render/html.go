package render

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
)

//go:embed page/review.html
var pageHTML string //nolint:gochecknoglobals // embedded files have to be

//go:embed page/review.js
var pageScript string //nolint:gochecknoglobals // as above

//go:embed page/review.css
var pageStyle string //nolint:gochecknoglobals // as above

// pageData is the review as the page's script reads it: rows as short lists, because there may be hundreds of thousands.
type pageData struct {
	From      int64                 `json:"from"` // milliseconds since 1970
	To        int64                 `json:"to"`
	Decisions map[audit.Outcome]int `json:"decisions"`
	Notes     []string              `json:"notes"`
	Views     []pageView            `json:"views"`
}

// pageView is one table. Columns of kind "time" hold milliseconds.
type pageView struct {
	ID      string       `json:"id"`
	Title   string       `json:"title"`
	Help    string       `json:"help"`
	Columns []pageColumn `json:"columns"`
	Rows    [][]any      `json:"rows"`
	// Left is the number of rows that are not there.
	Left int `json:"left"`
}

type pageColumn struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"`
}

// HTML writes the review as one page that needs nothing else: no network, and no script but its own, which the page's content
// security policy names by its hash. Whatever the log holds is text in it, never markup. replay may be nil.
func HTML(out io.Writer, r *review.Review, replay *review.Replay) error {
	t, err := template.New("review").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	data, err := json.Marshal(pageOf(r, replay)) // escapes <, > and &
	if err != nil {
		return fmt.Errorf("encode review: %w", err)
	}
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := "default-src 'none'; script-src " + hash(pageScript) + "; style-src " + hash(pageStyle) + "; img-src data:"
	if err := t.Execute(out, map[string]any{
		"Policy": policy, "From": shortTime(r.From), "To": shortTime(r.To),
		"Style":  template.CSS(pageStyle), //nolint:gosec // our own
		"Script": template.JS(pageScript), //nolint:gosec // our own
		"Data":   template.JS(data),       //nolint:gosec // JSON with <, > and & escaped
	}); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func shortTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func pageOf(r *review.Review, replay *review.Replay) pageData {
	p := pageData{From: millis(r.From), To: millis(r.To), Decisions: r.Decisions, Notes: append([]string{}, r.Notes...)}
	p.Notes = append(p.Notes, r.Read.Problems()...)
	request := func(q *review.Request) []any { return []any{millis(q.Time), who(q), what(q)} }
	head := []pageColumn{{"Time", "time"}, {"User", ""}, {"Request", ""}}
	tail := []pageColumn{{"From", "minor"}, {"Line", "minor"}}
	end := func(q *review.Request) []any { return []any{q.SourceIP, fmt.Sprintf("%s:%d", q.File, q.Line)} }
	view := func(id, title, help string, columns ...pageColumn) *pageView {
		p.Views = append(p.Views, pageView{
			ID: id, Title: title, Help: help, Columns: append(append(append([]pageColumn{}, head...), columns...), tail...), Rows: [][]any{}, Left: r.NotShown[id],
		})
		return &p.Views[len(p.Views)-1]
	}
	add := func(v *pageView, q *review.Request, cells ...any) {
		v.Rows = append(v.Rows, append(append(request(q), cells...), end(q)...))
	}
	v := view("bypasses", "Bypasses", "What went, or may have gone, around saguard.", pageColumn{"Kind", "tag"}, pageColumn{"Certain", "yes"}, pageColumn{"Why", ""})
	for i := range r.Bypasses {
		b := &r.Bypasses[i]
		add(v, &b.Request, string(b.Kind), b.Certain, b.Why)
	}
	v = view("denials", "Denials", "What saguard refused, or would have refused in mode Enforce.", pageColumn{"Check", "tag"}, pageColumn{"Enforced", "yes"}, pageColumn{"Missing", ""})
	for i := range r.Denials {
		d := &r.Denials[i]
		check := "other"
		if len(d.Checks) > 0 {
			check = d.Checks[0]
		}
		add(v, &d.Request, check, d.Enforced, permissions(d.Missing))
	}
	v = view("labelChanges", "Label changes", "Labels of service accounts, and who changed them.",
		pageColumn{"Account", "account"}, pageColumn{"Label", "tag"}, pageColumn{"Old", "value"}, pageColumn{"New", "value"}, pageColumn{"Applied", "yes"})
	for i := range r.LabelChanges {
		l := &r.LabelChanges[i]
		old := any(l.Old)
		if l.OldUnknown {
			old = "?"
		}
		add(v, &l.Request, l.Namespace+"/"+l.Account, l.Key, old, l.New, l.Applied)
	}
	v = view("policyChanges", "Policy changes", "Writes to policies, sets, tiers, guards and bands.", pageColumn{"Decision", "tag"}, pageColumn{"Refers to", ""})
	for i := range r.PolicyChanges {
		c := &r.PolicyChanges[i]
		refersTo := ""
		for n, name := range c.Refers {
			if n > 0 {
				refersTo += ", "
			}
			refersTo += name
		}
		add(v, &c.Request, string(c.Decision), refersTo)
	}
	if replay != nil {
		for _, list := range []struct {
			id, title, help string
			rows            []review.Replayed
		}{
			{"newlyDenied", "Newly denied", "What the other RBAC, or the proposed guards, would refuse.", replay.NewlyDenied},
			{"newlyAllowed", "Newly allowed", "What the other RBAC, or the proposed guards, would allow.", replay.NewlyAllowed},
		} {
			v = view(list.id, list.title, list.help, pageColumn{"Enforced", "yes"}, pageColumn{map[bool]string{true: "Reasons", false: "Permissions"}[replay.NotJudged != nil], ""})
			for i := range list.rows {
				why := permissions(list.rows[i].Permissions)
				if len(list.rows[i].Reasons) > 0 {
					why = strings.Join(list.rows[i].Reasons, "; ")
				}
				add(v, &list.rows[i].Request, list.rows[i].Enforced, why)
			}
		}
	}
	p.Views = append(p.Views, usesView(r))
	return p
}

func usesView(r *review.Review) pageView {
	v := pageView{ID: "accountUses", Title: "Account use", Help: "Who took which identity, and how.", Rows: [][]any{}, Left: r.NotShown["accountUses"], Columns: []pageColumn{
		{"Last", "time"}, {"User", ""}, {"Account", "account"}, {"By", "tag"}, {"Allowed", "number"}, {"Denied", "number"}, {"First", "time"},
	}}
	for _, u := range r.AccountUses {
		v.Rows = append(v.Rows, []any{millis(u.Last), u.User, u.Namespace + "/" + u.Account, u.How, u.Allowed, u.Denied, millis(u.First)})
	}
	return v
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
