package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy/selector"
)

func newSelector(streams genericiooptions.IOStreams) *cobra.Command {
	var (
		lines bool
		sem   semanticsFlags
	)
	c := &cobra.Command{
		Use:   "selector --jsonl",
		Short: "Parse Calico selectors and match them against labels",
		Long: `Parse Calico selectors and match them against labels, one JSON object a line:

  in   {"selector": TEXT, "labels": [{KEY: VALUE, ...}, ...]}
  out  {"valid": BOOL, "normalized": TEXT, "error": TEXT, "matches": [BOOL, ...]}

matches has one entry for each of labels, in order. A line that cannot be read is answered with an error, and the stream goes on.`,
		Example: `  echo '{"selector":"role in {\"web\",\"db\"}","labels":[{"role":"web"},{}]}' | kubectl saguard selector --jsonl`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if sem.explain {
				return printDifferences(streams.Out, selectorDifferences())
			}
			semantics, err := sem.parse()
			if err != nil {
				return err
			}
			if !lines {
				return errors.New("--jsonl is needed: it is the only form so far")
			}
			return offline.SelectorLines(streams.In, streams.Out, semantics)
		},
	}
	c.Flags().BoolVar(&lines, "jsonl", false, "Read one selector with labels a line from standard input, and answer each with one line.")
	sem.addFlags(c)
	return c
}

func selectorDifferences() []difference {
	var out []difference
	for _, d := range selector.Divergences() {
		out = append(out, difference{id: d.ID, lines: [][2]string{{"calico", "accepts it"}, {"strict", d.Rule}, {"why", d.Reason}}})
	}
	return out
}
