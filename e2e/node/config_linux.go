package node

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Where a node has folders of the machine.
const (
	onNode       = "/run/machine/node"     // its own: configuration and logs
	onPrograms   = "/run/machine/programs" // kubelet, kube-proxy
	onPackages   = "/run/machine/packages" // Debian's, unpacked
	onImages     = "/run/machine/images"   // archives
	containerd   = "/run/containerd/containerd.sock"
	binPath      = onPackages + "/usr/sbin:" + onPackages + "/usr/bin:" + onPackages + "/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	proxyAccount = "system:kube-proxy"
)

// kubeletConfig differs from a usual node's only where this machine is shared:
// cgroups below a root of the node's own, and no eviction for the machine's disk.
func (n *Node) kubeletConfig() string {
	return strings.NewReplacer("NODE", onNode, "CGROUP", "/"+n.cgroup, "CONTAINERD", containerd).Replace(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://CONTAINERD
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: NODE/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: NODE/kubelet.crt
tlsPrivateKeyFile: NODE/kubelet.key
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: CGROUP
enforceNodeAllocatable: []
failSwapOn: false
makeIPTablesUtilChains: false
resolvConf: ""
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
volumePluginDir: /var/lib/kubelet/volume-plugins
shutdownGracePeriod: 0s
`)
}

// containerdConfig names our own sandbox image: no registry is asked for one.
// restrict_oom_score_adj because root of a sandbox may lack CAP_SYS_RESOURCE.
func (n *Node) containerdConfig() string {
	const cri = `plugins."io.containerd.grpc.v1.cri"`
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = %[2]q
[%[1]s]
  sandbox_image = %[3]q
  restrict_oom_score_adj = true
[%[1]s.cni]
  bin_dir = %[4]q
  conf_dir = %[5]q
[%[1]s.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[%[1]s.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[%[1]s.containerd.runtimes.runc.options]
  BinaryName = %[6]q
  SystemdCgroup = false
`, cri, containerd, WorkloadImage, onPackages+"/usr/lib/cni", onNode+"/cni", onPackages+"/usr/sbin/runc")
}

// CNI is how pods are connected on their node.
type CNI string

const (
	// PTP gives each pod a veth pair routed by the node: all of a pod's packets
	// cross the node's forward hook.
	PTP CNI = "ptp"
	// Bridge puts the pods of a node on one bridge; net.bridge.bridge-nf-call-iptables
	// shows the forward hook what is bridged between them.
	Bridge CNI = "bridge"
)

func (n *Node) cniConfig() (string, error) {
	plugin := map[string]any{
		"type": string(n.cluster.options.CNI),
		"ipam": map[string]any{
			"type":    "host-local",
			"ranges":  [][]map[string]string{{{"subnet": n.PodCIDR}}},
			"routes":  []map[string]string{{"dst": "0.0.0.0/0"}},
			"dataDir": "/run/cni-addresses",
		},
	}
	if n.cluster.options.CNI == Bridge {
		plugin["bridge"], plugin["isGateway"], plugin["hairpinMode"] = "cni0", true, true
	}
	text, err := json.MarshalIndent(map[string]any{"cniVersion": "0.4.0", "name": "pods", "plugins": []any{plugin}}, "", "  ")
	return string(text), err
}

// proxyConfig is kube-proxy's. It leaves the machine's connection tracking alone,
// whose limits only the first network namespace may change.
func proxyConfig(kubeconfig, hostname, mode string) string {
	return strings.NewReplacer("KUBECONFIG", kubeconfig, "HOSTNAME", hostname, "MODE", mode, "PODS", podCIDR).Replace(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: KUBECONFIG}
hostnameOverride: HOSTNAME
mode: MODE
clusterCIDR: PODS
detectLocalMode: ClusterCIDR
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 0s}
nftables: {minSyncPeriod: 0s}
`)
}

// writeFiles puts what the node's programs read into its folder.
func (n *Node) writeFiles() error {
	cp := n.cluster.CP
	serving, err := cp.ServingCert([]string{n.Name}, []net.IP{net.ParseIP(n.Address)})
	if err != nil {
		return err
	}
	kubelet, err := cp.EncodeKubeconfig(cp.NetNSURL(), "system:node:"+n.Name, "system:nodes")
	if err != nil {
		return err
	}
	proxy, err := cp.EncodeKubeconfig(cp.NetNSURL(), proxyAccount)
	if err != nil {
		return err
	}
	cni, err := n.cniConfig()
	if err != nil {
		return fmt.Errorf("write the files of node %s: %w", n.Name, err)
	}
	for name, content := range map[string]string{
		"ca.crt":               string(cp.CABundle()),
		"kubelet.crt":          string(serving.Cert),
		"kubelet.key":          string(serving.Key),
		"kubelet.kubeconfig":   string(kubelet),
		"kubelet.yaml":         n.kubeletConfig(),
		"proxy.kubeconfig":     string(proxy),
		"proxy.yaml":           proxyConfig(onNode+"/proxy.kubeconfig", n.Name, n.cluster.options.ProxyMode),
		"containerd.toml":      n.containerdConfig(),
		"cni/10-pods.conflist": cni,
	} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the files of node %s: %w", n.Name, err)
		}
	}
	return nil
}
