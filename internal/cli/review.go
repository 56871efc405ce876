package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/audit/review/render"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// The further values of review's --output.
const (
	formatJSONLines = "jsonl"
	formatSARIF     = "sarif"
	formatJUnit     = "junit"
	formatHTML      = "html"
)

type reviewOptions struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	version string
	out     output

	follow       bool
	since, until string
	users        []string
	accounts     []string
	namespaces   []string
	decisions    []string
	unguarded    []string
	templates    []string
	replay       bool
	rbacFiles    []string
	guardFiles   []string
	excluded     []string
	suggest      string
	failOn       []string
	noProgress   bool
}

func newReview(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, version string) *cobra.Command {
	o := &reviewOptions{flags: flags, streams: streams, version: version}
	c := &cobra.Command{
		Use:   "review FILE...",
		Short: "Tell from audit logs who changed which identity, what was denied, and what went around saguard",
		Long: `Tell from audit logs who changed which identity, what was denied, and what went around saguard.

FILE is a kube-apiserver audit log (JSON lines, or an EventList) or saguard's own log, plain, gzip or zstd; "-" is standard input. Rotated files
are read in the order of their events. Level Metadata is enough: saguard writes what it decided into the audit annotations. Lines that are cut
off, interleaved or garbage are counted and named, and nothing else is lost.

Bypasses are on top: a webhook that failed open, guarded writes without a decision, changes to saguard's own configuration and to the webhook
configurations, impersonation, exempt users, tokens that were issued, and connections into pods. Those that the log proves are "certain". With
both an audit log and saguard's own logs, of all replicas, among the files, decisions that only one of the two has are among them, too: an event
that is missing, or an annotation that saguard did not write.

--replay asks the permissions of every decision again, of the cluster's RBAC or of the RBAC in --rbac files, and lists what would newly be
denied and newly be allowed. With --guards, ServiceAccountGuards and PolicyBands that are only proposed, every request is judged by the
webhook's own checks under those guards instead: by its body where the log has it (level Request or RequestResponse), else by what saguard's
annotations say. What neither tells is not judged, and counted by why; nothing is guessed. --suggest-rbac prints, instead of the review, the least roles that allow what happened ("allowed"), or also what
was refused ("all"), to be read and then applied.

Exit code: 0, or with --fail-on 3 if there is a finding of one of those kinds: "bypass" (a guarded write that certainly went around saguard),
"any-bypass", "denial", "newly-denied", "newly-allowed", "damage" (lines that could not be read).`,
		Example: `  # What happened last night
  kubectl saguard review /var/log/kubernetes/audit.log --since 12h

  # A page to look at, of all rotated files
  kubectl saguard review /var/log/kubernetes/audit*.log* -o html > review.html

  # Who touched the accounts of prod
  kubectl saguard review audit.log --account 'prod/*' -o wide

  # What would break if these roles were applied
  kubectl saguard review audit.log --replay --rbac proposed/ --fail-on newly-denied

  # What these guards would have refused
  kubectl saguard review audit.log --replay --guards proposed/ -o wide

  # The roles that a team needs for what it did
  kubectl saguard review audit.log --user 'system:serviceaccount:ci:*' --suggest-rbac=allowed

  # In CI
  kubectl saguard review audit.log -o sarif --fail-on bypass > review.sarif`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args) },
	}
	f := c.Flags()
	o.out.addFlags(c, formatTable, formatWide, formatJSON, formatJSONLines, formatSARIF, formatJUnit, formatHTML)
	f.BoolVarP(&o.follow, "follow", "f", false, "Read on as the one FILE grows, until interrupted; then print what was read.")
	f.StringVar(&o.since, "since", "", "From this time on: RFC 3339, or a duration back from now such as 12h.")
	f.StringVar(&o.until, "until", "", "Before this time, as --since.")
	f.StringSliceVar(&o.users, "user", nil, "Only requests of these users, or of those who impersonate them; * and ? match.")
	f.StringSliceVar(&o.accounts, "account", nil, "Only what is about these service accounts, NAMESPACE/NAME; * and ? match.")
	f.StringSliceVar(&o.namespaces, "in-namespace", nil, "Only requests in these namespaces; * and ? match.")
	f.StringSliceVar(&o.decisions, "decision", nil, "Only what was decided so: Allow, Deny, Error.")
	f.StringSliceVar(&o.unguarded, "unguarded", review.DefaultUnguarded(), "Namespaces that the webhooks never see: writes there need no decision.")
	f.StringSliceVar(&o.templates, "workload", nil, "Further resources (plural names) that run pods, as guards configure them.")
	f.BoolVar(&o.replay, "replay", false, "Ask the permissions again, of the cluster's RBAC or of --rbac.")
	f.StringSliceVar(&o.rbacFiles, "rbac", nil, "Files or directories with the RBAC that --replay asks, instead of the cluster's.")
	f.StringSliceVar(&o.guardFiles, "guards", nil, "Files or directories with ServiceAccountGuards, PolicyBands, policies and namespaces that --replay judges by, instead of what saguard asked then.")
	f.StringSliceVar(&o.excluded, "exclude-namespace", []string{"saguard-system"}, "Namespaces that --guards never guard; kube-system always is one.")
	f.StringVar(&o.suggest, "suggest-rbac", "", `Print roles instead of the review: "allowed" or "all".`)
	f.StringSliceVar(&o.failOn, "fail-on", nil, "Exit with 3 if there is a finding of these kinds: "+strings.Join(failKinds(), ", ")+".")
	f.BoolVar(&o.noProgress, "no-progress", false, "No progress bar on standard error.")
	completeFlag(c, "suggest-rbac", "allowed", "all")
	completeFlag(c, "fail-on", failKinds()...)
	completeFlag(c, "decision", string(audit.Allowed), string(audit.Denied), string(audit.Failed))
	return c
}

