package authz

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"
)

// spiffeScheme begins every SPIFFE ID (SPIFFE-ID.md, section 2).
const spiffeScheme = "spiffe://"

// Proxies says whose certificates may ask over TCP: whoever may ask learns what policy says about any pod. The zero value
// and nil let nobody ask (fails closed). It is immutable.
type Proxies struct {
	ids   []spiffeid.ID
	below []spiffeid.ID
	names []string
}

var errNoProxy = errors.New("at least one SPIFFE ID or DNS name is required: a certificate of the authority alone lets nobody ask")

// ParseProxies reads SPIFFE IDs (spiffe://TRUST-DOMAIN/PATH), which a certificate has to have as its only URI; SPIFFE IDs that
// end in /*, which mean all IDs of more path segments; and DNS names, which a certificate has to have literally: wildcards
// are neither accepted nor matched. All errors are returned, joined.
func ParseProxies(texts []string) (*Proxies, error) {
	p := &Proxies{}
	var errs []error
	for _, text := range texts {
		if err := p.add(text); err != nil {
			errs = append(errs, fmt.Errorf("parse identity of a proxy %q: %w", text, err))
		}
	}
	if len(texts) == 0 {
		errs = append(errs, errNoProxy)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Proxies) add(text string) error {
	if !strings.HasPrefix(text, spiffeScheme) {
		if why := validation.IsDNS1123Subdomain(text); len(why) > 0 {
			return fmt.Errorf("neither a SPIFFE ID nor a DNS name: %s", why[0])
		}
		p.names = append(p.names, text)
		return nil
	}
	exact, wildcard := strings.CutSuffix(text, "/*")
	id, err := spiffeid.FromString(exact)
	switch {
	case err != nil:
		return err
	case id.String() != exact:
		return fmt.Errorf("want it as it stands in certificates: %s", id)
	case wildcard:
		p.below = append(p.below, id)
	case id.Path() == "":
		return errors.New("a trust domain is nobody's identity; spiffe://TRUST-DOMAIN/* means all of it")
	default:
		p.ids = append(p.ids, id)
	}
	return nil
}

// Allow reports whether the owner of a certificate may ask. The certificate has to be verified already.
func (p *Proxies) Allow(c *x509.Certificate) bool {
	if p == nil || c == nil {
		return false
	}
	if slices.ContainsFunc(c.DNSNames, func(name string) bool { return slices.Contains(p.names, strings.ToLower(name)) }) {
		return true
	}
	if len(c.URIs) != 1 {
		return false // X509-SVID.md, section 2: one URI, else nobody knows which of them is meant
	}
	id, err := spiffeid.FromURI(c.URIs[0])
	if err != nil {
		return false
	}
	return slices.Contains(p.ids, id) || slices.ContainsFunc(p.below, func(parent spiffeid.ID) bool {
		return id.MemberOf(parent.TrustDomain()) && strings.HasPrefix(id.Path(), parent.Path()+"/")
	})
}
