package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// apiServerName is the common name of the certificate by which the API server shows the webhook who it is.
const apiServerName = "kube-apiserver-to-webhooks"

// apiServer is what an API server needs for that: a CA, and a kubeconfig that an AdmissionConfiguration names.
type apiServer struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAPIServer(dir string) (*apiServer, error) {
	a := &apiServer{dir: dir}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "CA of API servers"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	own, err := a.issue(ca)
	if err != nil {
		return nil, err
	}
	key, ok := own.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key of CA is %T", own.PrivateKey)
	}
	a.cert, a.key = own.Leaf, key
	client, err := a.client(apiServerName)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return nil, err
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, content := range map[string]string{
		"ca.crt":     text("CERTIFICATE", a.cert.Raw),
		"client.crt": text("CERTIFICATE", client.Certificate[0]),
		"client.key": text("PRIVATE KEY", keyDER),
		"kubeconfig": fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","users":[{"name":"*","user":{"client-certificate":%q,"client-key":%q}}]}`,
			filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")),
		"admission.yaml": fmt.Sprintf(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AdmissionConfiguration","plugins":[
			{"name":"ValidatingAdmissionWebhook","configuration":{"apiVersion":"apiserver.config.k8s.io/v1","kind":"WebhookAdmissionConfiguration","kubeConfigFile":%[1]q}},
			{"name":"MutatingAdmissionWebhook","configuration":{"apiVersion":"apiserver.config.k8s.io/v1","kind":"WebhookAdmissionConfiguration","kubeConfigFile":%[1]q}}]}`,
			filepath.Join(dir, "kubeconfig")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// client makes a certificate of the CA with a common name.
func (a *apiServer) client(name string) (tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *apiServer) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return tls.Certificate{}, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
