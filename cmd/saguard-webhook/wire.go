package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/accessreview"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/status"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// statusPeriod is how soon the status of a guard or band follows it.
const statusPeriod = 2 * time.Second

// serve wires the parts and runs them until ctx ends or one fails.
func serve(ctx context.Context, o *options) error {
	out := zapcore.Lock(os.Stdout)
	log, err := run.Logger(o.logLevel, zapcore.Lock(os.Stderr))
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)

	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("load client configuration: %w", err)
	}
	cfg.QPS, cfg.Burst, cfg.UserAgent = float32(o.apiQPS), o.apiBurst, "saguard-webhook"

	cluster, watcher, api, err := memory(cfg, log)
	if err != nil {
		return err
	}
	handlerMetrics, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	authorizer, err := authorizer(cfg, o, cluster, handlerMetrics)
	if err != nil {
		return err
	}
	handler, err := webhook.New(webhook.Options{
		World: cluster, Authorizer: authorizer, Recorder: audit.NewWriter(out), Metrics: handlerMetrics,
		Log: log.WithName("admission"), Now: time.Now,
		ExcludedNamespaces: append([]string{metav1.NamespaceSystem, o.namespace}, o.excluded...),
	})
	if err != nil {
		return err
	}
	serving, err := newServing(cfg, o, log)
	if err != nil {
		return err
	}
	defer serving.end()
	mgr, err := ctrl.NewManager(cfg, manager.Options{
		Logger:                 log,
		Metrics:                metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress: "0", // internal/run serves probes, which say more than pass and fail
		PprofBindAddress:       o.pprofAddress,
	})
	if err != nil {
		return fmt.Errorf("create manager: %w", err)
	}
	server := newServer(o, handler, serving, log.WithName("server"))
	server.Leave = func() bool { return watcher.WhyNotCurrent() != "" }

	metrics.Registry.MustRegister(watcher.Collector(), server.Collector(), run.CertificateExpiry(serving.get))
	metrics.Registry.MustRegister(serving.collectors...)
	health := &run.Health{
		Address: o.healthAddress,
		Probes: map[string]run.Probe{
			"caches":      watcher.WhyStale,
			"certificate": run.Certificate(serving.get, time.Now),
			"listener":    server.WhyNot,
		},
		Notes: append(serving.notes, watcher.Notes, func() string {
			if cluster.Guards().Empty() {
				return "there is no ServiceAccountGuard: nothing is enforced"
			}
			return ""
		}),
	}
	metrics.Registry.MustRegister(health.Collector("webhook"))
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	writer := &status.Writer{Cluster: cluster, TemplateSightings: handler.TemplateSightings, Client: api, Log: log.WithName("status"), Now: time.Now, Ticks: ticker.C}
	lead, err := withScan(cfg, o, cluster, log, writer.Run)
	if err != nil {
		return err
	}
	leader := &run.Leader{Config: cfg, Namespace: o.namespace, Name: "saguard-webhook", Identity: o.identity, Lead: lead, Log: log.WithName("leader")}
	for _, part := range append(serving.parts, watcher, health, server, leader) {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("add %T: %w", part, err)
		}
	}
	running, end := lifetime(ctx, server.Drain)
	defer end()
	return mgr.Start(running)
}

// everywhere makes a part run on every replica, which is not the manager's default.
type everywhere struct{ manager.Runnable }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }

// memory returns the cluster's picture and the watches that keep it.
func memory(cfg *rest.Config, log logr.Logger) (*state.Cluster, *watch.Watcher, client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{rbacv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, nil, nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	api, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("create client: %w", err)
	}
	podAPI, err := watch.NewPodClient(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	var watcher *watch.Watcher
	cluster := state.New(state.Live{
		WhyNotCurrent:     func() string { return watcher.WhyNotCurrent() },
		WhyPoliciesUnread: func() string { return watcher.WhyPoliciesUnread() },
		Namespace:         watch.LiveNamespace(api),
		PoliciesCurrent:   func() bool { return watcher.PoliciesCurrent() },
		TiersCurrent:      func() bool { return watcher.TiersCurrent() },
		AccountsCurrent:   func() bool { return watcher.Current(watch.AccountsName) },
		PodsCurrent:       func() bool { return watcher.Current(watch.PodsName) },
		Pod:               watch.LivePod(podAPI),
	}, func(problems []guard.Problem) {
		for _, p := range problems {
			log.Info("guard cannot be obeyed as written", "guard", p.Guard, "problem", p.Message)
		}
	})
	sources := watch.Admission(cluster, func(id state.PolicyID, n int) {
		log.Info("policy has selectors that do not parse; the keys they mean are not guarded", "resource", id.Resource, "namespace", id.Namespace, "name", id.Name, "selectors", n)
	})
	watcher = watch.New(api, log.WithName("watch"), time.Now, slices.Concat(sources, watch.Advice(cluster), []watch.Source{watch.Pods(cluster, podAPI)})...)
	// There are a few replicas, and what they have not heard of they allow.
	watcher.RetryAtMost = time.Second
	return cluster, watcher, api, nil
}

func authorizer(cfg *rest.Config, o *options, cluster *state.Cluster, m *webhook.Metrics) (*rbac.Authorizer, error) {
	c, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create authorization client: %w", err)
	}
	options := rbac.Options{Reviewer: accessreview.New(c.SubjectAccessReviews()), Now: time.Now, DenyTTL: o.denyTTL, Observe: m.Asked}
	if o.authorization == authorizationRBAC {
		options.Index = cluster.RBAC.Snapshot
	}
	return rbac.NewAuthorizer(options)
}
