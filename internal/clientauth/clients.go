package clientauth

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	certutil "k8s.io/client-go/util/cert"
)

// Options of Clients.
type Options struct {
	// File has the CAs in PEM. It is read again at every tick.
	File string
	// Names that are allowed; none allow every client of the CAs.
	Names []string
	Now   func() time.Time
	Ticks <-chan time.Time
	Log   logr.Logger
}

// Clients knows who may connect.
type Clients struct {
	file    string
	names   []string
	now     func() time.Time
	ticks   <-chan time.Time
	log     logr.Logger
	roots   atomic.Pointer[x509.CertPool]
	refused *prometheus.CounterVec

	// Of Start's goroutine, and of New's before.
	text   []byte
	logged string
}

// New reads the file, without which there is nobody who may connect.
func New(o Options) (*Clients, error) {
	c := &Clients{
		file: o.File, names: slices.Clone(o.Names), now: o.Now, ticks: o.Ticks, log: o.Log,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saguard_webhook_clients_refused_total",
			Help: "Connections refused for the certificate that the client showed, by why; those without any are not counted.",
		}, []string{"reason"}),
	}
	for _, r := range []Refusal{Untrusted, Name} {
		c.refused.WithLabelValues(string(r))
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// read takes up the file if it changed. One that cannot be read changes nothing: the former CAs stay.
func (c *Clients) read() error {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("read the CA of clients: %w", err)
	}
	if c.roots.Load() != nil && bytes.Equal(text, c.text) {
		return nil
	}
	cas, err := certutil.ParseCertsPEM(text)
	if err != nil {
		return fmt.Errorf("read the CA of clients: %s: %w", c.file, err)
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	c.roots.Store(roots)
	c.text = text
	return nil
}

// NeedLeaderElection says that every replica does it.
func (c *Clients) NeedLeaderElection() bool { return false }

// Start reads the file again and again until ctx ends.
func (c *Clients) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ticks:
		}
		former := c.text
		err := c.read()
		switch {
		case err == nil && !bytes.Equal(former, c.text):
			c.log.Info("CA of clients changed", "file", c.file)
		case err == nil:
			c.logged = ""
		case err.Error() != c.logged:
			c.logged = err.Error()
			c.log.Error(err, "CA of clients cannot be read, the former one stays")
		}
	}
}

// Note says what is worth knowing about who may connect.
func (c *Clients) Note() string {
	if len(c.names) == 0 {
		return "every client certificate of the CA is taken, whoever has it (webhook.clientNames)"
	}
	return ""
}

// Collector returns the metrics.
func (c *Clients) Collector() prometheus.Collector { return c.refused }
