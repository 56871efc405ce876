package run

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Certificate probes the serving certificate that get returns (as tls.Config.GetCertificate).
func Certificate(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), now func() time.Time) Probe {
	return func() string {
		leaf, err := leafOf(get)
		switch {
		case err != nil:
			return err.Error()
		case now().After(leaf.NotAfter):
			return "expired at " + leaf.NotAfter.UTC().Format(time.RFC3339)
		case now().Before(leaf.NotBefore):
			return "not valid before " + leaf.NotBefore.UTC().Format(time.RFC3339)
		default:
			return ""
		}
	}
}

// CertificateExpiry is the metric that an alert on a forgotten certificate needs.
func CertificateExpiry(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "saguard_certificate_expiry_timestamp_seconds",
		Help: "When the serving certificate expires, in seconds since the epoch; 0 if none is loaded.",
	}, func() float64 {
		leaf, err := leafOf(get)
		if err != nil {
			return 0
		}
		return float64(leaf.NotAfter.Unix())
	})
}

func leafOf(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (*x509.Certificate, error) {
	cert, err := get(&tls.ClientHelloInfo{})
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return nil, fmt.Errorf("load certificate: none")
	}
	if cert.Leaf != nil {
		return cert.Leaf, nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return leaf, nil
}
