package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/internal/reach"
	"github.com/saguard/saguard/internal/reachview"
	"github.com/saguard/saguard/policy"
)

type diffOptions struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	files   []string
	to      []string
	change  []string
	deleted []string
	network networkFlags
	sem     semanticsFlags
	out     output
}

func newDiff(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &diffOptions{flags: flags, streams: streams}
	c := &cobra.Command{
		Use:   "diff (-f CHANGE... | -f BEFORE... --to AFTER... | [-f BASE...] [--change CHANGE...] [--delete KIND/NAMESPACE/NAME...])",
		Short: "Show what a change of labels or policies would newly allow or deny between service accounts",
		Long: `Show what a change of labels or policies would newly allow or deny between service accounts, and which rules say so before and after. What
is newly allowed comes first. It is exact for every protocol and port, not sampled; a verdict that another rule gives is no difference.

What is compared:
  -f CHANGE                              the cluster, and the cluster with the objects of CHANGE
  -f BEFORE --to AFTER                   two sets of manifests
  -f BASE --change CHANGE --delete ...   manifests, and the same with the objects of CHANGE and without those deleted
  --change CHANGE --delete ...           the cluster, likewise

An object of CHANGE stands in the place of the one with its kind, namespace and name, with all its labels; a Pod keeps its address. Workloads
(Deployments and the like) count with -f BASE or BEFORE only, as one pod each: their pods in a cluster are not changed by a manifest.

Exit codes, as of kubectl diff: 0 nothing differs, 1 something does, 2 the command could not do what it was asked.`,
		Example: `  # What would this change in the cluster?
  kubectl saguard diff -f change.yaml

  # In CI, without a cluster: before and after
  kubectl saguard diff -f main/manifests/ --to branch/manifests/

  # What if this policy went?
  kubectl saguard diff --delete networkpolicy.projectcalico.org/prod/db

  # Does it widen anything? (exit code 1 of diff: it differs)
  kubectl saguard diff -f manifests/ --change labels.yaml -o json | jq -e 'any(.changes[]; .now == "Allow") | not'`,
		Args: func(c *cobra.Command, args []string) error { return asTrouble(cobra.NoArgs(c, args)) },
		RunE: func(c *cobra.Command, _ []string) error {
			different, err := o.run(c.Context())
			if err != nil {
				return asTrouble(err)
			}
			if different {
				return ErrDifferences
			}
			return nil
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return asTrouble(err) })
	c.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "File, directory or - for standard input: alone, the change to what the cluster has; with --to, --change or --delete, what is before.")
	c.Flags().StringSliceVar(&o.to, "to", nil, "File, directory or -: what is after, complete.")
	c.Flags().StringSliceVar(&o.change, "change", nil, "File, directory or -: objects that are added or stand in the place of those of their name.")
	c.Flags().StringArrayVar(&o.deleted, "delete", nil, "KIND/NAMESPACE/NAME, or KIND/NAME of a cluster-scoped kind, of an object that goes; may be repeated.")
	o.network.addFlags(c)
	c.Flags().Lookup("from").Usage = "Only changes of what this NAMESPACE, NAMESPACE/ACCOUNT or address outside of the cluster may send."
	o.sem.addFlags(c)
	o.out.addFlags(c, formatTable, formatWide, formatJSON)
	return c
}

