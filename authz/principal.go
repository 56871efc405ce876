package authz

import (
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
)

// maxPrincipal is the longest SPIFFE ID in bytes (SPIFFE-ID.md, section 2.3).
const maxPrincipal = 2048

// cryptographic is the account that a principal names: Absent for an empty one, Unknown with a Reason if it is malformed or
// of a foreign trust domain.
func (c *Config) cryptographic(principal string) decision.Fact[identity.ServiceAccount] {
	if principal == "" {
		return decision.Absent[identity.ServiceAccount]()
	}
	if len(principal) > maxPrincipal {
		return unknownAccount(ReasonMalformedIdentity)
	}
	id, err := spiffeid.FromString(principal)
	if err != nil {
		return unknownAccount(ReasonMalformedIdentity)
	}
	account, ok := accountOf(id.Path())
	if !ok {
		return unknownAccount(ReasonMalformedIdentity)
	}
	if !c.trusts(id.TrustDomain()) {
		return unknownAccount(ReasonForeignIdentity)
	}
	return decision.Known(account)
}

// accountOf parses /ns/NAMESPACE/sa/NAME, the path of Istio's identities (istio/pkg/spiffe).
func accountOf(path string) (identity.ServiceAccount, bool) {
	rest, ok := strings.CutPrefix(path, "/ns/")
	if !ok {
		return identity.ServiceAccount{}, false
	}
	namespace, name, ok := strings.Cut(rest, "/sa/")
	if !ok {
		return identity.ServiceAccount{}, false
	}
	account, err := identity.NewServiceAccount(namespace, name)
	return account, err == nil
}

func unknownAccount(why Reason) decision.Fact[identity.ServiceAccount] {
	return decision.Unknown[identity.ServiceAccount](string(why))
}
