// Package authz is the two-factor identity check: whether the service account that a certificate names and the pod that owns
// the source address are one and the same, and whether policy lets that account do what it asks, HTTP methods and paths
// included. [Decide] is pure: a snapshot, a configuration and a request in, a decision out. authz/extauthz serves it to
// proxies.
//
// Strict semantics, which is what the server enforces, first establish who is there:
//
//   - the network identity is the account of the one pod that owns the source address; where no pod or several pods claim
//     the address it is Unknown;
//   - the cryptographic identity is the account in the peer's SPIFFE ID, spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME, of a
//     pinned trust domain;
//   - both have to be known and the same. Where the server's namespace is configured to take plaintext, the network
//     identity alone is enough; a certificate that names another account is refused there too.
//
// Then the server's ingress policies are evaluated, as on the packet path, with the HTTP conditions. Nothing that a request
// says about labels is read. Each place where this parts from Calico's checker is a row of [Differences]; with a snapshot of
// Calico's semantics Decide predicts that checker instead, holes included.
package authz
