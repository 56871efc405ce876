package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// agentWorlds are the sizes at which the agent is measured, the small one being the baseline: pods and as many policies.
func agentWorlds() []int { return []int{100, 10_000} }

// BenchmarkAgent measures the agent as it is built, beside a real API server: the time from the start of the process until
// the kernel has everything, and the memory that is resident then and after a thousand changes of labels. Needs root.
func BenchmarkAgent(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	root, err := install.Root()
	if err != nil {
		b.Fatal(err)
	}
	binary := filepath.Join(b.TempDir(), "saguard-agent")
	command(b, exec.CommandContext(b.Context(), "go", "-C", root, "build", "-o", binary, "./cmd/saguard-agent"), "CGO_ENABLED=0")
	for _, n := range agentWorlds() {
		b.Run(fmt.Sprintf("pods=%d/policies=%d", n, n), func(b *testing.B) {
			netns := "saguard-bench-" + strconv.Itoa(os.Getpid())
			command(b, exec.CommandContext(b.Context(), "ip", "netns", "add", netns))
			b.Cleanup(func() {
				if out, err := exec.Command("ip", "netns", "del", netns).CombinedOutput(); err != nil { //nolint:forbidigo,noctx // the test's context has ended
					b.Errorf("%v: %s", err, out)
				}
			})
			command(b, exec.CommandContext(b.Context(), "ip", "-n", netns, "link", "set", "lo", "up"))
			cp, err := controlplane.Start(b.Context(), controlplane.Options{
				Log: os.Stderr, NetNS: "/run/netns/" + netns, APIServerFlags: []string{"--advertise-address=10.255.255.1"}, // there is no route to guess it from
			})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := cp.Stop(context.WithoutCancel(b.Context())); err != nil {
					b.Error(err)
				}
			})
			if err := cp.InstallCRDs(b.Context(), os.DirFS(filepath.Join(root, "e2e", "testdata", "calico-crds"))); err != nil {
				b.Fatal(err)
			}
			load(b, cp, root, n)
			for b.Loop() {
				measureAgent(b, cp, binary, netns)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func command(b *testing.B, c *exec.Cmd, env ...string) {
	b.Helper()
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", c, err, out)
	}
}

// load writes the world of `make bench-node`, of n pods and n policies, to the API server.
func load(b *testing.B, cp *controlplane.ControlPlane, root string, n int) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "world.jsonl")
	size := strconv.Itoa(n)
	command(b, exec.CommandContext(b.Context(), "go", "-C", root, "run", "./enforce/benchnode", "-write-world", path, "-pods", size, "-policies", size))
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	config := cp.AdminConfig()
	config.QPS = -1
	api, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(16)
	lines := bufio.NewScanner(file)
	last := ""
	for lines.Scan() {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(lines.Bytes()); err != nil {
			b.Fatal(err)
		}
		if o.GetKind() != last && last == "Namespace" { // what is in them needs them
			if err := group.Wait(); err != nil {
				b.Fatal(err)
			}
			group, ctx = errgroup.WithContext(b.Context())
			group.SetLimit(16)
		}
		last = o.GetKind()
		group.Go(func() error { return create(ctx, api, o) })
	}
	if err := errors.Join(lines.Err(), group.Wait()); err != nil {
		b.Fatal(err)
	}
}

// create creates an object, and a pod's status, which the API server does not take at the creation.
func create(ctx context.Context, api dynamic.Interface, o *unstructured.Unstructured) error {
	group := o.GroupVersionKind()
	resource := api.Resource(schema.GroupVersionResource{Group: group.Group, Version: group.Version, Resource: plural(group.Kind)})
	client := dynamic.ResourceInterface(resource)
	if ns := o.GetNamespace(); ns != "" {
		client = resource.Namespace(ns)
	}
	if group.Kind == "Pod" {
		if err := unstructured.SetNestedSlice(o.Object, []any{map[string]any{
			"name": "c", "image": "none", "ports": []any{map[string]any{"name": "http", "containerPort": int64(8080)}},
		}}, "spec", "containers"); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	made, err := client.Create(ctx, o, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create %s: %w", o.GetName(), err)
	}
	if group.Kind != "Pod" {
		return nil
	}
	made.Object["status"] = o.Object["status"]
	if _, err := client.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("create %s: %w", o.GetName(), err)
	}
	return nil
}

func plural(kind string) string {
	if s, ok := strings.CutSuffix(strings.ToLower(kind), "y"); ok {
		return s + "ies"
	}
	return strings.ToLower(kind) + "s"
}

// measureAgent starts the agent of the node that has pods, waits until it is ready, and changes labels.
func measureAgent(b *testing.B, cp *controlplane.ControlPlane, binary, netns string) {
	b.Helper()
	dir := b.TempDir()
	kubeconfig, err := cp.EncodeKubeconfig(cp.NetNSURL(), "admin", "system:masters")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), kubeconfig, 0o600); err != nil {
		b.Fatal(err)
	}
	socket, pins := filepath.Join(dir, "agent.sock"), "/sys/fs/bpf/"+netns
	agent := exec.CommandContext(b.Context(), binary, "run", "--kubeconfig", filepath.Join(dir, "kubeconfig"), "--node-name=node-local",
		"--namespace=default", "--backend=bpf", "--dataplane=forward", "--pod-cidrs=10.0.0.0/8", "--socket", socket, "--bpf-dir", pins,
		"--metrics-bind-address=127.0.0.1:9646")
	agent.Env = append(os.Environ(), "GOMEMLIMIT=460MiB") // as in the chart
	log := &strings.Builder{}
	agent.Stdout, agent.Stderr = log, log
	began := time.Now()
	exited, err := controlplane.StartTiedIn("/run/netns/"+netns, agent)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := agent.Process.Kill(); err != nil {
			b.Error(err)
		}
		<-exited
		command(b, exec.CommandContext(b.Context(), "ip", "netns", "exec", netns, binary, "cleanup", "--socket", socket, "--bpf-dir", pins))
	}()
	var status struct {
		WhyNotReady string `json:"whyNotReady"`
	}
	eventually(b, "the agent is ready", func(ctx context.Context) error {
		select {
		case err := <-exited:
			b.Fatalf("the agent ended: %v\n%s", err, log)
		default:
		}
		out, err := exec.CommandContext(ctx, binary, "status", "--json", "--socket", socket).Output()
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		if err := json.Unmarshal(out, &status); err != nil || status.WhyNotReady != "" {
			return fmt.Errorf("not ready: %s: %w", status.WhyNotReady, err)
		}
		return nil
	})
	b.ReportMetric(time.Since(began).Seconds(), "s-to-ready")
	b.ReportMetric(resident(b, agent.Process.Pid, "VmRSS"), "MiB-resident-at-start")

	api, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"team":"team-%d"}}}`, i%10)
		ns, account := fmt.Sprintf("ns-%d", i%50), fmt.Sprintf("sa-%d", i%7)
		if _, err := api.CoreV1().ServiceAccounts(ns).Patch(b.Context(), account, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(resident(b, agent.Process.Pid, "VmRSS"), "MiB-resident")
	b.ReportMetric(resident(b, agent.Process.Pid, "VmHWM"), "MiB-peak")
}

// resident returns a field of /proc/PID/status in MiB.
func resident(b *testing.B, pid int, field string) float64 {
	b.Helper()
	text, err := statusOf(pid, field)
	if err != nil {
		b.Fatal(err)
	}
	kB, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB / 1024
}
