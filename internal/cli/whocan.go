package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func newWhoCan(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var (
		where   place
		out     output
		account string
		files   []string
	)
	c := &cobra.Command{
		Use:   "who-can VERB KIND NAME",
		Short: "List who holds a permission, and which binding, role and rule grants it",
		Long: `List who holds a permission, and which binding, role and rule grants it.

VERB  use   put a label on a service account or take it off; run as an account; place policy in a band
      bind  write policy that refers to the label or account
KIND  label     NAME is KEY=VALUE; KEY=* (any value), PREFIX/* (any key of the prefix) and * (any label) list only who holds all of it
      account   NAME of a service account, or * for any
      band      NAME of a PolicyBand, or * for any

The namespace is that of -n or of the kubeconfig's context. With -A or --cluster-wide the list has only who holds the permission in
every namespace. RBAC is read from the cluster, or from files with -f; aggregated ClusterRoles of files are computed.

A group stands for its members, whom RBAC does not know. Who may impersonate a holder, or grant themselves the permission, is not
listed here; "kubectl saguard lint" tells.`,
		Example: `  # Who may put role=intern on any account of prod, or take it off?
  kubectl saguard who-can use label role=intern -n prod

  # ... on the account web (grants bound to that account count)?
  kubectl saguard who-can use label role=intern -n prod --account web

  # Who may put any value of the key?
  kubectl saguard who-can use label 'network.example.com/zone=*' -n prod

  # Who may run as web, who may write policy that names it, from files?
  kubectl saguard who-can use account web -n prod -f rbac/
  kubectl saguard who-can bind account web -n prod -f - < rbac.yaml

  # Who may place policy in the band developer of every namespace?
  kubectl saguard who-can use band developer -A -o name`,
		Args:              cobra.ExactArgs(3),
		ValidArgsFunction: completePermission,
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.validate(); err != nil {
				return err
			}
			p, err := parsePermission(args[0], args[1], args[2], account)
			if err != nil {
				return err
			}
			namespace, err := where.resolve(flags)
			if err != nil {
				return err
			}
			objects, err := loadRBAC(c.Context(), flags, streams, files, namespace)
			if err != nil {
				return err
			}
			r := whoCan(objects, p, namespace)
			if err := out.print(streams.Out, r); err != nil {
				return err
			}
			return printNotes(streams.ErrOut, append(r.boundNotes(), whoCanNotes()...))
		},
	}
	where.addFlags(c.Flags())
	out.addFlags(c, formatTable, formatWide, formatJSON, formatYAML, formatName)
	c.Flags().StringVar(&account, "account", "", "The one service account that the label is put on or taken off: grants bound to it count.")
	c.Flags().StringSliceVarP(&files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with the RBAC to look at instead of the cluster's.")
	return c
}

// whoCanNotes says what no list of RBAC can tell.
func whoCanNotes() []string {
	return []string{
		"this is what RBAC grants: webhook, node and other authorizers of the API server were not asked",
		"members of system:masters may do everything without RBAC; who they are, and who is in any other group, only the authenticator knows",
	}
}

// completePermission completes VERB and KIND.
func completePermission(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return []string{"use", "bind"}, cobra.ShellCompDirectiveNoFileComp
	case 1:
		if args[0] == "bind" {
			return []string{"label", "account"}, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"label", "account", "band"}, cobra.ShellCompDirectiveNoFileComp
	default:
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
