// Command allowall is what the benchmarks compare with: the least that an admission webhook can be, made with
// controller-runtime as its documentation says. It allows everything and changes nothing.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "allowall:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("allowall", flag.ContinueOnError)
	host := flags.String("host", "127.0.0.1", "address to serve on")
	port := flags.Int("port", 9443, "port of the webhook")
	certDir := flags.String("cert-dir", "", "folder with tls.crt and tls.key")
	metricsAddress := flags.String("metrics-bind-address", "127.0.0.1:8080", "address of the metrics")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))

	server := webhook.NewServer(webhook.Options{
		Host: *host, Port: *port, CertDir: *certDir,
		// As API servers call webhooks behind a Service; only on loopback would they use HTTP/2, and saguard's has none.
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
	})
	for _, path := range []string{"/validate", "/mutate"} {
		server.Register(path, &webhook.Admission{Handler: admission.HandlerFunc(allow)})
	}
	metrics, err := metricsserver.NewServer(metricsserver.Options{BindAddress: *metricsAddress}, nil, nil)
	if err != nil {
		return fmt.Errorf("create metrics server: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Start(ctx) })
	group.Go(func() error { return metrics.Start(ctx) })
	return group.Wait()
}

func allow(context.Context, admission.Request) admission.Response { return admission.Allowed("") }
