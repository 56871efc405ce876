package hygiene

import "github.com/saguard/saguard/policy/selector"

// Divergence is one rule that [Strict] has and Calico has not. There is none in
// the other direction.
type Divergence struct {
	ID     string
	Holes  string // what it closes, by the numbers of DESIGN.md
	Rule   string
	Reason string
}

// The IDs of the divergences, next to those of package selector.
const (
	DivergenceAccountName      = "account-name"
	DivergenceAccountCount     = "account-count"
	DivergenceAccountsEmpty    = "accounts-empty"
	DivergenceAccountsUnscoped = "accounts-unscoped"
	DivergenceAccountsNegative = "accounts-negative"
	DivergenceEmbeddedMetadata = "embedded-metadata"
)

// Divergences lists them all, in a fixed order; --explain-differences prints it.
func Divergences() []Divergence {
	all := []Divergence{
		{
			ID: DivergenceAccountName, Holes: "F1, F2",
			Rule:   "serviceAccounts.names holds names of service accounts: DNS-1123 subdomains",
			Reason: "Calico pastes the names into a selector: a quote in one makes the rule match any peer, or becomes syntax",
		},
		{
			ID: DivergenceAccountCount, Holes: "F1",
			Rule:   "serviceAccounts.names has at most 256 entries",
			Reason: "the list is the only one in a rule that Calico's CRDs do not bound",
		},
		{
			ID: DivergenceAccountsEmpty, Holes: "F3",
			Rule:   "serviceAccounts names accounts or has a selector",
			Reason: "Calico reads serviceAccounts: {} as no condition at all: the rule matches any peer, not only of its namespace",
		},
		{
			ID: DivergenceAccountsUnscoped, Holes: "F4, F7",
			Rule: "a rule of a global policy that matches service accounts says in which namespaces",
			Reason: "without a namespaceSelector an account of that name or label in any namespace matches, " +
				"and whoever owns a namespace can create one; with global() only what imitates an account matches",
		},
		{
			ID: DivergenceAccountsNegative, Holes: "F6, F7",
			Rule: "an account selector is false of what has no service account",
			Reason: "Calico evaluates it on every endpoint: negative tests, and all() in a rule, are true of network sets " +
				"and host endpoints",
		},
		{
			ID: DivergenceEmbeddedMetadata, Holes: "F9",
			Rule:   "annotation projectcalico.org/metadata of a crd.projectcalico.org/v1 object holds valid metadata",
			Reason: "Calico takes the labels and annotations of such an object from there; nothing checks it on a direct write",
		},
	}
	for _, d := range selector.Divergences() {
		all = append(all, Divergence{ID: d.ID, Holes: "F8", Rule: d.Rule, Reason: d.Reason})
	}
	return all
}
