package main

import (
	"context"
	"fmt"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
	runner "github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/policy"
)

// Snapshot implements extauthz.Snapshots: the identity check answers only on what is complete and fresh.
func (a *agent) Snapshot() (s *policy.Snapshot, revision uint64, ok bool) {
	s = a.policies.Snapshot()
	if s == nil || a.watcher.WhyNotCurrent() != "" || a.policies.WhyPartial() != "" {
		return nil, 0, false
	}
	return s, s.Rev, true
}

// credentialsPeriod is how often the files of a certificate are read: kubelets bring a changed Secret within a minute or two.
const credentialsPeriod = 10 * time.Second

// identityCheck returns the parts that answer Envoy, none where it is off, and adds its probes.
func (a *agent) identityCheck(health *runner.Health) ([]runner.Part, error) {
	o := &a.o.identity
	if len(o.trustDomains) == 0 {
		return nil, nil
	}
	config, err := authz.NewConfig(authz.ConfigOptions{
		TrustDomains: o.trustDomains, PlaintextNamespaces: o.plaintextNamespaces, ForwardedClientCert: o.forwarded, Node: a.o.node,
	})
	if err != nil {
		return nil, fmt.Errorf("configure identity check: %w", err)
	}
	metrics, err := extauthz.NewMetrics(a.registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	options := extauthz.Options{
		Snapshots: a, Config: config, Recorder: audit.NewWriter(a.out), Metrics: metrics, Log: a.log.WithName("authz"), Now: time.Now,
		GRPC:          extauthz.Endpoint{Socket: o.socket, SocketGroup: o.socketGroup, Address: o.address},
		JSON:          extauthz.Endpoint{Socket: o.jsonSocket, SocketGroup: o.socketGroup, Address: o.jsonAddress},
		RecordAllowed: o.recordAllowed, RecordRate: o.recordRate,
	}
	var parts []runner.Part
	if o.overTCP() {
		credentials := extauthz.NewFolder(o.certDir, o.clientCA, options.Log)
		mutual := &extauthz.MutualTLS{Credentials: credentials, Proxies: o.proxies}
		options.GRPC.TLS, options.JSON.TLS = mutual, mutual
		parts = append(parts, runner.Part{Name: "identity check certificate", Run: func(ctx context.Context) error {
			ticker := time.NewTicker(credentialsPeriod)
			defer ticker.Stop()
			return credentials.Run(ctx, ticker.C)
		}})
		a.registry.MustRegister(runner.CertificateExpiry(credentials.GetCertificate))
		health.Probes["identity check certificate"] = runner.Certificate(credentials.GetCertificate, time.Now)
		health.Notes = append(health.Notes, credentials.WhyStale)
	}
	server, err := extauthz.New(options)
	if err != nil {
		return nil, err
	}
	health.Probes["identity check"] = server.Ready
	return append(parts, runner.Part{Name: "identity check", Run: server.Run}, runner.Part{Name: "snapshots", Run: a.policies.KeepSnapshots}), nil
}
