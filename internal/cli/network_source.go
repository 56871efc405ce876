package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/internal/reachview"
	"github.com/saguard/saguard/policy"
)

// networkFlags say which cells of a map, and where pods without address are taken to be.
type networkFlags struct {
	from, to string
	podCIDR  string
}

func (f *networkFlags) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "Only what this NAMESPACE, NAMESPACE/ACCOUNT or address outside of the cluster may send.")
	c.Flags().StringVar(&f.podCIDR, "pod-cidr", offline.DefaultPodCIDR().String(), "Where pods of manifests that have no address yet are taken to be; matters to rules with nets.")
}

func (f *networkFlags) filter(flags *genericclioptions.ConfigFlags) reachview.Filter {
	return reachview.Filter{Namespace: *flags.Namespace, From: f.from, To: f.to}
}

func (f *networkFlags) addresses() (*offline.Addresses, error) {
	cidr, err := netip.ParsePrefix(f.podCIDR)
	if err != nil {
		return nil, fmt.Errorf("--pod-cidr: %w", err)
	}
	return offline.NewAddresses(cidr), nil
}

// readFiles reads objects and the templates of workloads.
func readFiles(paths []string, streams genericiooptions.IOStreams, sem policy.Semantics) (*offline.Objects, error) {
	objects, err := offline.ReadPaths(paths, streams.In, sem)
	if err != nil {
		return nil, err
	}
	return objects, objects.ReadTemplates()
}

// complete makes of manifests what a cluster would: pods of workloads, and namespaces.
func complete(objects *offline.Objects, addresses *offline.Addresses, sem policy.Semantics) error {
	if err := objects.StandIns(addresses, sem); err != nil {
		return err
	}
	objects.AssumeNamespaces()
	return nil
}

// stdinOnce refuses standard input for two things.
func stdinOnce(lists ...[]string) error {
	n := 0
	for _, l := range lists {
		if slices.Contains(l, "-") {
			n++
		}
	}
	if n > 1 {
		return errors.New("standard input (-) can be only one of the inputs")
	}
	return nil
}

// noteProblems writes what is wrong in the objects as they are together.
func noteProblems(streams genericiooptions.IOStreams, problems []policy.Problem) error {
	for _, p := range problems {
		if _, err := fmt.Fprintf(notesTo(streams), "problem: %v\n", p); err != nil {
			return err
		}
	}
	return nil
}

// notesTo escapes what a terminal would obey in the notes about objects.
func notesTo(streams genericiooptions.IOStreams) *escapedLines { return &escapedLines{streams.ErrOut} }

type escapedLines struct{ out io.Writer }

// Write writes one line.
func (e *escapedLines) Write(line []byte) (int, error) {
	return len(line), write(e.out, printers.EscapeTerminal(strings.TrimSuffix(string(line), "\n"))+"\n")
}

func sources(paths []string) string { return strings.Join(paths, ", ") }
