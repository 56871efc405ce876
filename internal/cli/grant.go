package cli

import (
	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func newGrant(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var (
		where    place
		out      output
		account  string
		name     string
		subjects subjectFlags
	)
	c := &cobra.Command{
		Use:   "grant VERB KIND NAME... (-n NAMESPACE | --cluster-wide) (--user U | --group G | --serviceaccount NAMESPACE:NAME)...",
		Short: "Print the RBAC that grants a permission, to be applied with kubectl",
		Long: `Print the RBAC that grants a permission, to be applied with kubectl: a Role and a RoleBinding, or with --cluster-wide a
ClusterRole and a ClusterRoleBinding. Nothing is changed and no cluster is asked.

("kubectl create role" refuses the verbs use and bind on these resources; "kubectl apply" does not.)

VERB, KIND and NAME are those of "who-can". The rule holds exactly the names given, so afterwards the "kubectl auth can-i" line of a
denial answers yes. RBAC compares names literally: of a grant for KEY=*, PREFIX/* or one --account, "kubectl auth can-i" for
KEY=VALUE still answers no, and saguard allows.

The objects are named after the permission and the subjects, so that a later grant never replaces an earlier one; --name names them
otherwise, and then applying a second grant of that name takes the first away.`,
		Example: `  # alice may put role=intern on accounts of prod, and take it off
  kubectl saguard grant use label role=intern -n prod --user alice | kubectl apply -f -

  # the group web may run pods as web and as web-canary
  kubectl saguard grant use account web web-canary -n prod --group web | kubectl apply -f -

  # a deployer may label the one account web, with any value of the key
  kubectl saguard grant use label 'role=*' -n prod --account web --serviceaccount ci:deployer

  # security may write policy about role=trusted everywhere
  kubectl saguard grant bind label role=trusted --cluster-wide --group security --name security-trusted`,
		Args:              cobra.MinimumNArgs(3),
		ValidArgsFunction: completePermission,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := out.validate(); err != nil {
				return err
			}
			namespace, err := where.explicit(flags)
			if err != nil {
				return err
			}
			who, err := subjects.parse()
			if err != nil {
				return err
			}
			r := grantRequest{name: name, namespace: namespace, subjects: who}
			for _, arg := range args[2:] {
				p, err := parsePermission(args[0], args[1], arg, account)
				if err != nil {
					return err
				}
				r.permissions = append(r.permissions, p)
			}
			objects, err := r.manifests()
			if err != nil {
				return err
			}
			if err := printObjects(streams.Out, out.format, objects); err != nil {
				return err
			}
			return printNotes(streams.ErrOut, r.notes())
		},
	}
	where.addFlags(c.Flags())
	out.addFlags(c, formatYAML, formatJSON)
	subjects.addFlags(c.Flags())
	c.Flags().StringVar(&account, "account", "", "Limit a label permission to this one service account.")
	c.Flags().StringVar(&name, "name", "", "Name of the role and binding; by default made from the permission and the subjects.")
	return c
}

// everyoneGroup reports whether s is a group that most, or all, callers are in.
func everyoneGroup(s rbacv1.Subject) bool {
	switch s.Name {
	case "system:authenticated", "system:unauthenticated", "system:serviceaccounts":
		return s.Kind == rbacv1.GroupKind
	default:
		return false
	}
}
