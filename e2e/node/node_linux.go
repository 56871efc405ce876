package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/node/boot"
)

// Node is one node of a cluster. It is booted once by Start.
type Node struct {
	// Name is also its host name, Address its IP address, PodCIDR where its pods'
	// addresses are from.
	Name, Address, PodCIDR string

	cluster *Cluster
	dir     string
	cgroup  string

	mu      sync.Mutex
	pid     int // of its first process; 0 while it is down
	bootID  string
	ended   chan struct{}
	because error // how it ended; read only after ended
}

// Mark is a variable in the environment of all processes of nodes but those in pods;
// its value is the base name of the cluster's folder.
const Mark = "SAGUARD_NODES"

// namespaces a node has of its own.
const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET

// errDown says that a node does not run.
var errDown = errors.New("the node is down")

// cgroupPatience is how long the kernel may take until killed processes have left
// their groups.
const cgroupPatience = 20 * time.Second

// Boot switches the node on, which must be down, and returns at once. What it had on
// its disk, images among it, is still there; its pods start anew.
func (n *Node) Boot() (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid != 0 {
		return fmt.Errorf("boot node %s: it is on", n.Name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("boot node %s: %w", n.Name, err)
		}
	}()
	if err := makeCgroups(n.cgroup); err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogPath("node"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(n.cluster.path("nodeinit"))
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = log, log, "/", []string{"PATH=" + binPath}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	exited, err := controlplane.StartTied(cmd)
	if err != nil {
		return err
	}
	n.pid, n.ended, n.bootID = cmd.Process.Pid, make(chan struct{}), string(uuid.NewUUID())
	ended := n.ended
	go func() {
		n.because = <-exited
		close(ended)
	}()
	// The node waits for its description, so that it finds a network.
	err = n.cluster.rack.connect(n, n.pid)
	if err == nil {
		err = json.NewEncoder(in).Encode(n.spec())
	}
	if err := errors.Join(err, in.Close()); err != nil {
		return errors.Join(err, n.kill())
	}
	return nil
}

func (n *Node) spec() boot.Spec {
	o := n.cluster.options
	s := boot.Spec{
		Hostname: n.Name,
		Binds: []boot.Bind{
			{From: n.dir, To: onNode},
			{From: filepath.Dir(n.cluster.programs.Kubelet), To: onPrograms},
			{From: n.cluster.packages, To: onPackages},
			{From: n.cluster.path("images"), To: onImages},
			{From: filepath.Join(n.dir, "var"), To: "/var"},
		},
		Stash:   filepath.Join(n.dir, "stash"),
		Sysctls: map[string]string{"net/ipv4/ip_forward": "1"},
		// What a kubelet sets, as it wants it (k8s.io/component-helpers/node/util/sysctl).
		Pinned: map[string]string{
			"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
			"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
			// By which a kubelet, and AwaitReady, tell one life of a machine from the next.
			"kernel/random/boot_id": n.bootID,
		},
		Runtime:       boot.Service{Name: "containerd", Args: []string{onPackages + "/usr/bin/containerd", "--config", onNode + "/containerd.toml"}, Log: onNode + "/containerd.log"},
		RuntimeSocket: containerd,
		Services: []boot.Service{
			{Name: "kubelet", Log: onNode + "/kubelet.log", Args: []string{
				onPrograms + "/kubelet", "--config=" + onNode + "/kubelet.yaml", "--kubeconfig=" + onNode + "/kubelet.kubeconfig",
				"--hostname-override=" + n.Name, "--node-ip=" + n.Address, "--root-dir=/var/lib/kubelet",
			}},
			{Name: "kube-proxy", Log: onNode + "/kube-proxy.log", Args: []string{onPrograms + "/kube-proxy", "--config=" + onNode + "/proxy.yaml"}},
		},
		Env: []string{"PATH=" + binPath, "HOME=/run", "TMPDIR=/run", Mark + "=" + filepath.Base(n.cluster.folder.path)},
	}
	for _, archive := range n.cluster.archives() {
		s.Imports = append(s.Imports, importCommand(archive))
	}
	if o.CNI == Bridge {
		s.Sysctls["net/bridge/bridge-nf-call-iptables"] = "1"
	}
	return s
}

// importCommand puts an archive into containerd, where the kubelet finds it.
func importCommand(archive string) []string {
	return []string{onPackages + "/usr/bin/ctr", "--address", containerd, "--namespace", "k8s.io", "images", "import", filepath.Join(onImages, archive)}
}

// PowerCut ends the node at once, with all that runs on it, as a loss of power does,
// and waits until no process of it is left. Nobody else is told.
func (n *Node) PowerCut(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid == 0 {
		return fmt.Errorf("cut the power of node %s: %w", n.Name, errDown)
	}
	if err := n.kill(); err != nil {
		return err
	}
	if err := n.cluster.rack.disconnect(n); err != nil {
		return err
	}
	// A kubelet that finds groups of its earlier life takes a minute to remove them.
	ctx, cancel := context.WithTimeout(ctx, cgroupPatience)
	defer cancel()
	return removeCgroups(ctx, n.cgroup)
}

// kill ends the first process of the pid namespace, and the kernel all others before
// it reports that end.
func (n *Node) kill() error {
	select {
	case <-n.ended: // reaped: its pid may belong to someone else
	default:
		if err := syscall.Kill(n.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cut the power of node %s: %w", n.Name, err)
		}
		<-n.ended
	}
	n.pid = 0
	return nil
}

// life is the node's boot ID.
func (n *Node) life() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bootID
}

// failure says why the node ended by itself; nil while it runs or is switched off.
func (n *Node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pid == 0 {
		return nil
	}
	select {
	case <-n.ended:
		return fmt.Errorf("node %s ended by itself: %w\n%s", n.Name, n.because, n.LogTails())
	default:
		return nil
	}
}

// Pid is the node's first process; 0 while it is down. /proc/PID/ns has its
// namespaces.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pid
}

// Command is a command that runs on the node, in all its namespaces, once it is
// started: for example nft list ruleset. It ends with ctx.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(n.Pid()), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=" + binPath, "HOME=/run"}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run is Command, and returns its output.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	if n.Pid() == 0 {
		return "", fmt.Errorf("run %s on node %s: %w", args[0], n.Name, errDown)
	}
	text, err := n.Command(ctx, args...).CombinedOutput()
	if err != nil {
		return string(text), fmt.Errorf("run %s on node %s: %w: %s", args[0], n.Name, err, text)
	}
	return string(text), nil
}

// LogPath is the log of a program of the node: kubelet, kube-proxy, containerd, or node, its
// first process.
func (n *Node) LogPath(program string) string { return filepath.Join(n.dir, program+".log") }

// LogTails are the ends of all logs.
func (n *Node) LogTails() string {
	var out []byte
	for _, program := range []string{"node", "containerd", "kube-proxy", "kubelet"} {
		out = fmt.Appendf(out, "-- %s of %s\n%s", program, n.Name, tail(n.LogPath(program)))
	}
	return string(out)
}

const tailBytes = 4 << 10

// tail is the end of a file, from the beginning of a line.
func tail(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil {
			return []byte(err.Error() + "\n")
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	if i := slices.Index(text, '\n'); len(text) >= tailBytes && i >= 0 {
		text = text[i+1:]
	}
	return text
}
