package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/bypass"
	"github.com/saguard/saguard/enforce/packetlog"
	"github.com/saguard/saguard/internal/desired"
	"github.com/saguard/saguard/internal/nodeapi"
	"github.com/saguard/saguard/internal/nodestatus"
	runner "github.com/saguard/saguard/internal/run"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/policy"
)

// statusPeriod is how often the state of the node is looked at, for its Lease.
const statusPeriod = 2 * time.Second

// agent is the parts that several others need.
type agent struct {
	o        *options
	log      logr.Logger
	out      zapcore.WriteSyncer
	registry *prometheus.Registry
	policies *state.Policies
	watcher  *watch.Watcher
	loop     *enforce.Loop
}

// run wires the parts and runs them until ctx ends or one fails.
func run(ctx context.Context, o *options) error {
	log, err := runner.Logger(o.logLevel, zapcore.Lock(os.Stderr))
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("load client configuration: %w", err)
	}
	cfg.QPS, cfg.Burst, cfg.UserAgent = float32(o.apiQPS), o.apiBurst, "saguard-agent"

	a := &agent{o: o, log: log, out: zapcore.Lock(os.Stdout), registry: prometheus.NewRegistry(), policies: state.NewPolicies(policy.Strict, time.Now)}
	api, err := watch.NewPolicyAPI(cfg)
	if err != nil {
		return err
	}
	sources := api.Policies(a.policies, o.podCIDRs)
	for i := range sources {
		sources[i].Renew = o.watchRenewal
	}
	a.watcher = watch.New(nil, log.WithName("watch"), time.Now, sources...)
	if err := a.enforcement(); err != nil {
		return err
	}
	a.registry.MustRegister(a.watcher.Collector(), a.loop.Collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create client of leases: %w", err)
	}
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	lease := &nodestatus.Writer{
		Leases: clients.CoordinationV1().Leases(o.namespace), Nodes: clients.CoreV1().Nodes(), Namespace: o.namespace, Node: o.node,
		Report: a.report, Log: log.WithName("status"), Now: time.Now, Ticks: ticker.C,
	}
	packets := &packetlog.Log{Packets: a.loop.Packets(), Recorder: audit.NewWriter(a.out), Log: log.WithName("packets"), Now: time.Now, PerSecond: o.packetLogRate}
	local := &nodeapi.Server{Socket: o.socket, Explainer: a.loop, Snapshot: a.policies.Snapshot, Status: a.status}
	health := &runner.Health{
		Address: o.healthAddress,
		Probes:  map[string]runner.Probe{"enforcement": a.loop.WhyNotReady},
		Notes:   []runner.Probe{func() string { return strings.Join(a.remarks(), "; ") }},
	}
	parts := []runner.Part{
		{Name: "watch", Run: a.watcher.Start},
		{Name: "enforce", Run: a.loop.Run},
		{Name: "packet log", Run: packets.Run},
		{Name: "node API", Run: local.Run},
		{Name: "node status", Run: lease.Run},
		{Name: "health probes", Run: health.Start},
	}
	if o.metricsAddress != "" {
		parts = append(parts, runner.Part{Name: "metrics", Run: (&runner.HTTP{Address: o.metricsAddress, Handler: metricsHandler(a.registry)}).Run})
	}
	if o.pprofAddress != "" {
		parts = append(parts, runner.Part{Name: "pprof", Run: (&runner.HTTP{Address: o.pprofAddress, Handler: pprofHandler()}).Run})
	}
	identity, err := a.identityCheck(health)
	if err != nil {
		return err
	}
	parts = append(parts, identity...)
	a.registry.MustRegister(health.Collector("agent"))
	return runner.Together(ctx, parts...)
}

// enforcement makes the loop.
func (a *agent) enforcement() error {
	metrics, err := enforce.NewMetrics(a.registry)
	if err != nil {
		return err
	}
	use, others := a.o.candidates()
	rules := desired.New(a.policies, a.o.node)
	rules.OpenToStrangers = a.o.openToStrangers
	options := enforce.Options{
		Feed: rules, Candidates: use, Others: others, WhyStale: a.whyStale,
		Metrics: metrics, Log: a.log.WithName("enforce"), Now: time.Now,
	}
	if a.o.dataplane == dataplaneDetect {
		options.Path = path
	}
	a.loop, err = enforce.New(options)
	return err
}

// whyStale says why what is in force may be behind what the API server holds.
func (a *agent) whyStale() string {
	var why []string
	if stale := a.watcher.WhyStale(); stale != "" {
		// An API server that is out of reach is so for every source.
		all := strings.Split(stale, "; ")
		why = append(why, all[0])
		if len(all) > 1 {
			why = append(why, fmt.Sprintf("and %d more sources", len(all)-1))
		}
	}
	if partial := a.policies.WhyPartial(); partial != "" {
		why = append(why, partial)
	}
	return strings.Join(why, "; ")
}

// path looks at the node's network. What cannot be read is no reason to trust it (fails closed).
func path(pods []netip.Addr) (whyBypassed, remark string) {
	facts, err := bypass.Gather(os.DirFS("/"))
	if err != nil {
		return "whether packets of pods cross the FORWARD hook is not known: " + err.Error(), ""
	}
	return bypass.Why(facts, pods), bypass.Remark(facts, pods)
}

// remarks are worth knowing and no reason not to be ready.
func (a *agent) remarks() []string {
	var out []string
	for _, text := range []string{a.loop.Status().Remark, a.watcher.Notes()} {
		if text != "" {
			out = append(out, text)
		}
	}
	if a.policies.WhyUnread() == "" && len(a.policies.PodCIDRs()) == 0 {
		out = append(out, "no prefixes of pods are known (--pod-cidrs, or spec.podCIDRs of nodes): an address that belongs to no known pod counts as outside of the cluster")
	}
	return out
}

// report is what the node's Lease says.
func (a *agent) report() nodestatus.Report {
	s := a.loop.Status()
	return nodestatus.Report{
		State: string(s.State), Message: s.Message, Backend: s.Backend, Revision: s.AppliedRevision, Applied: s.AppliedAt, Since: s.Since, Version: version,
	}
}

// mostProblems bounds how many problems a status lists.
const mostProblems = 1000

// status is what the command status prints.
func (a *agent) status() nodeapi.Status {
	s := nodeapi.Status{Node: a.o.node, Version: version, Enforcement: a.loop.Status(), WhyNotReady: a.loop.WhyNotReady(), Remarks: a.remarks()}
	for _, src := range a.watcher.Statuses() {
		out := nodeapi.Source{Name: src.Name, State: "unread", AgeSeconds: src.Age.Seconds()}
		switch {
		case src.Absent:
			out.State = "absent"
		case src.Synced:
			out.State = "read"
		}
		if src.Err != nil {
			out.Error = src.Err.Error()
		}
		s.Sources = append(s.Sources, out)
	}
	problems := a.policies.Problems()
	for i, p := range problems {
		if i == mostProblems {
			s.Problems = append(s.Problems, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		s.Problems = append(s.Problems, p.Error())
	}
	return s
}

func metricsHandler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r}))
	return mux
}

func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
