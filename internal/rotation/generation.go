package rotation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// Generation is a CA and the one certificate it signed. It does not change, and prints without its key.
type Generation struct {
	ca   *x509.Certificate
	leaf *x509.Certificate
	pair tls.Certificate

	caPEM, certPEM, keyPEM []byte
}

// Fingerprint identifies a CA: the SHA-256 of its DER.
type Fingerprint [sha256.Size]byte

// fingerprint of a certificate.
func fingerprint(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// NewGeneration makes a CA and a certificate for the names, valid from an hour before now, since clocks differ, until
// validity after it. The key of the CA is gone when it returns.
func NewGeneration(now time.Time, validity time.Duration, names Names) (*Generation, error) {
	if len(names.DNS) == 0 {
		return nil, errors.New("make certificate: no DNS name")
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of CA: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	notBefore, notAfter := now.Add(-skew).UTC(), now.Add(validity).UTC()
	ca := &x509.Certificate{
		SerialNumber: serial,
		// Two CAs of the same name would be told apart by their keys only.
		Subject:   pkix.Name{CommonName: "saguard webhook CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:    x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Whoever trusts the CA trusts it for these names only.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names.DNS,
		PermittedIPRanges:           hosts(names.IPs),
	}
	if len(names.IPs) == 0 {
		ca.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if serial, err = newSerial(); err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "saguard webhook"},
		NotBefore:    notBefore, NotAfter: notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              names.DNS, IPAddresses: names.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return parseGeneration(encodePEM("CERTIFICATE", caDER), encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER))
}

// newSerial is positive and of 16 bytes.
func newSerial() (*big.Int, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("choose serial number: %w", err)
	}
	raw[0] = raw[0]&0x3f | 0x40
	return new(big.Int).SetBytes(raw), nil
}

func hosts(ips []net.IP) []*net.IPNet {
	var out []*net.IPNet
	for _, ip := range ips {
		if v4 := ip.To4(); v4 != nil {
			out = append(out, &net.IPNet{IP: v4, Mask: net.CIDRMask(32, 32)})
		} else {
			out = append(out, &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)})
		}
	}
	return out
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// errGeneration says that stored data is no generation. The text never holds any of the data.
var errGeneration = errors.New("not a CA with a certificate of its own and the key of that")

// parseGeneration reads what NewGeneration made, and nothing else: the key belongs to the certificate, and the CA signed it.
func parseGeneration(caPEM, certPEM, keyPEM []byte) (*Generation, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, errGeneration
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, errGeneration
	}
	cas, rest := parseCAs(caPEM)
	if len(cas) != 1 || rest || len(pair.Certificate) != 1 || !trusts(cas[0], leaf) {
		return nil, errGeneration
	}
	pair.Leaf = leaf
	return &Generation{
		ca: cas[0], leaf: leaf, pair: pair,
		caPEM: bytes.Clone(caPEM), certPEM: bytes.Clone(certPEM), keyPEM: bytes.Clone(keyPEM),
	}, nil
}

// trusts tells whether a client that trusts the CA takes the certificate, apart from the time, which usable looks at: its
// signature, what it is for, and that every name in it is one that the CA may sign for.
func trusts(ca, leaf *x509.Certificate) bool {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	at := leaf.NotBefore
	if ca.NotBefore.After(at) {
		at = ca.NotBefore
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at})
	return err == nil && ca.IsCA && !leaf.IsCA
}

// Certificate is what a TLS server serves.
func (g *Generation) Certificate() *tls.Certificate { return &g.pair }

// CA is the certificate that clients have to trust.
func (g *Generation) CA() *x509.Certificate { return g.ca }

// Fingerprint is the CA's.
func (g *Generation) Fingerprint() Fingerprint { return fingerprint(g.ca) }

// NotAfter is when it expires.
func (g *Generation) NotAfter() time.Time {
	if g.ca.NotAfter.Before(g.leaf.NotAfter) {
		return g.ca.NotAfter
	}
	return g.leaf.NotAfter
}

// Serial is the certificate's serial number in hexadecimal, as openssl prints it.
func (g *Generation) Serial() string { return hex.EncodeToString(g.leaf.SerialNumber.Bytes()) }

// Same compares, and takes nil.
func (g *Generation) Same(other *Generation) bool {
	if g == nil || other == nil {
		return g == other
	}
	return bytes.Equal(g.leaf.Raw, other.leaf.Raw) && bytes.Equal(g.ca.Raw, other.ca.Raw)
}

// usable tells whether clients that trust the CA take the certificate now, under every one of the names.
func (g *Generation) usable(now time.Time, names Names) bool {
	if g == nil || now.Before(g.leaf.NotBefore) || now.Before(g.ca.NotBefore) || now.After(g.NotAfter()) {
		return false
	}
	for _, name := range names.DNS {
		if g.leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range names.IPs {
		if g.leaf.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

// String names the generation and says nothing of its key, whatever the verb.
func (g *Generation) String() string {
	if g == nil {
		return "no certificate"
	}
	return "certificate " + g.Serial() + " until " + g.NotAfter().UTC().Format(time.RFC3339)
}

// GoString is String.
func (g *Generation) GoString() string { return g.String() }

// Format is String for every verb: the default forms would print the key.
func (g *Generation) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, g.String()) //nolint:errcheck // fmt.State keeps the error
}

// MarshalLog is what a logr logger prints.
func (g *Generation) MarshalLog() any { return g.String() }

// MarshalJSON is for loggers that reflect.
func (g *Generation) MarshalJSON() ([]byte, error) { return []byte(`"` + g.String() + `"`), nil }
