package authz

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config says whose certificates count. The zero value trusts nobody: every certificate is foreign and no namespace takes
// plaintext (fails closed). It is immutable.
type Config struct {
	domains   []spiffeid.TrustDomain
	plaintext map[string]bool
	forwarded bool
	node      string
}

// ConfigOptions are the settings as they are written in flags.
type ConfigOptions struct {
	// TrustDomains are pinned: an identity of any other is foreign. At least one; names, without "spiffe://".
	TrustDomains []string
	// PlaintextNamespaces are the namespaces whose pods may be called without a usable certificate: missing, malformed and
	// foreign identities count as none there, and the source address alone says who calls.
	PlaintextNamespaces []string
	// ForwardedClientCert takes the identity from the header X-Forwarded-Client-Cert where the connection itself has none.
	// Set it only if every proxy that asks removes that header from what clients send (Envoy: SANITIZE_SET): else any
	// client can claim any name.
	ForwardedClientCert bool
	// Node is the only node whose pods are answered for; "" answers for every pod.
	Node string
}

var errNoTrustDomain = errors.New("at least one trust domain is required")

// NewConfig checks the settings. All errors are returned, joined.
func NewConfig(o ConfigOptions) (*Config, error) {
	c := &Config{plaintext: map[string]bool{}, forwarded: o.ForwardedClientCert, node: o.Node}
	var errs []error
	for _, name := range o.TrustDomains {
		domain, err := spiffeid.TrustDomainFromString(name)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("parse trust domain %q: %w", name, err))
		case domain.Name() != name:
			errs = append(errs, fmt.Errorf("parse trust domain %q: want the name alone, such as %s", name, domain.Name()))
		case !slices.Contains(c.domains, domain):
			c.domains = append(c.domains, domain)
		}
	}
	if len(o.TrustDomains) == 0 {
		errs = append(errs, errNoTrustDomain)
	}
	for _, name := range o.PlaintextNamespaces {
		if len(validation.IsDNS1123Label(name)) > 0 {
			errs = append(errs, fmt.Errorf("parse plaintext namespace %q: not the name of a namespace", name))
			continue
		}
		c.plaintext[name] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// trusts reports whether the trust domain is pinned.
func (c *Config) trusts(d spiffeid.TrustDomain) bool { return slices.Contains(c.domains, d) }
