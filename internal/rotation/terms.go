package rotation

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// skew is how far clocks may be apart: certificates are valid from that long before they were made.
const skew = time.Hour

// Terms of a rotation.
type Terms struct {
	// Validity of a generation, from its making.
	Validity time.Duration
	// RenewBefore is how long before its end the next one is made.
	RenewBefore time.Duration
	// Settle is how long an API server may take to use a changed caBundle.
	Settle time.Duration
}

// Check refuses terms by which a rotation could not end in time.
func (t Terms) Check() error {
	switch {
	case t.Settle <= 0:
		return fmt.Errorf("settling time %s: want more than 0s", t.Settle)
	case t.RenewBefore < 2*t.Settle:
		return fmt.Errorf("renewal %s before the end: want at least twice the settling time %s", t.RenewBefore, t.Settle)
	case t.Validity <= t.RenewBefore:
		return fmt.Errorf("validity %s: want more than the %s before its end at which it is renewed", t.Validity, t.RenewBefore)
	}
	return nil
}

// Names are what clients call the server: DNS names and IP addresses.
type Names struct {
	DNS []string
	IPs []net.IP
}

// ParseNames sorts DNS names and IP addresses apart. There is at least one DNS name, which the certificate is named after.
func ParseNames(names []string) (Names, error) {
	var n Names
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			n.IPs = append(n.IPs, ip)
			continue
		}
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return Names{}, fmt.Errorf("name %q: %s", name, problems[0])
		}
		n.DNS = append(n.DNS, name)
	}
	if len(n.DNS) == 0 {
		return Names{}, fmt.Errorf("names %q: want at least one DNS name", names)
	}
	slices.Sort(n.DNS)
	n.DNS = slices.Compact(n.DNS)
	return n, nil
}

// with adds the names of a certificate.
func (n Names) with(leaf *x509.Certificate) Names {
	out := Names{DNS: slices.Concat(n.DNS, leaf.DNSNames), IPs: slices.Clone(n.IPs)}
	slices.Sort(out.DNS)
	out.DNS = slices.Compact(out.DNS)
	for _, ip := range leaf.IPAddresses {
		if !slices.ContainsFunc(out.IPs, ip.Equal) {
			out.IPs = append(out.IPs, ip)
		}
	}
	return out
}
