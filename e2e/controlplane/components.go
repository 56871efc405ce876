package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Names of files in the control plane's folder. Processes run in that folder,
// so that the path of a unix socket stays short (sun_path holds 107 bytes).
const (
	caFile             = "ca.crt"
	servingCertFile    = "apiserver.crt"
	servingKeyFile     = "apiserver.key"
	accountKeyFile     = "service-accounts.key"
	accountCertFile    = "service-accounts.crt"
	kubeletClientCert  = "apiserver-kubelet-client.crt"
	kubeletClientKey   = "apiserver-kubelet-client.key"
	auditPolicyFile    = "audit-policy.yaml"
	auditLogFile       = "audit.log"
	etcdSocket         = "etcd.sock"
	etcdPeerSocket     = "etcd-peer.sock"
	etcdNeverDialed    = "http://127.0.0.1:1" // etcd insists on host:port; one member has no peers
	controllersAccount = "system:kube-controller-manager"
	schedulerAccount   = "system:kube-scheduler"
)

// writeFiles puts what the components read into the folder.
func (cp *ControlPlane) writeFiles() error {
	serving, err := cp.authority.serving(cp.options.sans())
	if err != nil {
		return err
	}
	// Only the key matters of this pair; a certificate is the form in which
	// both --service-account-key-file and the signing key are at hand.
	accounts, err := cp.authority.client("service account tokens", nil)
	if err != nil {
		return err
	}
	// For logs, exec and port-forward, where there are nodes.
	kubelets, err := cp.authority.client("kube-apiserver-kubelet-client", []string{"system:masters"})
	if err != nil {
		return err
	}
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: " + string(cp.options.AuditLevel) + "}]\n"
	for name, content := range map[string][]byte{
		caFile:          cp.authority.pem,
		servingCertFile: serving.Cert,
		servingKeyFile:  serving.Key,
		accountCertFile: accounts.Cert,
		accountKeyFile:  accounts.Key,
		auditPolicyFile: []byte(policy),

		kubeletClientCert: kubelets.Cert,
		kubeletClientKey:  kubelets.Key,
	} {
		if err := os.WriteFile(filepath.Join(cp.folder.path, name), content, 0o600); err != nil {
			return fmt.Errorf("write the control plane's files: %w", err)
		}
	}
	return nil
}

func (cp *ControlPlane) startEtcd() (*process, error) {
	args := []string{
		"--name=default",
		"--data-dir=" + filepath.Join(cp.folder.path, "etcd"),
		"--listen-client-urls=unix://" + etcdSocket,
		"--advertise-client-urls=" + etcdNeverDialed,
		"--listen-peer-urls=unix://" + etcdPeerSocket,
		"--initial-advertise-peer-urls=" + etcdNeverDialed,
		"--initial-cluster=default=" + etcdNeverDialed,
		"--unsafe-no-fsync", // the data does not outlive the processes
	}
	return cp.startComponent("etcd", cp.paths.Etcd, append(args, cp.options.EtcdFlags...))
}

func (cp *ControlPlane) startAPIServer() (*process, error) {
	in := func(name string) string { return filepath.Join(cp.folder.path, name) }
	o := cp.options
	args := []string{
		"--etcd-servers=unix://" + etcdSocket,
		"--bind-address=" + o.BindAddress,
		"--secure-port=" + strconv.Itoa(cp.address.listen()),
		"--permit-port-sharing=true", // with our reservation, see there
		"--cert-dir=" + cp.folder.path,
		"--tls-cert-file=" + in(servingCertFile),
		"--tls-private-key-file=" + in(servingKeyFile),
		"--client-ca-file=" + in(caFile),
		"--kubelet-certificate-authority=" + in(caFile),
		"--kubelet-client-certificate=" + in(kubeletClientCert),
		"--kubelet-client-key=" + in(kubeletClientKey),
		"--authorization-mode=" + strings.Join(o.AuthorizationModes, ","),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + in(accountCertFile),
		"--service-account-signing-key-file=" + in(accountKeyFile),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--endpoint-reconciler-type=none", // loopback is no valid endpoint
		// Without this, open watches hold up a stop for a minute.
		"--shutdown-watch-termination-grace-period=5s",
		"--allow-privileged=true",
		"--audit-policy-file=" + in(auditPolicyFile),
		"--audit-log-path=" + in(auditLogFile),
	}
	if o.AuditBlocking {
		args = append(args, "--audit-log-mode=blocking")
	} else {
		args = append(args, "--audit-log-mode=batch", "--audit-log-batch-max-wait=200ms")
	}
	for flag, values := range map[string][]string{
		"--runtime-config":            o.RuntimeConfig,
		"--enable-admission-plugins":  o.EnableAdmissionPlugins,
		"--disable-admission-plugins": o.DisableAdmissionPlugins,
	} {
		if len(values) > 0 {
			args = append(args, flag+"="+strings.Join(values, ","))
		}
	}
	return cp.startComponent("kube-apiserver", cp.paths.APIServer, append(args, o.APIServerFlags...))
}

func (cp *ControlPlane) startControllerManager(kubeconfig string) (*process, error) {
	in := func(name string) string { return filepath.Join(cp.folder.path, name) }
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--secure-port=0", // nobody asks it anything, so it needs no port
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + in(accountKeyFile),
		"--root-ca-file=" + in(caFile),
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
	return cp.startComponent("kube-controller-manager", cp.paths.ControllerManager, append(args, cp.options.ControllerManagerFlags...))
}

func (cp *ControlPlane) startScheduler(kubeconfig string) (*process, error) {
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
	}
	return cp.startComponent("kube-scheduler", cp.paths.Scheduler, args)
}

func (cp *ControlPlane) startComponent(name, path string, args []string) (*process, error) {
	return startProcess(name, path, cp.folder.path, cp.options.NetNS, args, cp.ended)
}
