package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/hollow"
)

func newLint(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var (
		files []string
		in    lintInput
		fix   bool
		out   output
	)
	c := &cobra.Command{
		Use:   "lint",
		Short: "List who can get around a guard by RBAC that saguard does not grant",
		Long: `List who can get around a guard by RBAC that saguard does not grant: in the cluster, or in files with -f.

  wildcard            every verb on service accounts: use and bind of each are in it
  applies-everything  writes service accounts and workloads in every namespace: a GitOps account that applies for others
` + lintHelp() + `
  shadowed-policy     a policy that never matches, because another decides first; nothing is open by it, but its author may think so

OPEN says whether anything refuses the use of it: "yes" if admission never sees it; else the check that judges it and the weakest mode of
that check where the permission holds, from the ServiceAccountGuards of the cluster (or of the files, together with the Namespaces there).

The built-in ClusterRoles edit and admin let their holders impersonate every service account of the namespace; --fix prints RBAC that closes
that, and nothing else.

The control plane's own subjects are left out unless --all is given. Members of system:masters pass every check and are in no binding.

Exit codes: 0 nothing is open; 1 error; 3 something is open.`,
		Example: `  kubectl saguard lint
  kubectl saguard lint -f rbac/ -f guards.yaml -o json
  kubectl saguard lint --only impersonate,nodes-proxy -o wide

  # Take impersonation out of the built-in edit and admin
  kubectl saguard lint --fix | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.validate(); err != nil {
				return err
			}
			for _, id := range in.Only {
				if !slices.Contains(lintIDs(), id) {
					return fmt.Errorf("--only %q: want some of %s", id, strings.Join(lintIDs(), ", "))
				}
			}
			notes, err := in.gather(c.Context(), flags, streams, files)
			if err != nil {
				return err
			}
			if fix {
				closed := closingRoles(in.RBAC)
				var objects []runtime.Object
				for i := range closed {
					objects = append(objects, &closed[i])
				}
				if err := printObjects(streams.Out, out.format, objects); err != nil {
					return err
				}
				return printNotes(streams.ErrOut, fixNotes(closed))
			}
			result := lint(in)
			r := newLintReport(result)
			if err := out.print(streams.Out, r); err != nil {
				return err
			}
			if len(r.Findings)+len(r.ShadowedPolicies) == 0 {
				notes = append(notes, "nothing found")
			}
			if result.Builtin > 0 {
				notes = append(notes, fmt.Sprintf("%d grants to the control plane's own subjects are not shown: --all shows them", result.Builtin))
			}
			if err := printNotes(streams.ErrOut, append(notes, hollowNotes(in.RBAC)...)); err != nil {
				return err
			}
			if r.anyOpen() {
				return ErrFindings
			}
			return nil
		},
	}
	out.addFlags(c, formatTable, formatWide, formatJSON, formatYAML, formatName)
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with RBAC, ServiceAccountGuards, Namespaces, policies and Tiers to look at instead of the cluster's.")
	c.Flags().BoolVar(&in.All, "all", false, "Show the control plane's own subjects too.")
	c.Flags().StringSliceVar(&in.Only, "only", nil, "Look for these findings only.")
	c.Flags().BoolVar(&fix, "fix", false, "Print RBAC that takes impersonation out of the built-in ClusterRoles edit and admin.")
	return c
}

func lintHelp() string {
	var b strings.Builder
	for _, p := range append(hollow.Powers(), hollow.GuardScopePower()) {
		judged := ""
		if p.JudgedBy != "" {
			judged = " (judged by " + p.JudgedBy + ")"
		}
		fmt.Fprintf(&b, "  %-20s%s%s\n", p.ID, p.Why, judged)
	}
	return b.String()
}
