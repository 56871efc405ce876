package nodes_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/saguard/saguard/e2e/node"
)

// machine is the content of the settings of the whole machine that a kubelet, kube-proxy or containerd would change.
func machine(t *testing.T) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "kernel/hostname", "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"} {
		text, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		settings[name] = string(text)
	}
	return settings
}

// traces are what would be left of one cluster on the machine, where others may run at the same time.
type traces struct {
	settings map[string]string
	// folders of nodes and of their control plane
	nodes, controlPlane string
}

// of completes what was read before the cluster was started.
func (tr traces) of(c *node.Cluster) traces {
	tr.nodes, tr.controlPlane = c.Dir(), c.CP.Dir()
	return tr
}

// gone fails if a setting of the machine is not as before, or anything of the cluster is left.
func (tr traces) gone(t *testing.T) {
	t.Helper()
	for name, now := range machine(t) {
		if now != tr.settings[name] {
			t.Errorf("%s was %q and is %q", name, tr.settings[name], now)
		}
	}
	for _, left := range tr.left(t) {
		t.Errorf("left: %s", left)
	}
}

// left lists cgroups, folders, mounts, links and processes.
func (tr traces) left(t *testing.T) []string {
	t.Helper()
	id := strings.TrimPrefix(filepath.Base(tr.nodes), "saguard-nodes-")
	var left []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/saguard-" + id + "-*", tr.nodes, tr.controlPlane} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, id) || strings.Contains(line, " /run/machine/") {
			left = append(left, "mount "+line)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Name == "rack" || link.Name == "cni0" || strings.HasPrefix(link.Name, "node-") {
			left = append(left, "link "+link.Name)
		}
	}
	return append(left, tr.processes(t)...)
}

// processes lists those of the cluster. A zombie has neither a command line nor an environment.
func (tr traces) processes(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	var found []string
	for _, p := range all {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || filepath.Base(p) == strconv.Itoa(os.Getpid()) {
			continue // ended since it was listed
		}
		env, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil {
			continue
		}
		marked := strings.Contains("\x00"+string(env), "\x00"+node.Mark+"="+filepath.Base(tr.nodes)+"\x00")
		if marked || strings.Contains(string(line), tr.nodes) || strings.Contains(string(line), tr.controlPlane) {
			found = append(found, "process "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
