package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/bpf"
	"github.com/saguard/saguard/enforce/nft"
)

// Names of backends, and the value of --backend that lets probing choose.
const (
	backendAuto = "auto"
	backendBPF  = "bpf"
	backendNFT  = "nft"
)

// The values of --dataplane.
const (
	dataplaneDetect  = "detect"
	dataplaneForward = "forward"
)

// backends are the flags of what puts rules into the kernel.
type backends struct {
	bpfDir     string
	nflogGroup uint16
	eventRate  uint32
}

func (b *backends) add(fs *pflag.FlagSet) {
	fs.StringVar(&b.bpfDir, "bpf-dir", bpf.DefaultDir, "Folder on a BPF file system where the bpf backend pins what outlives the process.")
	fs.Uint16Var(&b.nflogGroup, "nflog-group", nft.DefaultNFLOGGroup, "Netfilter log group of the nft backend, 1 to 65535; nothing else may listen to it.")
	fs.Uint32Var(&b.eventRate, "event-rate", nft.DefaultEventRate, "Denied and logged packets that the kernel reports per second at most.")
}

// all are the candidates, the preferred one first.
func (b *backends) all() []enforce.Candidate {
	return []enforce.Candidate{
		{Name: backendBPF, Open: func() (enforce.Backend, error) {
			a, err := bpf.New(bpf.Options{Dir: b.bpfDir, EventsPerSecond: int(b.eventRate)})
			if err != nil {
				return nil, err // a nil *bpf.Applier would be no nil Backend
			}
			return a, nil
		}, Left: func() bool { return exists(b.bpfDir) }},
		{Name: backendNFT, Open: func() (enforce.Backend, error) {
			a, err := nft.New(nft.Options{NFLOGGroup: b.nflogGroup, EventRate: b.eventRate})
			if err != nil {
				return nil, err
			}
			return a, nil
		}},
	}
}

// options are the flags of run, checked.
type options struct {
	backends
	kubeconfig       string
	node             string
	namespace        string
	backend          string
	dataplane        string
	podCIDRTexts     []string
	podCIDRs         []netip.Prefix
	openToStrangers  bool
	socket           string
	metricsAddress   string
	healthAddress    string
	pprofAddress     string
	logLevel         string
	packetLogRate    int
	watchRenewal     time.Duration
	apiQPS, apiBurst int
	identity         identityOptions
}

func (o *options) add(fs *pflag.FlagSet, getenv func(string) string) {
	o.backends.add(fs)
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig file; empty means the pod's own service account.")
	fs.StringVar(&o.node, "node-name", getenv("NODE_NAME"), "Name of this node in the API; $NODE_NAME by default.")
	fs.StringVar(&o.namespace, "namespace", getenv("POD_NAMESPACE"), "Namespace of the node's Lease, in which it says how it is enforced; $POD_NAMESPACE by default.")
	fs.StringVar(&o.backend, "backend", backendAuto, "bpf, nft, or auto: the first of them that works here.")
	fs.StringVar(&o.dataplane, "dataplane", dataplaneDetect, "detect: enforce nothing where packets of pods do not cross the FORWARD hook. forward: the administrator vouches that they do.")
	fs.StringSliceVar(&o.podCIDRTexts, "pod-cidrs", nil, "Prefixes of the addresses of all pods of the cluster; by default spec.podCIDRs of all nodes. An address in them that belongs to no known pod is denied wherever a policy applies.")
	fs.BoolVar(&o.openToStrangers, "open-to-unknown-pods", false, "Let packets reach addresses of this node's spec.podCIDRs that no pod is known to have: pods just born, or born while the agent was away. By default nothing reaches them.")
	fs.StringVar(&o.socket, "socket", defaultSocket, "Socket for status and explain, for its owner alone.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", ":9646", "Address of Prometheus metrics; empty turns them off.")
	fs.StringVar(&o.healthAddress, "health-probe-bind-address", "127.0.0.1:9647", "Address of /healthz and /readyz.")
	fs.StringVar(&o.pprofAddress, "pprof-bind-address", "", "Address of Go's profiler; empty turns it off.")
	fs.StringVar(&o.logLevel, "log-level", "info", "error, info or debug.")
	fs.IntVar(&o.packetLogRate, "packet-log-rate", 20, "Records of denied and logged packets per second at most, in the long run; 0 turns them off.")
	fs.IntVar(&o.apiQPS, "kube-api-qps", 50, "Requests a second to the API server.")
	fs.IntVar(&o.apiBurst, "kube-api-burst", 100, "Requests to the API server in a burst.")
	fs.DurationVar(&o.watchRenewal, "watch-renewal", time.Minute, "How long a watch lasts before it is made anew, 15s to 10m. One that is silently broken is noticed within this time and 10s; every agent makes about 14 watches in it.")
	o.identity.add(fs)
}

// complete checks the flags.
func (o *options) complete() error {
	var errs []error
	if o.watchRenewal < 15*time.Second || o.watchRenewal > 10*time.Minute {
		errs = append(errs, fmt.Errorf("--watch-renewal: %s: want 15s to 10m", o.watchRenewal))
	}
	for _, text := range o.podCIDRTexts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--pod-cidrs: %w", err))
			continue
		}
		if p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("--pod-cidrs: %s is an IPv4 prefix written as IPv6", p))
		}
		if p != p.Masked() {
			errs = append(errs, fmt.Errorf("--pod-cidrs: %s has bits behind its length: want %s", p, p.Masked()))
		}
		o.podCIDRs = append(o.podCIDRs, p)
	}
	want := func(flag, value string, values ...string) {
		for _, v := range values {
			if value == v {
				return
			}
		}
		errs = append(errs, fmt.Errorf("--%s: %q: want %s", flag, value, strings.Join(values, ", ")))
	}
	want("backend", o.backend, backendAuto, backendBPF, backendNFT)
	want("dataplane", o.dataplane, dataplaneDetect, dataplaneForward)
	want("log-level", o.logLevel, "error", "info", "debug")
	for _, required := range []struct{ flag, value, env string }{{"node-name", o.node, "NODE_NAME"}, {"namespace", o.namespace, "POD_NAMESPACE"}} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("--%s: needed, or $%s", required.flag, required.env))
		}
	}
	if o.nflogGroup == 0 || o.eventRate == 0 {
		errs = append(errs, errors.New("--nflog-group, --event-rate: want at least 1"))
	}
	if o.packetLogRate < 0 {
		errs = append(errs, fmt.Errorf("--packet-log-rate: %d: want 0 or more", o.packetLogRate))
	}
	if o.apiQPS < 1 || o.apiBurst < o.apiQPS {
		errs = append(errs, fmt.Errorf("--kube-api-qps %d, --kube-api-burst %d: want 1 <= qps <= burst", o.apiQPS, o.apiBurst))
	}
	if o.socket == "" {
		errs = append(errs, errors.New("--socket: needed"))
	}
	return errors.Join(append(errs, o.identity.complete()...)...)
}

// candidates are the backends that may be used, the forced one alone first: the others are still known, so that what they left
// is removed.
func (o *options) candidates() (use, others []enforce.Candidate) {
	for _, c := range o.all() {
		if o.backend == backendAuto || o.backend == c.Name {
			use = append(use, c)
		} else {
			others = append(others, c)
		}
	}
	return use, others
}
