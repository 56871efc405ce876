package main

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"

	"github.com/go-logr/logr"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/webhook"
)

// newServer returns the server of the admission handlers. Of controller-runtime's webhook server only the metrics of
// handlers are used: it bounds neither connections nor how slowly a request comes, and ends connections under a request.
func newServer(o *options, handler *webhook.Handler, by *serving, log logr.Logger) *run.Server {
	config := by.tls()
	hooks := ctrlwebhook.NewServer(ctrlwebhook.Options{})
	hooks.Register(webhook.PathValidate, handler.ValidateHTTP())
	hooks.Register(webhook.PathMutate, handler.MutateHTTP())
	return run.NewServer(net.JoinHostPort(o.host, strconv.Itoa(o.port)), config, hooks.WebhookMux(), log)
}

// tls is what the port speaks.
func (s *serving) tls() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.get}
	if s.clients != nil {
		s.clients.Require(config)
	}
	return config
}

// lifetime returns the context of what runs: it outlives ctx, the order to stop, by the time in which clients go to other
// replicas. Until then everything goes on, the watches above all: what is answered rests on them.
func lifetime(ctx context.Context, drain func(context.Context)) (context.Context, context.CancelFunc) {
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		drain(running)
		end()
	})
	return running, func() { stop(); end() }
}
