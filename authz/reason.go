package authz

// Reason is a stable code for what decided. It is a closed set, and safe as a metric label.
type Reason string

// Outcomes of policy.
const (
	// ReasonRule: a rule allowed or denied.
	ReasonRule Reason = "policy-rule"
	// ReasonEndOfTier: policies of a tier apply, none decided, and the tier denies.
	ReasonEndOfTier Reason = "end-of-tier"
	// ReasonNoPolicy: no policy decided, and the namespace allows.
	ReasonNoPolicy Reason = "no-policy"
	// ReasonNoNamespace: no policy decided, and the server's namespace is not known.
	ReasonNoNamespace Reason = "no-namespace"
	// ReasonInvalidPath: a rule asks for the path, and the request's does not begin with a slash.
	ReasonInvalidPath Reason = "invalid-path"
)

// Refusals for want of an identity. Those that Calico does not know are the IDs of [Differences].
const (
	// ReasonServer: no pod, or more than one, owns the destination address.
	ReasonServer Reason = "unknown-server"
	// ReasonElsewhere: the server is a pod of another node.
	ReasonElsewhere Reason = "server-elsewhere"
	// ReasonDestinationAddress: the destination address is not the named server's.
	ReasonDestinationAddress Reason = "destination-address"
	// ReasonDestinationIdentity: the proxy's own certificate does not name the server's account.
	ReasonDestinationIdentity Reason = "destination-identity"
	// ReasonUnknownAddress: the source address is missing, malformed, or no pod's.
	ReasonUnknownAddress Reason = "unknown-address"
	// ReasonSharedAddress: several pods claim the source address.
	ReasonSharedAddress Reason = "shared-address"
	// ReasonAddressFamily: the addresses are of two IP versions.
	ReasonAddressFamily Reason = "address-family"
	// ReasonNoIdentity: there is no certificate, and the server's namespace does not take plaintext.
	ReasonNoIdentity Reason = "missing-identity"
	// ReasonMalformedIdentity: the certificate's name is not the SPIFFE ID of a service account.
	ReasonMalformedIdentity Reason = "malformed-identity"
	// ReasonForeignIdentity: the SPIFFE ID is of a trust domain that is not pinned.
	ReasonForeignIdentity Reason = "foreign-trust-domain"
	// ReasonMismatch: certificate and source address belong to two accounts.
	ReasonMismatch Reason = "identity-mismatch"
	// ReasonNoAccount: the pod that owns the source address has no account, or rules ask for labels of an account that has
	// no object.
	ReasonNoAccount Reason = "unknown-account"
)

// Reasons lists every reason that [Decide] gives.
func Reasons() []Reason {
	return []Reason{
		ReasonRule, ReasonEndOfTier, ReasonNoPolicy, ReasonNoNamespace, ReasonInvalidPath,
		ReasonServer, ReasonElsewhere, ReasonDestinationAddress, ReasonDestinationIdentity, ReasonUnknownAddress,
		ReasonSharedAddress, ReasonAddressFamily, ReasonNoIdentity, ReasonMalformedIdentity, ReasonForeignIdentity,
		ReasonMismatch, ReasonNoAccount,
	}
}