func failKinds() []string {
	return []string{"bypass", "any-bypass", "denial", "newly-denied", "newly-allowed", "damage"}
}

func (o *reviewOptions) run(ctx context.Context, files []string) error {
	filter, err := o.filter(time.Now())
	if err != nil {
		return err
	}
	if o.follow && (len(files) != 1 || files[0] == auditlog.Stdin) {
		return errors.New("--follow: want exactly one FILE")
	}
	var index *rbac.Index
	if o.replay {
		if index, err = o.index(ctx); err != nil {
			return err
		}
	}
	options := review.Options{Filter: filter, Unguarded: o.unguarded, Beside: len(files) > 1, Replay: o.replay || o.suggest != ""}
	if len(o.guardFiles) > 0 {
		if options.Propose, err = o.propose(ctx, index); err != nil {
			return err
		}
	}
	b := review.New(options)
	reader := auditlog.NewReader(auditlog.Guarded(o.templates...))
	if err := o.read(ctx, reader, b, files); err != nil {
		return err
	}
	stats := reader.Stats()
	result := reviewReport{Review: b.Review(stats)}
	if o.suggest != "" {
		return o.printSuggestions(b)
	}
	if o.replay {
		replay := b.Proposed()
		if options.Propose == nil {
			replay = b.Replay(func(s identity.Subject, q rbac.Question) bool { _, ok := index.Authorize(s, q); return ok })
		}
		result.Replay = &replay
	}
	if err := o.print(result); err != nil {
		return err
	}
	return o.exit(result)
}

