package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

// checkFlags are the flags of check.
type checkFlags struct {
	files, rbac, guards []string
	user                string
	groups              []string
	excluded            []string
}

// connected reports that the cluster is asked for what the files do not say.
func (f *checkFlags) connected() bool { return len(f.rbac) == 0 || len(f.guards) == 0 }

func (f *checkFlags) validate() error {
	switch {
	case len(f.files) == 0:
		return errors.New("give the manifests with -f")
	case f.user == "":
		return errors.New("say with --as who would apply them")
	}
	stdin := 0
	for _, list := range [][]string{f.files, f.rbac, f.guards} {
		for _, p := range list {
			if p == "-" {
				stdin++
			}
		}
	}
	if stdin > 1 {
		return errors.New("-: standard input can be given once only")
	}
	return nil
}

func newCheck(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var (
		f   checkFlags
		out output
	)
	c := &cobra.Command{
		Use:   "check -f PATH... --as USER",
		Short: "Run the admission checks on manifests, as somebody",
		Long: `Run the admission checks on manifests, as somebody: the same checks and the same code as the webhook's.

Permissions come from the cluster, by SubjectAccessReview, or from the RBAC in the files of --rbac. Guards, bands and policies come from the
cluster, or all of them from the files of --guards. With both given no cluster is asked: every object counts as new, and a namespace has
the labels that its manifest in -f, --rbac or --guards says. Connected, an object that exists counts as updated the way "kubectl apply"
would.

The policies in -f count as applied: where a guard has fromPolicies, the keys that they read are guarded.

Exit codes: 0 no finding; 1 error, or an object that could not be judged; 3 findings, of whatever mode.`,
		Example: `  # What would be refused if alice applied this?
  kubectl saguard check -f manifests/ --as alice --as-group web

  # In CI, without a cluster
  kubectl saguard check -f manifests/ --as system:serviceaccount:ci:deployer --rbac rbac/ --guards guards.yaml -o json

  # Under RBAC that is only proposed
  kubectl saguard check -f manifests/ --as alice --rbac proposed-rbac/`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(out.validate(), f.validate()); err != nil {
				return err
			}
			return runCheck(c.Context(), &f, flags, streams, &out)
		},
	}
	out.addFlags(c, formatTable, formatWide, formatJSON, formatYAML, formatName)
	c.Flags().StringSliceVarP(&f.files, "filename", "f", nil, "File, directory (with all below it) or - for standard input, with the manifests to check.")
	c.Flags().StringVar(&f.user, "as", "", "User whose permissions count. (The caller is not impersonating: they need not be allowed to.)")
	c.Flags().StringArrayVar(&f.groups, "as-group", nil, "Group of the user; may be repeated. system:authenticated, and the groups of a service account, are added.")
	c.Flags().StringSliceVar(&f.rbac, "rbac", nil, "Files or directories with the RBAC that counts instead of the cluster's.")
	c.Flags().StringSliceVar(&f.guards, "guards", nil, "Files or directories with ServiceAccountGuards, PolicyBands and policies that count instead of the cluster's.")
	c.Flags().StringSliceVar(&f.excluded, "exclude-namespace", []string{"saguard-system"}, "Namespaces that the webhook never guards; kube-system always is one.")
	return c
}

func runCheck(ctx context.Context, f *checkFlags, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, out *output) error {
	in, notes, err := gatherCheck(ctx, f, flags, streams)
	if err != nil {
		return err
	}
	judge, err := webhook.NewOffline(in.world.cluster, in.authorizer, append([]string{metav1.NamespaceSystem}, f.excluded...)...)
	if err != nil {
		return err
	}
	if err := printNotes(streams.ErrOut, append(notes, in.world.problems...)); err != nil {
		return err
	}
	report, errJudge := checkAll(ctx, in.items, in.subject, in.live, judge)
	if err := out.print(streams.Out, report); err != nil {
		return err
	}
	if err := printNotes(streams.ErrOut, append(report.advice(), report.summary())); err != nil {
		return err
	}
	switch {
	case errJudge != nil:
		return fmt.Errorf("not everything could be judged: %w", errJudge)
	case report.anyFinding():
		return ErrFindings
	default:
		return nil
	}
}

// checkInput is all that check needs.
type checkInput struct {
	world      *checkWorld
	authorizer webhook.Authorizer
	subject    identity.Subject
	items      []checkItem
	live       liveObject
}
