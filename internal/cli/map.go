package cli

import (
	"context"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/internal/reach"
	"github.com/saguard/saguard/internal/reachview"
	"github.com/saguard/saguard/policy"
)

// formatDOT is a value of --output that only map has.
const formatDOT = "dot"

type mapOptions struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	files   []string
	network networkFlags
	denied  bool
	title   string
	sem     semanticsFlags
	out     output
}

func newMap(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &mapOptions{flags: flags, streams: streams}
	c := &cobra.Command{
		Use:   "map [-f PATH...]",
		Short: "Show who can reach whom, service account by service account, and which policy says so",
		Long: `Show who can reach whom, service account by service account: the protocols and ports that egress at the source and ingress at the
destination both let pass, and which tier, policy and rule decides. It is exact for every protocol and port, not sampled.

Objects come from the cluster, or with -f from manifests: Pods, Namespaces, ServiceAccounts, Calico and Kubernetes policies, tiers and sets.
Of manifests, workloads (Deployments and the like) count as one pod each, with an address of --pod-cidr.

An account's pods may be treated differently, by their labels, named ports or IP versions. PODS is then "some", and -o wide says which; "all"
is every pod of the one with every pod of the other. Addresses outside of the cluster are rows of their own: 0.0.0.0/0, network sets, and
nets that rules speak of, less what is in a longer one.

-n shows what one end has in a namespace; without it, all namespaces are shown. -o html is a page of one file, to be looked at in a browser.`,
		Example: `  # What is allowed in the cluster
  kubectl saguard map

  # A page to look at: matrix, graph, filters, and what decides each cell
  kubectl saguard map -o html > map.html

  # Who can reach the account db of prod, and who cannot, and why
  kubectl saguard map --to prod/db --denied

  # Before anything is applied
  kubectl saguard map -f manifests/ -o wide

  # A picture, by Graphviz
  kubectl saguard map -n prod -o dot | dot -Tsvg > map.svg

  # Who may reach a database port, as JSON
  kubectl saguard map --to prod/db -o json | jq '.cells[] | select(any(.blocks[].packets[]; .ports == "5432")) | .from'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	c.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with the objects; without it, the cluster is read.")
	o.network.addFlags(c)
	c.Flags().StringVar(&o.network.to, "to", "", "Only what may be sent to this NAMESPACE, NAMESPACE/ACCOUNT or address outside of the cluster.")
	c.Flags().BoolVar(&o.denied, "denied", false, "Show in table and JSON what is denied, too, and what denies it.")
	c.Flags().StringVar(&o.title, "title", "Service account map", "Title of the HTML page.")
	o.sem.addFlags(c)
	o.out.addFlags(c, formatTable, formatWide, formatJSON, formatDOT, formatHTML)
	return c
}

func (o *mapOptions) run(ctx context.Context) error {
	if o.sem.explain {
		return printDifferences(o.streams.Out, verdictDifferences())
	}
	if err := o.out.validate(); err != nil {
		return err
	}
	sem, err := o.sem.parse()
	if err != nil {
		return err
	}
	objects, source, err := o.read(ctx, sem)
	if err != nil {
		return err
	}
	if err := objects.Note(notesTo(o.streams)); err != nil {
		return err
	}
	m := reach.New(objects.Snapshot(sem))
	if err := noteProblems(o.streams, m.Problems()); err != nil {
		return err
	}
	filter := o.network.filter(o.flags)
	if err := filter.Check(m.Parties()); err != nil {
		return err
	}
	switch o.out.format {
	case formatJSON:
		return printJSON(o.streams.Out, reachview.NewMap(m, sem.String(), filter, o.denied))
	case formatDOT:
		return write(o.streams.Out, reachview.DOT(m, filter))
	case formatHTML:
		return reachview.HTML(o.streams.Out, m, filter, reachview.Page{Title: o.title, Source: source, Semantics: sem.String()})
	}
	return o.table(m, filter)
}

// read returns the objects of files or of the cluster, and says which.
func (o *mapOptions) read(ctx context.Context, sem policy.Semantics) (*offline.Objects, string, error) {
	if len(o.files) == 0 {
		objects, notes, err := readCluster(ctx, o.flags, sem)
		if err != nil {
			return nil, "", err
		}
		return objects, clusterName(o.flags), printNotes(o.streams.ErrOut, notes)
	}
	addresses, err := o.network.addresses()
	if err != nil {
		return nil, "", err
	}
	objects, err := readFiles(o.files, o.streams, sem)
	if err != nil {
		return nil, "", err
	}
	return objects, sources(o.files), complete(objects, addresses, sem)
}

func (o *mapOptions) table(m *reach.Map, filter reachview.Filter) error {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("From"), column("To"), column("Packets"), column("Pods"), column("Egress by"), column("Ingress by"), wideColumn("Which pods"),
	}}
	for _, r := range reachview.Rows(m, filter, o.denied) {
		t.Rows = append(t.Rows, row(r.From, r.To, r.Packets, r.Pods, r.EgressBy, r.IngressBy, r.Which))
	}
	if err := o.out.printTable(o.streams.Out, t); err != nil {
		return err
	}
	return write(o.streams.ErrOut, reachview.Summary(m)+"\n")
}
