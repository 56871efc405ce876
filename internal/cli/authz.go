package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/offline"
)

func newAuthz(streams genericiooptions.IOStreams) *cobra.Command {
	var (
		lines   bool
		sem     semanticsFlags
		options authz.ConfigOptions
	)
	c := &cobra.Command{
		Use:   "authz --jsonl",
		Short: "Decide requests as the two-factor identity check does",
		Long: `Decide requests as the two-factor identity check of the agent does for Envoy, from manifests alone, one JSON object a line:

  in   {"name": TEXT, "objects": [OBJECT, ...], "checks": [{"server": "NAMESPACE/POD", "request": REQUEST}, ...]}
  out  {"name": TEXT, "checks": [{"decision": "OK|PERMISSION_DENIED|INVALID_ARGUMENT", "reason": TEXT}, ...]}

REQUEST has the attributes of Envoy's ext_authz, {"source": {"address", "port", "principal"}, "destination": {"address", "port", "principal"},
"http": {"method", "path", "host", "headers"}}, without http for a connection that is not HTTP. The server is the pod whose proxy asks; its
ingress policies decide.

Strictly, the certificate (principal) and the source address have to name one and the same service account. A scenario that cannot be
read gives {"name","error"} and the stream goes on.`,
		Example: `  # As the agent decides
  kubectl saguard authz --jsonl --trust-domain=cluster.local < scenarios.jsonl

  # As Calico's checker would decide
  kubectl saguard authz --jsonl --semantics=calico < scenarios.jsonl

  # In what the two differ
  kubectl saguard authz --explain-differences`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if sem.explain {
				return printDifferences(streams.Out, append(identityDifferences(), verdictDifferences()...))
			}
			semantics, err := sem.parse()
			if err != nil {
				return err
			}
			config, err := authz.NewConfig(options)
			if err != nil {
				return err
			}
			if !lines {
				return errors.New("--jsonl is needed: it is the only form so far")
			}
			return offline.AuthzLines(streams.In, streams.Out, streams.ErrOut, semantics, config)
		},
	}
	c.Flags().BoolVar(&lines, "jsonl", false, "Read scenarios from standard input, one a line, and answer each with one line.")
	c.Flags().StringSliceVar(&options.TrustDomains, "trust-domain", []string{"cluster.local"},
		"Trust domain whose identities count; all others are foreign. May be repeated.")
	c.Flags().StringSliceVar(&options.PlaintextNamespaces, "allow-plaintext", nil,
		"Namespace whose pods may be called without a usable certificate: there the source address alone says who calls. May be repeated.")
	c.Flags().BoolVar(&options.ForwardedClientCert, "trust-forwarded-client-cert", false,
		"Take the identity from x-forwarded-client-cert where the connection has none. Only for proxies that remove the header from what clients send.")
	sem.addFlags(c)
	return c
}

// identityDifferences is authz's table.
func identityDifferences() []difference {
	var out []difference
	for _, d := range authz.Differences() {
		out = append(out, difference{id: d.ID, lines: [][2]string{{"input", d.Input}, {"calico", d.Calico}, {"strict", d.Strict}, {"why", d.Why}}})
	}
	return out
}
