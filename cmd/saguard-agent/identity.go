package main

import (
	"fmt"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
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

// identityCheck makes the server that answers Envoy, nil where it is off.
func (a *agent) identityCheck() (*extauthz.Server, error) {
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
	return extauthz.New(extauthz.Options{
		Snapshots: a, Config: config, Recorder: audit.NewWriter(a.out), Metrics: metrics, Log: a.log.WithName("authz"), Now: time.Now,
		GRPC: extauthz.Endpoint{Socket: o.socket, SocketGroup: o.socketGroup}, JSON: extauthz.Endpoint{Socket: o.jsonSocket, SocketGroup: o.socketGroup},
		RecordAllowed: o.recordAllowed,
	})
}
