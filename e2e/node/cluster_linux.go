package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
)

// Options of a cluster. The zero value is two nodes with PTP and kube-proxy in its
// nftables mode.
type Options struct {
	// ControlPlane is started with these, and with what nodes need.
	ControlPlane controlplane.Options
	// Nodes is their number, at most 200; 0 is 2.
	Nodes int
	// CNI connects the pods; empty is PTP.
	CNI CNI
	// ProxyMode is kube-proxy's, nftables or iptables; empty is nftables.
	ProxyMode string
	// Images are on every node beside WorkloadImage.
	Images func(context.Context) ([]Image, error)
	// Log receives progress; nil discards.
	Log io.Writer
}

// Cluster is a control plane with nodes.
type Cluster struct {
	CP    *controlplane.ControlPlane
	Nodes []*Node

	options  Options
	folder   *folder
	rack     *rack
	packages string
	programs controlplane.Paths
	proxy    *exec.Cmd // of the rack, through which the API server reaches Services
	proxyEnd <-chan error

	mu    sync.Mutex
	files []string // of images, in the folder "images"
}

// Start starts a control plane and nodes, and returns when the nodes are ready.
// Programs are built and packages fetched where they are not in the cache, see
// controlplane.NodeBinaries and Packages. ctx bounds the start only; nothing is
// left behind if it fails.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if o.CNI == "" {
		o.CNI = PTP
	}
	if o.ProxyMode == "" {
		o.ProxyMode = "nftables"
	}
	if o.Nodes < 0 || o.Nodes > 200 {
		return nil, fmt.Errorf("options.nodes: %d: want 1 to 200", o.Nodes)
	}
	if err := Available(); err != nil {
		return nil, fmt.Errorf("start nodes: %w", err)
	}
	if _, err := exec.LookPath("iptables"); err != nil && o.ProxyMode == "iptables" {
		return nil, fmt.Errorf("options.proxyMode: iptables needs the program iptables of Debian's package of that name: %w", err)
	}
	c := &Cluster{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start nodes: %w", err), c.Close(context.WithoutCancel(ctx)))
		}
	}()
	if c.programs, err = controlplane.NodeBinaries(ctx, o.Log); err != nil {
		return nil, err
	}
	if c.folder, err = newFolder(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(c.path("images"), 0o755); err != nil {
		return nil, fmt.Errorf("make the nodes' folder: %w", err)
	}
	if c.rack, err = newRack(); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.prepare(groupCtx) })
	// The control plane lives longer than the group, so it must not get the group's context.
	c.CP, err = controlplane.Start(ctx, c.controlPlaneOptions())
	if err := errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	for i := range o.Nodes {
		n, err := c.newNode(i + 1)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := c.register(ctx, n); err != nil {
			return nil, err
		}
		if err := n.Boot(); err != nil {
			return nil, err
		}
	}
	if err := c.startProxy(); err != nil {
		return nil, err
	}
	return c, c.AwaitReady(ctx, c.Nodes...)
}

// controlPlaneOptions adds what an API server with nodes has.
func (c *Cluster) controlPlaneOptions() controlplane.Options {
	o := c.options.ControlPlane
	o.Paths, o.NetNS, o.BindAddress = c.programs, c.rack.path(), rackAddress
	o.ControllerManager, o.Scheduler = true, true
	o.AuthorizationModes = []string{"Node", "RBAC"}
	o.EnableAdmissionPlugins = append([]string{"NodeRestriction"}, o.EnableAdmissionPlugins...)
	o.APIServerFlags = append([]string{
		"--kubelet-preferred-address-types=InternalIP",
		"--advertise-address=" + rackAddress,
		"--endpoint-reconciler-type=master-count", // the kubernetes Service leads to the rack's address
	}, o.APIServerFlags...)
	return o
}

// prepare fetches packages, and builds the programs of ours that run on nodes and
// their images.
func (c *Cluster) prepare(ctx context.Context) error {
	module, err := sourceFolder()
	if err != nil {
		return err
	}
	var given []Image
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		c.packages, err = Packages(groupCtx, c.options.Log)
		return err
	})
	for _, program := range []string{"nodeinit", "workload"} {
		group.Go(func() error { return Build(groupCtx, module, "./cmd/"+program, c.path(program)) })
	}
	if c.options.Images != nil {
		group.Go(func() (err error) {
			given, err = c.options.Images(groupCtx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err = c.write(append(given, workloadImage(c.path("workload"), c.packages)))
	return err
}

// Build compiles a command of a module's folder to a static program.
func Build(ctx context.Context, module, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

var errNoSource = errors.New("the source of package node is not on this machine")

// sourceFolder is the end-to-end module's.
func sourceFolder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errNoSource
	}
	return filepath.Dir(filepath.Dir(file)), nil
}

func (c *Cluster) newNode(number int) (*Node, error) {
	name := fmt.Sprintf("node-%d", number)
	n := &Node{
		Name: name, Address: fmt.Sprintf(nodeAddress, 10+number), PodCIDR: fmt.Sprintf(nodePodCIDR, number),
		cluster: c, dir: c.path(name), cgroup: c.folder.id + name,
	}
	for _, dir := range []string{"", "cni", "stash", "var", "var/lib", "var/log", "var/tmp"} {
		if err := os.Mkdir(filepath.Join(n.dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make the folder of node %s: %w", name, err)
		}
	}
	return n, n.writeFiles()
}

// register makes the Node object that the kubelet will find, with the addresses of
// its pods, which on other clusters a controller or a cloud chooses.
func (c *Cluster) register(ctx context.Context, n *Node) error {
	client, err := kubernetes.NewForConfig(c.CP.AdminConfig())
	if err != nil {
		return fmt.Errorf("register node %s: %w", n.Name, err)
	}
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name}},
		Spec:       corev1.NodeSpec{PodCIDR: n.PodCIDR, PodCIDRs: []string{n.PodCIDR}},
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("register node %s: %w", n.Name, err)
	}
	return nil
}

