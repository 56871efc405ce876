package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Options are what the process gives to the commands.
type Options struct {
	Streams genericiooptions.IOStreams
	// Version is what `version` prints.
	Version string
}

// NewCommand returns `kubectl saguard` with all its commands.
func NewCommand(o Options) *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true)
	c := &cobra.Command{
		Use:   "kubectl-saguard",
		Short: "Service accounts as a network-security boundary that RBAC controls",
		Long: `Service accounts as a network-security boundary that RBAC controls.

saguard's permissions are plain RBAC rules, and these commands ask for them, grant them and check manifests against them,
on a cluster or on files (-f).

Exit codes: 0 the command did what it was asked; 1 it could not, and says why on standard error; 3 the checks of "check",
"lint" and "scan" found something. "diff" has the exit codes of kubectl diff: 0 no difference, 1 differences, 2 it could not.

Shell completion: "kubectl saguard completion SHELL" prints the script for kubectl-saguard. For completion behind kubectl, put
an executable kubectl_complete-saguard into the PATH that runs: kubectl-saguard __complete "$@"`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl saguard"},
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetIn(o.Streams.In)
	c.SetOut(o.Streams.Out)
	c.SetErr(o.Streams.ErrOut)
	flags.AddFlags(c.PersistentFlags())
	c.AddCommand(
		newWhoCan(flags, o.Streams),
		newGrant(flags, o.Streams),
		newCheck(flags, o.Streams),
		newLint(flags, o.Streams),
		newScan(flags, o.Streams, o.Version),
		newVerdict(flags, o.Streams),
		newMap(flags, o.Streams),
		newDiff(flags, o.Streams),
		newSelector(o.Streams),
		newAuthz(o.Streams),
		newValidate(o.Streams),
		newReview(flags, o.Streams, o.Version),
		newVersion(o),
	)
	return c
}
