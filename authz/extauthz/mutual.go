package extauthz

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/saguard/saguard/authz"
)

// Credentials are what a TCP endpoint serves with; [*Folder] reads them from files. Current is called for each connection.
type Credentials interface {
	// Current returns the certificate with its key, and the authorities that proxies' certificates have to come from. With
	// an error nobody is served.
	Current() (*tls.Certificate, *x509.CertPool, error)
}

// MutualTLS says with what a TCP endpoint is served, and whom.
type MutualTLS struct {
	// Credentials are required.
	Credentials Credentials
	// Proxies may ask. A certificate of the authority that names none of them is refused in the handshake.
	Proxies *authz.Proxies
}

// maxConnectionAge is how long a proxy may keep a TCP connection: then it shows its certificate again, so that one that
// expired, or an authority that was taken away, ends within that time.
const maxConnectionAge = 15 * time.Minute

var (
	errNoCredentials = errors.New("no certificate or no authority is loaded")
	errNotAllowed    = errors.New("the certificate names nobody who may ask")
)

// config requires certificates; protocol is the one that is offered to clients (ALPN). What a handshake goes by is looked up
// when it begins. There are no session tickets: each connection shows a certificate. refused is called for each connection
// that this code turns away.
func (m *MutualTLS) config(protocol string, refused func(error)) *tls.Config {
	// Envoy's clients offer 1.2 unless told otherwise (tls_maximum_protocol_version).
	base := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}, SessionTicketsDisabled: true,
		ClientAuth: tls.RequireAndVerifyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.VerifiedChains) > 0 && m.Proxies.Allow(state.PeerCertificates[0]) {
				return nil
			}
			refused(errNotAllowed)
			return errNotAllowed
		},
	}
	out := base.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		certificate, authorities, err := m.Credentials.Current()
		if err == nil && (certificate == nil || authorities == nil) {
			// Without authorities Go would go by the system's. Fails closed.
			err = errNoCredentials
		}
		if err != nil {
			refused(err)
			return nil, err
		}
		c := base.Clone()
		c.Certificates, c.ClientCAs = []tls.Certificate{*certificate}, authorities
		return c, nil
	}
	return out
}

func (m *MutualTLS) validate(name string) error {
	switch {
	case m == nil || m.Credentials == nil:
		return fmt.Errorf("authz options: %s.Address needs TLS with Credentials", name)
	case m.Proxies == nil:
		return fmt.Errorf("authz options: %s.TLS.Proxies is required: a certificate alone lets nobody ask", name)
	}
	return nil
}
