package policy

// Difference is one row of the table of where [Strict] parts from [Calico]. A strict verdict is never Allow where
// Calico's is Deny, but for one case: where Calico drops a whole policy for a rule that does not parse, its other rules
// hold strictly, as they were written.
type Difference struct {
	ID     string // stable: the documentation's anchor
	Input  string // what the row is about
	Calico string // what Calico does
	Strict string // what saguard does
	Why    string

	row Semantics
}

// Differences returns the whole table, in a fixed order. "Deny-all" is a rule that denies everything, in the place of
// the rule that did not parse.
func Differences() []Difference {
	return []Difference{
		{
			ID: "account-name", row: rowAccountName,
			Input:  "serviceAccounts.names with an entry that is no DNS-1123 subdomain (quotes, blanks, upper case, empty)",
			Calico: "pastes the names into a selector: one quote makes the rule match any peer, a crafted name injects selector syntax",
			Strict: "deny-all in the rule's place",
			Why:    "the rule was meant for some accounts and would hold for everyone",
		},
		{
			ID: "selector-syntax", row: rowSelectorSyntax,
			Input:  "a selector that does not parse, or a Kubernetes label selector that the API server would refuse",
			Calico: "leaves out the serviceAccountSelector or namespaceSelector of a policy, which then applies to more; drops the whole policy for any other",
			Strict: "deny-all in the rule's place; if the policy's own selectors do not parse, deny-all for everything that those that do parse select",
			Why:    "a typing error must neither open a policy nor make it vanish",
		},
		{
			ID: "selector-bounds", row: rowSelectorBounds,
			Input:  "a selector longer than 1,024 bytes or nested deeper than 64",
			Calico: "accepts it (serviceAccounts.selector has no limit in the CRD)",
			Strict: "as a selector that does not parse",
			Why:    "evaluation has bounded cost for every input",
		},
		{
			ID: "account-sets", row: rowAccountSets,
			Input:  "a peer matched by service account (serviceAccounts, or a selector that reads pcsa.* or projectcalico.org/serviceaccount), where the address is only in a NetworkSet or GlobalNetworkSet",
			Calico: "a network set counts as an account if its own labels say so, and matches every negative account selector and all()",
			Strict: "Allow does not match, Deny matches as in Calico, and what Pass would match that way is denied",
			Why:    "an address range has no service account: whoever may label a set could give it one",
		},
		{
			ID: "empty-account-match", row: rowEmptyAccounts,
			Input:  "serviceAccounts: {}, without names and selector",
			Calico: "matches any peer, inside and outside the cluster",
			Strict: "Allow matches pods that have an account (of the policy's namespace in a NetworkPolicy), Deny any peer, and what Pass would match beyond that is denied",
			Why:    "an empty list of accounts reads as every account, not as everyone",
		},
		{
			ID: "rule-fields", row: rowRuleFields,
			Input:  "a rule with a field that is unknown, malformed or in conflict with another (nets, ports, protocol, icmp, action, ipVersion, http), or a policy with an unknown type or field",
			Calico: "leaves out a net that does not parse and a field it does not know, takes an empty action for Allow; drops the whole policy for the others; leaves out the whole Kubernetes rule for its ports",
			Strict: "deny-all in the rule's place, or for both directions of the policy if the field is outside the rules",
			Why:    "a match that is left out widens an Allow; a policy that is dropped opens everything",
		},
		{
			ID: "network-set-nets", row: rowNetworkSetNets,
			Input:  "a NetworkSet or GlobalNetworkSet with an entry that is no CIDR",
			Calico: "cannot convert the set",
			Strict: "its readable entries allow; where it denies, or where an Allow excludes it, it holds every address",
			Why:    "nobody knows which addresses the set was to hold",
		},
		{
			ID: "shared-address", row: rowSharedAddress,
			Input:  "one address that two or more running pods claim",
			Calico: "it is in a set if one of the pods is",
			Strict: "for Allow it is in a set if all of the pods are, for Deny if one is",
			Why:    "while an address changes hands, neither pod may profit from the other's identity",
		},
		{
			ID: "annotated-address", row: rowAnnotatedAddress,
			Input:  "a pod without addresses in its status, but with one in the annotations of Calico's or Amazon's CNI plugin",
			Calico: "takes the annotation's",
			Strict: "the pod has no address",
			Why:    "whoever may annotate a pod could claim another's address",
		},
		{
			ID: "mirror-pod-account", row: rowMirrorAccount,
			Input:  "a mirror pod, which has no service account, with a label projectcalico.org/serviceaccount",
			Calico: "believes the label",
			Strict: "the pod has no service account",
			Why:    "labels of a static pod are not an identity",
		},
		{
			ID: "services", row: rowServices,
			Input:  "a rule with services, which neither semantics supports",
			Calico: "matches the service's endpoints; the prediction is that the rule does not match, with a problem reported",
			Strict: "deny-all in the rule's place",
			Why:    "endpoints of services are not part of the model",
		},
	}
}
