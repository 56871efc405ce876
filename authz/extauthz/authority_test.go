package extauthz_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
)

// authority issues certificates with SPIFFE IDs, as a mesh does.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	return a
}

// issue makes a certificate for a SPIFFE ID, "" for none; for a server also by DNS name.
func (a *authority) issue(t testing.TB, id string, names ...string) tls.Certificate {
	t.Helper()
	return a.sign(t, id, names, func(*x509.Certificate) {})
}

func (a *authority) sign(t testing.TB, id string, names []string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{uri}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if id == "" {
		template.URIs = nil
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serving requires certificates of a.
func (a *authority) serving(c tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
}

// calling presents certificates to servers that a issued.
func (a *authority) calling(name string, c ...tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: c, RootCAs: a.pool, ServerName: name, MinVersion: tls.VersionTLS12}
}

// write puts a certificate and the authority into a folder, as a Secret is mounted: all files change at once.
func (a *authority) write(t testing.TB, dir string, c tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}, "ca.crt": {Type: "CERTIFICATE", Bytes: a.certificate.Raw},
	} {
		put(t, filepath.Join(dir, name), pem.EncodeToMemory(block))
	}
}

func put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// folder is a folder with a certificate and the authority.
func (a *authority) folder(t testing.TB, c tls.Certificate) *extauthz.Folder {
	t.Helper()
	dir := t.TempDir()
	a.write(t, dir, c)
	return extauthz.NewFolder(dir, "ca.crt", logr.Discard())
}

func proxies(t testing.TB, texts ...string) *authz.Proxies {
	t.Helper()
	p, err := authz.ParseProxies(texts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
