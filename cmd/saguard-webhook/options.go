package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/saguard/saguard/rbac"
)

// options are the flags, checked.
type options struct {
	kubeconfig       string
	host             string
	port             int
	metricsAddress   string
	healthAddress    string
	pprofAddress     string
	certDir          string
	clientCA         string
	certificate      certificateOptions
	authorization    string
	denyTTL          time.Duration
	logLevel         string
	namespace        string
	identity         string
	excluded         []string
	apiQPS, apiBurst int
	scanInterval     time.Duration
}

// The values of --authorization.
const (
	authorizationRBAC   = "RBAC"
	authorizationReview = "SubjectAccessReview"
)

// parse returns nil options, and no error, where help was asked for.
func parse(args []string, getenv func(string) string, out io.Writer) (*options, error) {
	o := &options{}
	var bind string
	fs := pflag.NewFlagSet("saguard-webhook", pflag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig file; empty means the pod's own service account.")
	fs.StringVar(&bind, "bind-address", ":10250", "Address the webhook is served on, HOST:PORT.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "Address Prometheus metrics are served on; 0 turns them off.")
	fs.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	fs.StringVar(&o.pprofAddress, "pprof-bind-address", "", "Address of Go's profiler; empty turns it off.")
	fs.StringVar(&o.certDir, "cert-dir", "/etc/saguard/tls", "Folder with tls.crt and tls.key, read again when they change.")
	fs.StringVar(&o.clientCA, "client-ca-name", "", "File in --cert-dir with the CA that the API server's client certificate must come from; empty asks for none.")
	o.certificate.flags(fs)
	fs.StringVar(&o.authorization, "authorization", authorizationRBAC, "Who answers first: RBAC (the index in memory, then SubjectAccessReview for what it does not allow) or SubjectAccessReview alone, for clusters that chain a denying authorizer before RBAC.")
	fs.DurationVar(&o.denyTTL, "authorization-deny-ttl", rbac.MaxDenyTTL, "How long a denial by SubjectAccessReview is remembered, at most 5s.")
	fs.StringVar(&o.logLevel, "log-level", "info", "error, info or debug.")
	fs.StringVar(&o.namespace, "namespace", getenv("POD_NAMESPACE"), "Namespace the webhook runs in, which is never guarded; $POD_NAMESPACE by default.")
	fs.StringVar(&o.identity, "identity", getenv("POD_NAME"), "Name of this replica in the election of the one that writes status; $POD_NAME, or the host's name, by default.")
	showVersion := fs.Bool("version", false, "Print the version and end.")
	fs.StringSliceVar(&o.excluded, "exclude-namespace", nil, "Further namespaces that are never guarded; kube-system always is.")
	fs.IntVar(&o.apiQPS, "kube-api-qps", 500, "Requests a second to the API server.")
	fs.IntVar(&o.apiBurst, "kube-api-burst", 1000, "Requests to the API server in a burst.")
	fs.DurationVar(&o.scanInterval, "scan-interval", time.Hour, "Time between two scans for what exists and would be refused today, on the replica that writes status; at least 1s, 0 turns them off.")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, nil
		}
		return nil, err
	}
	if *showVersion {
		_, err := fmt.Fprintln(out, "saguard-webhook", version)
		return nil, err
	}
	if o.identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--identity: %w", err)
		}
		o.identity = host
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: there are only flags", fs.Arg(0))
	}
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, fmt.Errorf("--bind-address: %w", err)
	}
	o.host = host
	if o.port, err = strconv.Atoi(port); err != nil || o.port < 1 || o.port > 65535 {
		return nil, fmt.Errorf("--bind-address: port %q: want 1 to 65535", port)
	}
	switch {
	case o.authorization != authorizationRBAC && o.authorization != authorizationReview:
		return nil, fmt.Errorf("--authorization: %q: want %s or %s", o.authorization, authorizationRBAC, authorizationReview)
	case o.denyTTL < 0 || o.denyTTL > rbac.MaxDenyTTL:
		return nil, fmt.Errorf("--authorization-deny-ttl: %s: want 0s to %s", o.denyTTL, rbac.MaxDenyTTL)
	case o.namespace == "":
		return nil, errors.New("--namespace: needed, or $POD_NAMESPACE: the webhook must know the namespace it must not guard")
	case o.scanInterval != 0 && o.scanInterval < time.Second:
		return nil, fmt.Errorf("--scan-interval: %s: want 0, or at least 1s", o.scanInterval)
	case o.apiQPS < 1 || o.apiBurst < o.apiQPS:
		return nil, fmt.Errorf("--kube-api-qps %d, --kube-api-burst %d: want 1 <= qps <= burst", o.apiQPS, o.apiBurst)
	}
	if err := o.certificate.check(o.clientCA, o.certDir); err != nil {
		return nil, err
	}
	return o, nil
}