// startProxy gives the API server what a control plane's machine has: a kube-proxy,
// so that webhooks behind Services are within its reach whichever node is down.
func (c *Cluster) startProxy() error {
	config, err := c.CP.EncodeKubeconfig(c.CP.NetNSURL(), proxyAccount)
	if err != nil {
		return err
	}
	text := proxyConfig(c.path("proxy.kubeconfig"), c.Nodes[0].Name, c.options.ProxyMode)
	log, err := os.OpenFile(c.path("kube-proxy.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start the rack's kube-proxy: %w", err)
	}
	defer func() { _ = log.Close() }()
	err = errors.Join(os.WriteFile(c.path("proxy.kubeconfig"), config, 0o600), os.WriteFile(c.path("proxy.yaml"), []byte(text), 0o600))
	if err != nil {
		return fmt.Errorf("start the rack's kube-proxy: %w", err)
	}
	cmd := exec.Command(c.programs.KubeProxy, "--config="+c.path("proxy.yaml"))
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + c.folder.path}
	if c.proxyEnd, err = controlplane.StartTiedIn(c.rack.path(), cmd); err != nil {
		return fmt.Errorf("start the rack's kube-proxy: %w", err)
	}
	c.proxy = cmd
	return nil
}

// AwaitReady waits until the nodes are ready, since their last boot, and take pods.
// It gives up when one ends by itself.
func (c *Cluster) AwaitReady(ctx context.Context, nodes ...*Node) error {
	client, err := kubernetes.NewForConfig(c.CP.AdminConfig())
	if err != nil {
		return fmt.Errorf("wait for nodes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for _, n := range nodes {
		var last error
		err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			if err := n.failure(); err != nil {
				return false, err
			}
			var object *corev1.Node
			if object, last = client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{}); last == nil {
				last = notReady(object, n.life())
			}
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait until node %s is ready: %w (%w)\n%s", n.Name, err, last, n.LogTails())
		}
	}
	return nil
}

func notReady(n *corev1.Node, bootID string) error {
	if n.Status.NodeInfo.BootID != bootID {
		return errors.New("not heard of since it was booted")
	}
	for _, taint := range n.Spec.Taints {
		return fmt.Errorf("tainted %s", taint.Key)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions %v", n.Status.Conditions)
}

// Import puts further images on all nodes that run; others find them when they boot.
func (c *Cluster) Import(ctx context.Context, images ...Image) error {
	archives, err := c.write(images)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.Nodes {
		if n.Pid() == 0 {
			continue
		}
		group.Go(func() error {
			for _, archive := range archives {
				if _, err := n.Run(ctx, importCommand(archive)...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// write makes archives of images and returns their names in the folder "images".
func (c *Cluster) write(images []Image) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var archives []string
	for _, i := range images {
		name := fmt.Sprintf("%d.tar", len(c.files)+1)
		if err := i.write(filepath.Join(c.path("images"), name)); err != nil {
			return nil, err
		}
		archives, c.files = append(archives, name), append(c.files, name)
	}
	return archives, nil
}

func (c *Cluster) archives() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.files)
}

// Dir is the cluster's folder: a folder for each node, with its logs. It is gone
// after Close.
func (c *Cluster) Dir() string { return c.folder.path }

func (c *Cluster) path(name string) string { return filepath.Join(c.folder.path, name) }

// Close ends the nodes and the control plane and removes what they were made of.
func (c *Cluster) Close(ctx context.Context) error {
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() {
			if n.Pid() != 0 {
				errs[i] = n.PowerCut(ctx)
			}
		})
	}
	all.Wait()
	if c.proxy != nil {
		if err := c.proxy.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("end the rack's kube-proxy: %w", err))
		}
		<-c.proxyEnd // its error is the kill
	}
	if c.CP != nil {
		errs = append(errs, c.CP.Stop(ctx))
	}
	if c.rack != nil {
		errs = append(errs, c.rack.close())
	}
	if c.folder != nil {
		errs = append(errs, c.folder.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end the nodes: %w", err)
	}
	return nil
}
