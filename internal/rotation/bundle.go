package rotation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

// maxForeign bounds the CAs in a caBundle that the store does not know: those of a former source of certificates, and of
// generations whose Secret was deleted. Beyond it the oldest go first.
const maxForeign = 16

// Bundle is the caBundle of one webhook of a configuration.
type Bundle struct {
	// Webhook is its name, by which it is written.
	Webhook string
	// CAs that it holds.
	CAs []*x509.Certificate
	// Damaged says that something in it is not a certificate.
	Damaged bool
}

// Text is a caBundle to be written.
type Text struct {
	Webhook string
	// PEM is empty where nothing is to be trusted.
	PEM []byte
}

// ParseBundle reads a caBundle in PEM.
func ParseBundle(webhook string, text []byte) Bundle {
	cas, rest := parseCAs(text)
	return Bundle{Webhook: webhook, CAs: cas, Damaged: rest}
}

// holds tells whether a CA is in the bundle.
func (b *Bundle) holds(ca Fingerprint) bool {
	return slices.ContainsFunc(b.CAs, func(c *x509.Certificate) bool { return fingerprint(c) == ca })
}

// repaired is the bundle with all that is wanted and without what has expired. What it holds beside that stays: somebody
// else may serve by it, such as replicas of the release before.
func (b *Bundle) repaired(wanted []*x509.Certificate, now time.Time, settle time.Duration) []*x509.Certificate {
	var foreign []*x509.Certificate
	known := fingerprints(wanted)
	for _, c := range unexpired(b.CAs, now, settle) {
		if !known[fingerprint(c)] {
			foreign = append(foreign, c)
		}
	}
	if len(foreign) > maxForeign {
		slices.SortStableFunc(foreign, func(x, y *x509.Certificate) int { return cmp.Compare(y.NotBefore.Unix(), x.NotBefore.Unix()) })
		foreign = foreign[:maxForeign]
	}
	// The order stays, so that a bundle in which nothing is missing is not written.
	keep := fingerprints(foreign)
	var out []*x509.Certificate
	for _, c := range b.CAs {
		if f := fingerprint(c); keep[f] || known[f] {
			out = addCAs(out, c)
		}
	}
	return addCAs(out, wanted...)
}

// parseCAs reads certificates in PEM; rest says that there is something else. Each certificate comes once.
func parseCAs(text []byte) (cas []*x509.Certificate, rest bool) {
	for len(bytes.TrimSpace(text)) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return cas, true
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			rest = true
			continue
		}
		cas = addCAs(cas, c)
	}
	return cas, rest
}

func encodeCAs(cas []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range cas {
		out.Write(encodePEM("CERTIFICATE", c.Raw))
	}
	return out.Bytes()
}

// addCAs appends those that are not there yet.
func addCAs(to []*x509.Certificate, more ...*x509.Certificate) []*x509.Certificate {
	for _, c := range more {
		if !slices.ContainsFunc(to, c.Equal) {
			to = append(to, c)
		}
	}
	return to
}

// unexpired leaves out what expired a settling time ago or earlier.
func unexpired(cas []*x509.Certificate, now time.Time, settle time.Duration) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range cas {
		if !now.After(c.NotAfter.Add(settle)) {
			out = append(out, c)
		}
	}
	return out
}

func fingerprints(cas []*x509.Certificate) map[Fingerprint]bool {
	out := map[Fingerprint]bool{}
	for _, c := range cas {
		out[fingerprint(c)] = true
	}
	return out
}
