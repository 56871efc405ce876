package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/offline"
)

func newVerdict(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var (
		files     []string
		flowsFile string
		flow      flowFlags
		lines     bool
		sem       semanticsFlags
		out       output
	)
	c := &cobra.Command{
		Use:   "verdict [-f PATH...] (--flows FILE | --from POD --to POD --port N)",
		Short: "Say whether network policy allows a flow, and which policy and rule decides",
		Long: `Say whether network policy allows a flow, and which tier, policy and rule decides. Objects come from the cluster, or with -f from
manifests: Pods (with status.podIPs), Namespaces, ServiceAccounts, Calico and Kubernetes policies, tiers and sets.

A flow is {from, to, protocol, port, sourcePort, icmpType, icmpCode, ipVersion}; from and to are NAMESPACE/POD or an IP address. FILE holds a
JSON array, a stream of JSON objects or a YAML list. Each verdict is given for egress at the source and ingress at the destination; one that
is empty belongs to an end that is no pod.

With --jsonl, standard input has one scenario a line, {"name","objects","flows"}, and standard output one answer a line; a scenario that
cannot be read gives {"name","error"} and the stream goes on.`,
		Example: `  # May web reach db?
  kubectl saguard verdict -f manifests/ --from prod/web-0 --to prod/db-0 --port 5432

  # A file of flows
  kubectl saguard verdict -f manifests/ --flows flows.json -o json

  # What is in the cluster now
  kubectl saguard verdict --from prod/web-0 --to 192.0.2.7 --port 443

  # Many scenarios, as Calico would decide them
  kubectl saguard verdict --jsonl --semantics=calico < scenarios.jsonl

  # In what the two semantics differ
  kubectl saguard verdict --explain-differences`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if sem.explain {
				return printDifferences(streams.Out, verdictDifferences())
			}
			if err := out.validate(); err != nil {
				return err
			}
			semantics, err := sem.parse()
			if err != nil {
				return err
			}
			if lines {
				if len(files) > 0 || flowsFile != "" || flow.given(c) {
					return errors.New("--jsonl: objects and flows come from standard input")
				}
				return offline.VerdictLines(streams.In, streams.Out, streams.ErrOut, semantics)
			}
			flows, err := flow.open(c, flowsFile, slices.Contains(files, "-"), streams.In)
			if err != nil {
				return err
			}
			config := offline.VerdictConfig{
				Paths: files, Flows: flows, Stdin: streams.In, Semantics: semantics,
				Format: offline.FormatTable, Out: streams.Out, Notes: streams.ErrOut,
			}
			if out.format == formatJSON {
				config.Format = offline.FormatJSON
			}
			if len(files) == 0 {
				objects, notes, err := readCluster(c.Context(), flags, semantics)
				if err != nil {
					return errors.Join(err, flows.Close())
				}
				if err := printNotes(streams.ErrOut, notes); err != nil {
					return errors.Join(err, flows.Close())
				}
				config.Objects = objects
			}
			return errors.Join(offline.Verdict(config), flows.Close())
		},
	}
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with the objects; without it, the cluster is read.")
	c.Flags().StringVar(&flowsFile, "flows", "", "File with flows; - for standard input.")
	flow.addFlags(c)
	c.Flags().BoolVar(&lines, "jsonl", false, "Read scenarios from standard input, one a line, and answer each with one line.")
	sem.addFlags(c)
	out.addFlags(c, formatTable, formatJSON)
	return c
}

// flowFlags are one flow on the command line.
type flowFlags struct {
	from, to, protocol string
	port               uint16
}

func (f *flowFlags) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "Source of one flow: NAMESPACE/POD or an IP address.")
	c.Flags().StringVar(&f.to, "to", "", "Destination of one flow: NAMESPACE/POD or an IP address.")
	c.Flags().StringVar(&f.protocol, "protocol", "TCP", "Protocol of one flow.")
	c.Flags().Uint16Var(&f.port, "port", 0, "Destination port of one flow.")
}

func (f *flowFlags) given(c *cobra.Command) bool {
	return slices.ContainsFunc([]string{"from", "to", "protocol", "port"}, c.Flags().Changed)
}

// open returns the flows: of the file, or the one of the flags.
func (f *flowFlags) open(c *cobra.Command, file string, stdinTaken bool, stdin io.Reader) (io.ReadCloser, error) {
	switch {
	case file != "" && f.given(c):
		return nil, errors.New("--flows and --from, --to, --protocol, --port: want one of them")
	case file == "-" && stdinTaken:
		return nil, errors.New("-f - and --flows -: standard input can be only one of them")
	case file == "-":
		return io.NopCloser(stdin), nil
	case file != "":
		in, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read flows: %w", err)
		}
		return in, nil
	case f.from == "" || f.to == "":
		return nil, errors.New("give the flows with --flows FILE, or one with --from, --to and --port")
	}
	one := map[string]any{"from": f.from, "to": f.to, "protocol": f.protocol}
	if c.Flags().Changed("port") {
		one["port"] = f.port
	}
	raw, err := json.Marshal(one)
	if err != nil {
		return nil, fmt.Errorf("encode flow: %w", err)
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}
