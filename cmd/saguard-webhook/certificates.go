package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/saguard/saguard/internal/certificates"
	"github.com/saguard/saguard/internal/clientauth"
	"github.com/saguard/saguard/internal/registration"
	"github.com/saguard/saguard/internal/rotation"
	"github.com/saguard/saguard/internal/run"
)

// certificateOptions are the flags about the serving certificate and about clients' certificates, checked.
type certificateOptions struct {
	secret      string
	names       []string
	terms       rotation.Terms
	period      time.Duration
	clientCA    string
	clientNames []string

	parsed rotation.Names
}

func (c *certificateOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.secret, "certificate-secret", "", "Secret of --namespace in which the webhook keeps a certificate that it makes and renews itself, its CA in the caBundle of its webhook configurations; empty takes the certificate from --cert-dir.")
	fs.StringSliceVar(&c.names, "certificate-name", nil, "DNS name or IP address by which the API server reaches the webhook; with --certificate-secret at least one DNS name.")
	fs.DurationVar(&c.terms.Validity, "certificate-validity", 90*24*time.Hour, "How long a certificate is valid that the webhook makes.")
	fs.DurationVar(&c.terms.RenewBefore, "certificate-renew-before", 30*24*time.Hour, "How long before its end the next one is made.")
	fs.DurationVar(&c.terms.Settle, "certificate-settle", time.Minute, "How long an API server may take to use a changed caBundle; a new certificate is served that long after every caBundle has its CA.")
	fs.DurationVar(&c.period, "certificate-period", 10*time.Second, "Time between two looks at the Secret and the caBundles; a change that is seen is looked at within moments.")
	fs.StringVar(&c.clientCA, "client-ca-file", "", "File with the CA that the API server's client certificate must come from, read again when it changes; see --client-ca-name.")
	fs.StringSliceVar(&c.clientNames, "client-name", nil, "Common name, DNS name or URI that a client's certificate must have, one of those given; none takes every client of the CA.")
}

// check is given --client-ca-name and --cert-dir too.
func (c *certificateOptions) check(clientCAName, certDir string) (err error) {
	switch {
	case clientCAName != "" && c.clientCA != "":
		return errors.New("--client-ca-file, --client-ca-name: want one of them")
	case clientCAName != "" && c.secret != "":
		return errors.New("--client-ca-name: names a file of --cert-dir, which --certificate-secret does without; want --client-ca-file")
	case clientCAName != "":
		c.clientCA = filepath.Join(certDir, clientCAName)
	}
	if len(c.clientNames) > 0 && c.clientCA == "" {
		return errors.New("--client-name: needs --client-ca-file or --client-ca-name")
	}
	if c.period <= 0 {
		return fmt.Errorf("--certificate-period: %s: want more than 0s", c.period)
	}
	if c.secret == "" {
		return nil
	}
	if c.parsed, err = rotation.ParseNames(c.names); err != nil {
		return fmt.Errorf("--certificate-name: %w", err)
	}
	if err := c.terms.Check(); err != nil {
		return fmt.Errorf("--certificate-validity, --certificate-renew-before, --certificate-settle: %w", err)
	}
	return nil
}

// serving is the certificate that is served, whoever makes it, and what keeps it.
type serving struct {
	get        func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	parts      []manager.Runnable
	notes      []run.Probe
	collectors []prometheus.Collector
	// clients is nil where no certificate is asked for.
	clients *clientauth.Clients
	// end stops timers.
	end func()
}

func newServing(cfg *rest.Config, o *options, log logr.Logger) (*serving, error) {
	ticker := time.NewTicker(o.certificate.period)
	s := &serving{end: ticker.Stop}
	if err := s.certificate(cfg, o, log, ticker.C); err != nil {
		ticker.Stop()
		return nil, err
	}
	if o.certificate.clientCA == "" {
		s.notes = append(s.notes, func() string {
			return "no client certificate is asked for: whoever reaches the port can ask, and leave records (webhook.clientCA)"
		})
		return s, nil
	}
	reload := time.NewTicker(clientCAPeriod)
	s.end = func() { ticker.Stop(); reload.Stop() }
	clients, err := clientauth.New(clientauth.Options{
		File: o.certificate.clientCA, Names: o.certificate.clientNames, Now: time.Now, Ticks: reload.C, Log: log.WithName("clients"),
	})
	if err != nil {
		s.end()
		return nil, err
	}
	s.clients = clients
	s.parts, s.notes, s.collectors = append(s.parts, clients), append(s.notes, clients.Note), append(s.collectors, clients.Collector())
	return s, nil
}

// clientCAPeriod is how often the file with the CA of clients is looked at.
const clientCAPeriod = 10 * time.Second

// certificate is from files, or the webhook's own.
func (s *serving) certificate(cfg *rest.Config, o *options, log logr.Logger, ticks <-chan time.Time) error {
	if o.certificate.secret == "" {
		files, err := certwatcher.New(filepath.Join(o.certDir, "tls.crt"), filepath.Join(o.certDir, "tls.key"))
		if err != nil {
			return fmt.Errorf("load serving certificate: %w", err)
		}
		s.get, s.parts = files.GetCertificate, []manager.Runnable{everywhere{files}}
		return nil
	}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	watches := certificates.NewWatches(c, o.namespace, o.certificate.secret, registration.ValidatingName, registration.MutatingName)
	keeper, err := certificates.New(certificates.Options{
		Secret: certificates.NewSecret(c.CoreV1(), o.namespace, o.certificate.secret),
		Configurations: []certificates.Configuration{
			certificates.NewValidating(c.AdmissionregistrationV1(), registration.ValidatingName),
			certificates.NewMutating(c.AdmissionregistrationV1(), registration.MutatingName),
		},
		Names: o.certificate.parsed, Terms: o.certificate.terms, Now: time.Now, Log: log.WithName("certificate"),
		Ticks: ticks, Wake: watches.Wake(),
	})
	if err != nil {
		return err
	}
	s.get, s.parts = keeper.GetCertificate, []manager.Runnable{keeper, watches}
	s.notes, s.collectors = []run.Probe{keeper.Note}, []prometheus.Collector{keeper.Collector()}
	return nil
}
