package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/internal/scan"
)

// formatOpenReports is a further value of scan's --output.
const formatOpenReports = "openreports"

// The values of --fail-on beside the certainties.
const (
	failOnViolation = "violation"
	failOnUnjudged  = "unjudged"
	failOnNever     = "never"
)

type scanOptions struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	version string
	out     output

	files      []string
	excluded   []string
	only       []string
	failOn     []string
	noProgress bool
}

func newScan(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, version string) *cobra.Command {
	o := &scanOptions{flags: flags, streams: streams, version: version}
	c := &cobra.Command{
		Use:   "scan",
		Short: "List what exists and would be refused today",
		Long: `List what exists and would be refused today: in the cluster, or in files with -f.

The webhook judges what is written from now on. What was there before a guard, or was written while the webhook was down, it has never seen.
scan runs the same checks on every service account, workload, policy, network set, namespace, role binding, guard and band that is there, and
looks for RBAC by which somebody can get around the guards (` + scan.CheckHollow + `, as "lint"). What built-in controllers made of a template is judged by
its template. CERTAINTY says what a finding rests on:

  certain         no permission would let anybody write it
  author-may-not  it is known who put it there, and they may no longer
  nobody-may      what it takes is granted to nobody by the name of the verb; holders of every verb ("*") might all the same
  unjudged        it could not be judged, and may be in order or not: nobody knows who put a label, of which groups they are, the object of a
                  namespace that is not known, what may not be listed

MODE is what the guards make of it: Enforce would refuse it. Secrets are not read from a cluster: whoever may list them may read every token.
The webhook does the same at intervals, and says so in the status of the guards, as metrics and as OpenReports.

Exit codes: 0 nothing of what --fail-on names; 1 error; 3 something of it.`,
		Example: `  kubectl saguard scan
  kubectl saguard scan -o wide --only policy-hygiene,label-use

  # Manifests, with the guards, the RBAC and the namespaces among them
  kubectl saguard scan -f cluster/ -o sarif > scan.sarif

  # In CI: fail also on what could not be judged
  kubectl saguard scan -f cluster/ -o junit --fail-on violation,unjudged > scan.xml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	o.out.addFlags(c, formatTable, formatWide, formatJSON, formatYAML, formatName, formatSARIF, formatJUnit, formatOpenReports)
	f := c.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with all that is looked at instead of the cluster.")
	f.StringSliceVar(&o.excluded, "exclude-namespace", review.DefaultUnguarded(), "Namespaces that the webhook never guards; by default those of the chart.")
	f.StringSliceVar(&o.only, "only", nil, "Look for these findings only.")
	f.StringSliceVar(&o.failOn, "fail-on", []string{failOnViolation}, "Exit with 3 if something of these is found: "+strings.Join(scanFailKinds(), ", ")+".")
	f.BoolVar(&o.noProgress, "no-progress", false, "No progress on standard error.")
	completeFlag(c, "only", scan.Checks()...)
	completeFlag(c, "fail-on", scanFailKinds()...)
	return c
}

func scanFailKinds() []string {
	out := []string{failOnViolation}
	for _, c := range scan.Certainties() {
		out = append(out, string(c))
	}
	return append(out, failOnUnjudged, failOnNever)
}

func (o *scanOptions) validate() error {
	if err := o.out.validate(); err != nil {
		return err
	}
	for _, id := range o.only {
		if !slices.Contains(scan.Checks(), id) {
			return fmt.Errorf("--only %q: want some of %s", id, strings.Join(scan.Checks(), ", "))
		}
	}
	for _, kind := range o.failOn {
		if !slices.Contains(scanFailKinds(), kind) {
			return fmt.Errorf("--fail-on %q: want some of %s", kind, strings.Join(scanFailKinds(), ", "))
		}
		if kind == failOnNever && len(o.failOn) > 1 {
			return errors.New("--fail-on never: goes with nothing else")
		}
	}
	return nil
}

func (o *scanOptions) run(ctx context.Context) error {
	if err := o.validate(); err != nil {
		return err
	}
	var (
		result *scan.Result
		notes  []string
		err    error
	)
	if len(o.files) > 0 {
		result, notes, err = o.scanFiles(ctx)
	} else {
		result, notes, err = o.scanCluster(ctx)
	}
	if err != nil {
		return err
	}
	report := &scanReport{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "Scan"}, Result: result}
	if err := o.print(report); err != nil {
		return err
	}
	if err := printNotes(o.streams.ErrOut, slices.Concat(notes, report.wanted(), []string{report.summary()})); err != nil {
		return err
	}
	if report.found(o.failOn) {
		return ErrFindings
	}
	return nil
}

// scanReport is the result of scan.
type scanReport struct {
	metav1.TypeMeta `json:",inline"`
	*scan.Result    `json:",inline"`
}

func (r *scanReport) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Object"), column("Check"), column("Certainty"), column("Mode"), column("Reason"), wideColumn("Field"), wideColumn("Can-I"), wideColumn("Guards"),
	}}
	for i := range r.Violations {
		v := &r.Violations[i]
		check := v.Check
		if v.Power != "" {
			check += "/" + v.Power
		}
		t.Rows = append(t.Rows, row(v.Object.String(), check, string(v.Certainty), cmp.Or(string(v.Mode), "-"), v.Reason, cmp.Or(v.Field, "-"),
			cmp.Or(strings.Join(v.CanI, "; "), "-"), cmp.Or(strings.Join(v.Guards, ","), "-")))
	}
	for i := range r.Unjudged {
		u := &r.Unjudged[i]
		t.Rows = append(t.Rows, row(u.Object.String(), cmp.Or(u.Check, "-"), failOnUnjudged, "-", u.Reason, cmp.Or(u.Field, "-"), "-", cmp.Or(strings.Join(u.Guards, ","), "-")))
	}
	return t
}

// names are the objects with violations.
func (r *scanReport) names() []string {
	var out []string
	for i := range r.Violations {
		kind, name, _ := strings.Cut(r.Violations[i].Object.String(), " ")
		out = append(out, strings.ToLower(kind)+"/"+name)
	}
	return slices.Compact(out)
}

func (r *scanReport) byCertainty() map[scan.Certainty]int64 {
	out := make(map[scan.Certainty]int64)
	for _, counts := range r.ByCheck {
		for c, n := range counts {
			out[c] += n
		}
	}
	return out
}

func (r *scanReport) summary() string {
	n := r.byCertainty()
	return fmt.Sprintf("scanned: objects %d, violations %d (certain %d, author-may-not %d, nobody-may %d), not judged %d",
		r.Objects, r.Total, n[scan.Certain], n[scan.AuthorMayNot], n[scan.NobodyMay], r.TotalUnjudged)
}

// maxWanted is how many grants are named that would clear the most.
const maxWanted = 5

// wanted names the grants that most violations lack.
func (r *scanReport) wanted() []string {
	lacking := map[string]int{}
	for i := range r.Violations {
		if v := &r.Violations[i]; len(v.Grant) == 1 {
			lacking[v.Grant[0]]++
		}
	}
	hints := make([]string, 0, len(lacking))
	for h := range lacking {
		hints = append(hints, h)
	}
	slices.SortFunc(hints, func(a, b string) int { return cmp.Or(cmp.Compare(lacking[b], lacking[a]), cmp.Compare(a, b)) })
	var out []string
	for _, h := range hints[:min(len(hints), maxWanted)] {
		out = append(out, fmt.Sprintf("%d would be cleared, if it is meant to be so, by: %s", lacking[h], h))
	}
	return out
}

func (r *scanReport) found(failOn []string) bool {
	n := r.byCertainty()
	return slices.ContainsFunc(failOn, func(kind string) bool {
		switch kind {
		case failOnViolation:
			return r.Total > 0
		case failOnUnjudged:
			return r.TotalUnjudged > 0
		default:
			return n[scan.Certainty(kind)] > 0
		}
	})
}