func (o *reviewOptions) filter(now time.Time) (review.Filter, error) {
	f := review.Filter{Users: o.users, Accounts: o.accounts, Namespaces: o.namespaces}
	if err := o.out.validate(); err != nil {
		return f, err
	}
	var err error
	if f.Since, err = parseTime("--since", o.since, now); err != nil {
		return f, err
	}
	if f.Until, err = parseTime("--until", o.until, now); err != nil {
		return f, err
	}
	for _, d := range o.decisions {
		outcome := audit.Outcome(d)
		if !slices.Contains([]audit.Outcome{audit.Allowed, audit.Denied, audit.Failed}, outcome) {
			return f, fmt.Errorf("--decision %q: want Allow, Deny or Error", d)
		}
		f.Decisions = append(f.Decisions, outcome)
	}
	for _, kind := range o.failOn {
		if !slices.Contains(failKinds(), kind) {
			return f, fmt.Errorf("--fail-on %q: want %s", kind, strings.Join(failKinds(), ", "))
		}
		if strings.HasPrefix(kind, "newly-") && !o.replay {
			return f, fmt.Errorf("--fail-on %s: needs --replay", kind)
		}
	}
	if o.suggest != "" && o.suggest != "allowed" && o.suggest != "all" {
		return f, fmt.Errorf(`--suggest-rbac %q: want allowed or all`, o.suggest)
	}
	if len(o.rbacFiles) > 0 && !o.replay {
		return f, errors.New("--rbac: needs --replay")
	}
	if len(o.guardFiles) > 0 && !o.replay {
		return f, errors.New("--guards: needs --replay")
	}
	return f, f.Validate()
}

// parseTime reads a time or how long ago it was.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q: want a time (RFC 3339), a date or a duration", flag, text)
}

// index is the RBAC that is asked again.
func (o *reviewOptions) index(ctx context.Context) (*rbac.Index, error) {
	objects, err := loadRBAC(ctx, o.flags, o.streams, o.rbacFiles, "")
	if err != nil {
		return nil, err
	}
	return indexOf(objects), nil
}

