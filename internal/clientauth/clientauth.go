// Package clientauth decides who may connect to the webhook: API servers, by a certificate of a CA, and of that CA's
// clients those with an allowed name.
package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Refusal says why a client is refused; "" is accepted. It is a closed set: the value of a metric's label.
type Refusal string

// The refusals.
const (
	Accepted Refusal = ""
	// NoCertificate was shown.
	NoCertificate Refusal = "no-certificate"
	// Untrusted certificates are of another CA, not valid now, or not for clients.
	Untrusted Refusal = "untrusted"
	// Name of the certificate is not among those allowed.
	Name Refusal = "name"
)

// Judge looks at the certificates that a client showed, its own first. The one has to be for clients, valid now, of one of
// the roots; and its common name or one of its DNS names or URIs has to be among the names, letter by letter. No names allow
// every client of the roots.
func Judge(shown []*x509.Certificate, roots *x509.CertPool, names []string, now time.Time) Refusal {
	if len(shown) == 0 {
		return NoCertificate
	}
	intermediates := x509.NewCertPool()
	for _, c := range shown[1:] {
		intermediates.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	switch {
	case roots == nil || err != nil:
		return Untrusted // without roots crypto/x509 would take the system's
	case len(names) > 0 && !slices.ContainsFunc(namesOf(shown[0]), func(n string) bool { return slices.Contains(names, n) }):
		return Name
	}
	return Accepted
}

// namesOf a certificate; an empty name is none.
func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	if c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}

// Require makes a server ask every client for a certificate and judge it. It judges each connection anew: a session that is
// resumed would rest on the CA of the time when it began.
func (c *Clients) Require(config *tls.Config) {
	config.ClientAuth = tls.RequireAnyClientCert
	config.SessionTicketsDisabled = true
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if refusal := Judge(s.PeerCertificates, c.roots.Load(), c.names, c.now()); refusal != Accepted {
			c.refused.WithLabelValues(string(refusal)).Inc()
			return fmt.Errorf("client refused: %s", refusal)
		}
		return nil
	}
}
