package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/accessreview"
	"github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/internal/scan/background"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/rbac"
)

// scanQPS bounds the requests of the background scan, which has a client of its own: admission's must not wait behind it. A page of a list is
// one request.
const scanQPS = 20

// withScan returns a part that runs lead and, unless --scan-interval is 0, the background scan beside it.
func withScan(cfg *rest.Config, o *options, cluster *state.Cluster, log logr.Logger, lead func(context.Context) error) (func(context.Context) error, error) {
	if o.scanInterval == 0 {
		return lead, nil
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst, cfg.UserAgent = scanQPS, 2*scanQPS, "saguard-webhook/scan"
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, openreports.Install} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	api, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("create client of the scan: %w", err)
	}
	c, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create authorization client of the scan: %w", err)
	}
	ask := rbac.Options{Reviewer: accessreview.New(c.SubjectAccessReviews()), Now: time.Now, DenyTTL: o.denyTTL}
	if o.authorization == authorizationRBAC {
		ask.Index = cluster.RBAC.Snapshot
	}
	authorizer, err := rbac.NewAuthorizer(ask)
	if err != nil {
		return nil, err
	}
	figures, err := background.NewMetrics(metrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics of the scan: %w", err)
	}
	return func(ctx context.Context) error {
		ticker := time.NewTicker(statusPeriod)
		defer ticker.Stop()
		scanner := &background.Scanner{
			Cluster: cluster, Index: cluster.RBAC.Snapshot, Authorizer: authorizer, Client: api,
			Excluded: append([]string{metav1.NamespaceSystem, o.namespace}, o.excluded...), Interval: o.scanInterval,
			Metrics: figures, Log: log.WithName("scan"), Now: time.Now, Ticks: ticker.C,
		}
		return run.Together(ctx, run.Part{Name: "status", Run: lead}, run.Part{Name: "scan", Run: scanner.Run})
	}, nil
}
