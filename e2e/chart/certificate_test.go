package chart

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// clientConfigs of every webhook of both configurations.
func clientConfigs(t testing.TB, rendered *Rendered) []admissionregistrationv1.WebhookClientConfig {
	t.Helper()
	var configs []admissionregistrationv1.WebhookClientConfig
	for _, hook := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered).Webhooks {
		configs = append(configs, hook.ClientConfig)
	}
	for _, hook := range one[*admissionregistrationv1.MutatingWebhookConfiguration](t, rendered).Webhooks {
		configs = append(configs, hook.ClientConfig)
	}
	return configs
}

func mountedSecret(t testing.TB, rendered *Rendered) string {
	t.Helper()
	return one[*appsv1.Deployment](t, rendered).Spec.Template.Spec.Volumes[0].Secret.SecretName
}

func TestHelmCertificateIsTheOneThatTheWebhooksTrust(t *testing.T) {
	rendered := render(t, cases["helm"])
	secret := one[*corev1.Secret](t, rendered)
	if got := mountedSecret(t, rendered); got != secret.Name {
		t.Errorf("the pods mount Secret %q, the chart makes %q", got, secret.Name)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	configs := clientConfigs(t, rendered)
	if len(configs) == 0 {
		t.Error("no webhooks")
	}
	for _, config := range configs {
		if !bytes.Equal(config.CABundle, secret.Data["ca.crt"]) {
			t.Fatal("a caBundle is not the ca.crt of the Secret")
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(config.CABundle) {
			t.Fatal("caBundle holds no certificate")
		}
		host := config.Service.Name + "." + config.Service.Namespace + ".svc"
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Error(err)
		}
	}
	if leaf.IsCA {
		t.Error("the serving certificate can sign others")
	}
	if years := time.Until(leaf.NotAfter).Hours() / 24 / 365; years < 9.9 {
		t.Errorf("valid for %.1f years; nothing renews it, so it must be 10", years)
	}
	if _, ok := secret.Data["ca.key"]; ok {
		t.Error("the key of the CA is kept")
	}
}

func TestClientConfigIsServiceOrURLWithTheRightBundle(t *testing.T) {
	tests := map[string]struct {
		url      string // of validation; empty means the Service
		bundle   string // empty: none; "helm": the generated one
		injected bool
	}{
		"default":                         {},
		"self-rotating-url":               {url: "https://10.0.0.7:10250/validate"},
		"helm":                            {bundle: "helm"},
		"url":                             {url: "https://10.0.0.7:10250/validate", bundle: caBundle},
		"secret":                          {bundle: caBundle},
		"cert-manager":                    {injected: true},
		"cert-manager-own-issuer-and-url": {url: "https://saguard.example.com/validate", bundle: caBundle},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, cases[name])
			configuration := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered)
			if want.bundle == "helm" {
				want.bundle = string(one[*corev1.Secret](t, rendered).Data["ca.crt"])
			}
			for _, hook := range configuration.Webhooks {
				config := hook.ClientConfig
				if got := string(config.CABundle); got != want.bundle {
					t.Errorf("caBundle %q, want %q", got, want.bundle)
				}
				if want.url == "" {
					if config.URL != nil || config.Service == nil || *config.Service.Path != "/validate" || *config.Service.Port != 443 {
						t.Errorf("clientConfig is not the Service with its path and port: %v", config)
					}
				} else if config.Service != nil || config.URL == nil || *config.URL != want.url {
					t.Errorf("clientConfig is not the URL %s: %v", want.url, config)
				}
			}
			annotation := configuration.Annotations["cert-manager.io/inject-ca-from"]
			if want.injected != (annotation == "saguard-system/saguard") || !want.injected && annotation != "" {
				t.Errorf("inject-ca-from is %q, want it set: %v", annotation, want.injected)
			}
		})
	}
}

func TestCertManagerCertificateCoversHowTheWebhookIsReached(t *testing.T) {
	const own = `, certificates: {source: certManager, certManager: {issuerRef: {kind: ClusterIssuer, name: ours}}}`
	tests := map[string]struct {
		values   string
		dns, ips []string
	}{
		"by Service":          {values: cases["cert-manager"]},
		"by a host name":      {values: `{webhook: {url: "https://hook.example.com:8443", caBundle: CA}` + own + `}`, dns: []string{"hook.example.com"}},
		"by an IPv4 address":  {values: `{webhook: {url: "https://10.0.0.7:8443", caBundle: CA}` + own + `}`, ips: []string{"10.0.0.7"}},
		"by an IPv6 address":  {values: `{webhook: {url: "https://[fd00::7]:8443/x", caBundle: CA}` + own + `}`, ips: []string{"fd00::7"}},
		"by a host of digits": {values: `{webhook: {url: "https://10.0.0.7.nip.io", caBundle: CA}` + own + `}`, dns: []string{"10.0.0.7.nip.io"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, test.values)
			certificate := one[*certmanagerv1.Certificate](t, rendered)
			if got := mountedSecret(t, rendered); got != certificate.Spec.SecretName {
				t.Errorf("the pods mount Secret %q, cert-manager makes %q", got, certificate.Spec.SecretName)
			}
			want := append([]string{"saguard.saguard-system.svc", "saguard.saguard-system.svc.cluster.local"}, test.dns...)
			if !slices.Equal(certificate.Spec.DNSNames, want) || !slices.Equal(certificate.Spec.IPAddresses, test.ips) {
				t.Errorf("names %v and addresses %v, want %v and %v", certificate.Spec.DNSNames, certificate.Spec.IPAddresses, want, test.ips)
			}
		})
	}
}
