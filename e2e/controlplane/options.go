package controlplane

import (
	"fmt"
	"io"
	"net"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Options of a control plane. The zero value is an API server with RBAC on
// 127.0.0.1, audited at Metadata level, without a controller manager.
type Options struct {
	// Paths of the programs; the zero value asks Binaries.
	Paths Paths
	// Log receives progress lines while programs are built; nil discards.
	Log io.Writer
	// Dir is where the control plane makes its own folder; empty is os.TempDir.
	Dir string

	// ControllerManager runs kube-controller-manager, with each controller under
	// its own service account, as in a real cluster. Without it the API server
	// runs without the ServiceAccount admission plugin, since nothing would
	// create the service accounts that plugin insists on.
	ControllerManager bool

	// Scheduler runs kube-scheduler, for which Paths must come from
	// [NodeBinaries]; the zero Paths then does.
	Scheduler bool

	// BindAddress is the IP address the API server listens on; empty is
	// 127.0.0.1. Nodes in network namespaces of their own need another one.
	BindAddress string
	// NetNS is the path of a network namespace (Linux) in which all components
	// run; empty is this process's own. The API server then listens at port 6443
	// of BindAddress there, and this process passes connections on to it from a
	// port of its own loopback, which [ControlPlane.URL] and kubeconfigs name.
	NetNS string
	// ExtraSANs are further DNS names and IP addresses in the API server's
	// certificate, beside the bind address, loopback, the names of the
	// kubernetes Service, and 10.96.0.1.
	ExtraSANs []string
	// AuthorizationModes in order; empty is RBAC. Nodes need Node, RBAC.
	AuthorizationModes []string
	// RuntimeConfig switches API versions, for example "api/alpha=true".
	RuntimeConfig []string
	// EnableAdmissionPlugins and DisableAdmissionPlugins change the API
	// server's default set, for example by NodeRestriction.
	EnableAdmissionPlugins, DisableAdmissionPlugins []string

	// AuditLevel of every request; empty is Metadata. The stage
	// RequestReceived is left out: it says nothing ResponseComplete does not.
	AuditLevel auditv1.Level
	// AuditBlocking writes each event before its response is sent. Otherwise
	// events are written in batches, at most 200 ms late.
	AuditBlocking bool

	// Further flags, put last: they override scalar flags set here.
	EtcdFlags, APIServerFlags, ControllerManagerFlags []string
}

// serviceCIDR and its first address, which the kubernetes Service has.
const (
	serviceCIDR    = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
)

// withDefaults fills in defaults and checks what would otherwise only show in a
// component's log.
func (o Options) withDefaults() (Options, error) {
	if o.BindAddress == "" {
		o.BindAddress = "127.0.0.1"
	}
	if net.ParseIP(o.BindAddress) == nil {
		return o, fmt.Errorf("options.bindAddress: %q is not an IP address", o.BindAddress)
	}
	if len(o.AuthorizationModes) == 0 {
		o.AuthorizationModes = []string{"RBAC"}
	}
	switch o.AuditLevel {
	case "":
		o.AuditLevel = auditv1.LevelMetadata
	case auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse:
	default:
		return o, fmt.Errorf("options.auditLevel: %q is none of None, Metadata, Request, RequestResponse", o.AuditLevel)
	}
	if !o.ControllerManager {
		o.DisableAdmissionPlugins = append([]string{"ServiceAccount"}, o.DisableAdmissionPlugins...)
	}
	return o, nil
}

// sans are the names and addresses the API server's certificate is for.
func (o Options) sans() (dnsNames []string, ips []net.IP) {
	dnsNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	for _, san := range append([]string{o.BindAddress, "127.0.0.1", "::1", serviceAddress}, o.ExtraSANs...) {
		if ip := net.ParseIP(san); ip != nil {
			ips = append(ips, ip)
			continue
		}
		dnsNames = append(dnsNames, san)
	}
	return dnsNames, ips
}
