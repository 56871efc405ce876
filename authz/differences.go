package authz

import "github.com/saguard/saguard/policy"

// Differences returns the table of where strict semantics part from Calico's checker about identities and HTTP, in a fixed
// order. What policy itself reads differently is in [policy.Differences]. A strict decision is never OK where Calico's is
// not, but for what that table says. The ID of a row is the [Reason] of the refusals that it causes, where there is one.
func Differences() []policy.Difference {
	return []policy.Difference{
		{
			ID:     string(ReasonNoIdentity),
			Input:  "a request without a principal: plaintext, or a certificate without a name",
			Calico: "every service-account and namespace condition on the principal holds; the address alone decides",
			Strict: "refused, unless the server's namespace is configured to take plaintext",
			Why:    "whoever leaves the certificate out would meet one factor instead of two (D2)",
		},
		{
			ID:     string(ReasonMalformedIdentity),
			Input:  "a principal that is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME, or is not valid as a SPIFFE ID or service account",
			Calico: "counts as no principal, so that every condition on it holds",
			Strict: "refused, unless the server's namespace is configured to take plaintext",
			Why:    "an identity that cannot be read is not one that may do everything (D1)",
		},
		{
			ID:     string(ReasonForeignIdentity),
			Input:  "a principal of another trust domain",
			Calico: "the trust domain is not looked at",
			Strict: "refused, unless it is pinned or the server's namespace is configured to take plaintext",
			Why:    "a federated authority could name the accounts of this cluster (D3)",
		},
		{
			ID:     string(ReasonMismatch),
			Input:  "a principal of one account from the address of a pod of another",
			Calico: "each is compared with the rules, never with each other",
			Strict: "refused, plaintext namespaces included",
			Why:    "a stolen certificate must not work from another pod, nor a pod with another's certificate (D12)",
		},
		{
			ID:     string(ReasonUnknownAddress),
			Input:  "a source address that is missing, malformed or no pod's",
			Calico: "rules without an address condition match",
			Strict: "refused",
			Why:    "without an address there is no network identity, the second factor (D12)",
		},
		{
			ID:     string(ReasonSharedAddress),
			Input:  "a source address that several running pods claim",
			Calico: "it has the identity of each of them",
			Strict: "refused",
			Why:    "while an address changes hands, nobody knows whose it is",
		},
		{
			ID:     string(ReasonNoAccount),
			Input:  "a source pod without service account; or with one of which there is no object, where a rule for the server asks for account labels",
			Calico: "the account has no labels, so that negative conditions hold; with labels sent in the request, those",
			Strict: "refused",
			Why:    "the labels of an account that cannot be looked up are unknown, not absent (D5)",
		},
		{
			ID:     string(ReasonDestinationAddress),
			Input:  "a destination address that is not, or not only, the named server's",
			Calico: "the server is the sidecar's pod; the address is compared with rules",
			Strict: "refused",
			Why:    "the policies of one pod would judge a connection to another",
		},
		{
			ID:     string(ReasonDestinationIdentity),
			Input:  "a destination principal that is malformed, foreign, or of another account than the server's; none is accepted",
			Calico: "is compared with rules like the source's",
			Strict: "refused",
			Why:    "a proxy that serves under another account's name is not the server that the policies are about",
		},
		{
			ID:     string(ReasonAddressFamily),
			Input:  "source and destination addresses of two IP versions",
			Calico: "each is compared with rules by itself",
			Strict: "refused",
			Why:    "no connection has such addresses; nets of one version say nothing about the other",
		},
		{
			ID:     "namespace-by-network-set",
			Input:  "an Allow or Pass rule for a namespace (by namespaceSelector, or a selector in a namespaced policy) that a pod's address satisfies through a network set alone",
			Calico: "the principal's namespace is compared as well, if there is one that it can parse, with global() true of every namespace; the address decides otherwise",
			Strict: "the pod's own namespace has to match, at both ends; global() matches no pod",
			Why:    "who owns the address is known, and global() means what is in no namespace (D8)",
		},
		{
			ID:     "no-http",
			Input:  "a request without HTTP attributes, as the network filter sends it, and a rule with http",
			Calico: "the http match holds",
			Strict: "the rule does not match",
			Why:    "what is not known must not widen an Allow (D9)",
		},
		{
			ID:     "double-encoding",
			Input:  "a path that still holds a percent escape after decoding once",
			Calico: "matches no path rule if the escape is of '.', '/' or '\\'",
			Strict: "matches no path rule, whatever the escape",
			Why:    "a server that decodes twice would see another path",
		},
		{
			ID:     "path-bounds",
			Input:  "a path longer than 64 KiB",
			Calico: "is compared",
			Strict: "matches no path rule",
			Why:    "a check has bounded cost for every input",
		},
		{
			ID:     "request-labels",
			Input:  "labels of the source in the request",
			Calico: "count beside those of the account; the prediction leaves them out",
			Strict: "are not read",
			Why:    "whoever makes the request could give itself a label (D4)",
		},
	}
}