// run prints the differences and reports whether there are any.
func (o *diffOptions) run(ctx context.Context) (bool, error) {
	if o.sem.explain {
		return false, printDifferences(o.streams.Out, verdictDifferences())
	}
	if err := o.out.validate(); err != nil {
		return false, err
	}
	sem, err := o.sem.parse()
	if err != nil {
		return false, err
	}
	if err := stdinOnce(o.files, o.to, o.change); err != nil {
		return false, err
	}
	before, after, err := o.read(ctx, sem)
	if err != nil {
		return false, err
	}
	if err := after.Note(notesTo(o.streams)); err != nil {
		return false, err
	}
	c := reach.Compare(before.Snapshot(sem), after.Snapshot(sem))
	if err := noteProblems(o.streams, c.Problems()); err != nil {
		return false, err
	}
	filter := o.network.filter(o.flags)
	if err := filter.Check(c.Parties()); err != nil {
		return false, err
	}
	d := reachview.NewDiff(c, sem.String(), filter)
	if o.out.format == formatJSON {
		return len(d.Changes) > 0, printJSON(o.streams.Out, d)
	}
	return len(d.Changes) > 0, o.table(d)
}

// read returns what is before and what is after.
func (o *diffOptions) read(ctx context.Context, sem policy.Semantics) (before, after *offline.Objects, err error) {
	files, change := o.files, o.change
	overlaid := len(o.change)+len(o.deleted) > 0
	switch {
	case len(o.to) > 0 && (overlaid || len(files) == 0):
		return nil, nil, errors.New("--to says what is after: give what is before with -f, and neither --change nor --delete")
	case len(o.to) == 0 && !overlaid && len(files) == 0:
		return nil, nil, errors.New("give the change with -f, or see --help for other ways to compare")
	case len(o.to) == 0 && !overlaid:
		files, change = nil, o.files
	}
	addresses, err := o.network.addresses()
	if err != nil {
		return nil, nil, err
	}
	if before, err = o.base(ctx, files, sem); err != nil {
		return nil, nil, err
	}
	if len(o.to) > 0 {
		after, err = readFiles(o.to, o.streams, sem)
	} else {
		after, err = o.changed(before, change, len(files) > 0, sem)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 { // a cluster has its namespaces; pods of the change have no address yet
		return before, after, errors.Join(before.StandIns(addresses, sem), after.StandIns(addresses, sem))
	}
	if err := complete(before, addresses, sem); err != nil {
		return nil, nil, err
	}
	return before, after, complete(after, addresses, sem)
}

// base is of files, or of the cluster if there are none.
func (o *diffOptions) base(ctx context.Context, files []string, sem policy.Semantics) (*offline.Objects, error) {
	if len(files) > 0 {
		return readFiles(files, o.streams, sem)
	}
	objects, notes, err := readCluster(ctx, o.flags, sem)
	if err != nil {
		return nil, err
	}
	return objects, printNotes(o.streams.ErrOut, notes)
}

// changed is the base after the change. Workloads of the change count only if the base is of files.
func (o *diffOptions) changed(before *offline.Objects, change []string, templates bool, sem policy.Semantics) (*offline.Objects, error) {
	with := &offline.Objects{}
	if len(change) > 0 {
		read := func() (*offline.Objects, error) { return offline.ReadPaths(change, o.streams.In, sem) }
		if templates {
			read = func() (*offline.Objects, error) { return readFiles(change, o.streams, sem) }
		}
		var err error
		if with, err = read(); err != nil {
			return nil, err
		}
	}
	after := before.Overlay(with, sem)
	for _, name := range o.deleted {
		var err error
		if after, err = after.Delete(name); err != nil {
			return nil, fmt.Errorf("--delete: %w", err)
		}
	}
	return after, nil
}

func (o *diffOptions) table(d *reachview.Diff) error {
	if len(d.Changes) == 0 {
		return write(o.streams.ErrOut, "no difference\n")
	}
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Now"), column("From"), column("To"), column("Packets"), column("Pods"), column("Egress by"), column("Ingress by"),
		wideColumn("Egress was by"), wideColumn("Ingress was by"), wideColumn("Which pods"),
	}}
	for _, r := range d.Rows() {
		t.Rows = append(t.Rows, row(r.Now, r.From, r.To, r.Packets, r.Pods, r.EgressBy, r.IngressBy, r.WasEgressBy, r.WasIngressBy, r.Which))
	}
	return o.out.printTable(o.streams.Out, t)
}