func (o *reviewOptions) read(ctx context.Context, reader *auditlog.Reader, b *review.Builder, files []string) error {
	add := func(e *auditlog.Entry) error { b.Add(e); return nil }
	if o.follow {
		l, err := auditlog.Follow(ctx, files[0])
		if err != nil {
			return err
		}
		// An interrupt is how a follow ends: what was read is shown.
		return errors.Join(reader.Read(context.WithoutCancel(ctx), files[0], l, add), l.Close())
	}
	files, err := auditlog.InOrder(ctx, files)
	if err != nil {
		return err
	}
	bar := o.progress(files)
	defer bar.finish()
	for _, name := range files {
		l, err := auditlog.Open(name, o.streams.In)
		if err != nil {
			return err
		}
		bar.next(l)
		err = reader.Read(ctx, name, bar.reader(l), add)
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (o *reviewOptions) printSuggestions(b *review.Builder) error {
	suggestions, err := b.Suggest(o.suggest == "all")
	if err != nil {
		return err
	}
	var objects []runtime.Object
	for _, s := range suggestions {
		objects = append(objects, manifestObjects(s.Manifests)...)
	}
	if len(objects) == 0 {
		return printNotes(o.streams.ErrOut, []string{"nothing happened that takes a permission of saguard's"})
	}
	return printObjects(o.streams.Out, formatYAML, objects)
}

func (o *reviewOptions) print(r reviewReport) error {
	switch o.out.format {
	case formatJSON:
		return r.json(o.streams.Out)
	case formatJSONLines:
		return r.lines(o.streams.Out)
	case formatSARIF:
		return render.SARIF(o.streams.Out, r.Review, o.version)
	case formatJUnit:
		return render.JUnit(o.streams.Out, r.Review)
	case formatHTML:
		return render.HTML(o.streams.Out, r.Review, r.Replay)
	}
	return r.tables(o)
}

// exit reports findings of the kinds that --fail-on names.
func (o *reviewOptions) exit(r reviewReport) error {
	found := map[string]bool{
		"any-bypass": len(r.Bypasses) > 0,
		"denial":     len(r.Denials) > 0,
		"damage":     r.Read.Malformed+r.Read.Incomplete+r.Read.Oversize+r.Read.UnknownVersion > 0,
	}
	for _, b := range r.Bypasses {
		found["bypass"] = found["bypass"] || b.Certain && (b.Kind == review.FailedOpen || b.Kind == review.NoDecision)
	}
	if r.Replay != nil {
		found["newly-denied"], found["newly-allowed"] = len(r.Replay.NewlyDenied) > 0, len(r.Replay.NewlyAllowed) > 0
	}
	if slices.ContainsFunc(o.failOn, func(kind string) bool { return found[kind] }) {
		return ErrFindings
	}
	return nil
}

// reviewReport is what -o json prints.
type reviewReport struct {
	*review.Review
	Replay *review.Replay `json:"replay,omitempty"`
}

// json writes what printJSON would, row by row: a review may have hundreds of thousands.
func (r reviewReport) json(out io.Writer) error {
	w := bufio.NewWriter(out)
	p := jsonRows{w: w}
	p.field("schema", r.Schema)
	p.field("from", r.From)
	p.field("to", r.To)
	p.rows("bypasses", len(r.Bypasses), func(i int) any { return &r.Bypasses[i] })
	p.rows("denials", len(r.Denials), func(i int) any { return &r.Denials[i] })
	p.rows("labelChanges", len(r.LabelChanges), func(i int) any { return &r.LabelChanges[i] })
	p.rows("accountUses", len(r.AccountUses), func(i int) any { return &r.AccountUses[i] })
	p.rows("policyChanges", len(r.PolicyChanges), func(i int) any { return &r.PolicyChanges[i] })
	p.field("decisions", r.Decisions)
	if len(r.NotShown) > 0 {
		p.field("notShown", r.NotShown)
	}
	if len(r.Notes) > 0 {
		p.field("notes", r.Notes)
	}
	p.field("read", r.Read)
	if r.Replay != nil {
		p.field("replay", r.Replay)
	}
	p.text("\n}\n")
	if p.err == nil {
		p.err = w.Flush()
	}
	if p.err != nil {
		return fmt.Errorf("write result: %w", p.err)
	}
	return nil
}

// jsonRows writes one JSON object field by field; after the first error nothing.
type jsonRows struct {
	w    *bufio.Writer
	some bool
	err  error
}

func (p *jsonRows) text(s string) {
	if p.err == nil {
		_, p.err = p.w.WriteString(s)
	}
}

func (p *jsonRows) name(name string) {
	if p.some {
		p.text(",")
	} else {
		p.text("{")
	}
	p.some = true
	p.text(fmt.Sprintf("\n    %q: ", name))
}

func (p *jsonRows) value(prefix string, v any) {
	if p.err != nil {
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "    ")
	if p.err = e.Encode(v); p.err == nil {
		_, p.err = p.w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	}
}

func (p *jsonRows) field(name string, v any) {
	p.name(name)
	p.value("    ", v)
}

func (p *jsonRows) rows(name string, n int, row func(int) any) {
	p.name(name)
	if n == 0 {
		p.text("[]")
		return
	}
	p.text("[")
	for i := range n {
		if i > 0 {
			p.text(",")
		}
		p.text("\n        ")
		p.value("        ", row(i))
	}
	p.text("\n    ]")
}

// lines writes every row as one JSON object with its view.
func (r reviewReport) lines(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	emit := func(view string, row any) error {
		return encoder.Encode(struct {
			View string `json:"view"`
			Row  any    `json:"row"`
		}{view, row})
	}
	var errs []error
	for i := range r.Bypasses {
		errs = append(errs, emit("bypass", &r.Bypasses[i]))
	}
	for i := range r.Denials {
		errs = append(errs, emit("denial", &r.Denials[i]))
	}
	for i := range r.LabelChanges {
		errs = append(errs, emit("labelChange", &r.LabelChanges[i]))
	}
	for i := range r.AccountUses {
		errs = append(errs, emit("accountUse", &r.AccountUses[i]))
	}
	for i := range r.PolicyChanges {
		errs = append(errs, emit("policyChange", &r.PolicyChanges[i]))
	}
	if r.Replay != nil {
		for i := range r.Replay.NewlyDenied {
			errs = append(errs, emit("newlyDenied", &r.Replay.NewlyDenied[i]))
		}
		for i := range r.Replay.NewlyAllowed {
			errs = append(errs, emit("newlyAllowed", &r.Replay.NewlyAllowed[i]))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// isTerminal reports whether a stream is shown to somebody.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
