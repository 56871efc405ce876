package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"

	dto "github.com/prometheus/client_model/go"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/run"
)

// ReplicaOptions are those of one webhook process among several.
type ReplicaOptions struct {
	// Name is unique in the installation; it is in the names of files.
	Name string
	// Program is the binary; "" is that of this checkout.
	Program string
	// APIServer is the URL by which the replica reaches the API server; "" is the control plane's own.
	APIServer string
	// Args are further arguments, after those of the installation.
	Args []string
}

// Replica is one webhook process, on ports of its own.
type Replica struct {
	Name string
	// Address is HOST:PORT of the webhook.
	Address string
	// MetricsAddress is HOST:PORT; HealthURL is that of /readyz.
	MetricsAddress, HealthURL string
	// LogPath is the file of its own log.
	LogPath string

	cmd  *exec.Cmd
	done chan struct{}
	err  error // read only after done
}

// StartReplica starts a webhook with the installation's certificate, under its service account. It does not wait.
func (i *Installation) StartReplica(o ReplicaOptions) (*Replica, error) {
	account, err := identity.NewServiceAccount(Namespace, releaseName)
	if err != nil {
		return nil, err
	}
	url := o.APIServer
	if url == "" {
		url = i.CP.URL()
	}
	text, err := i.CP.EncodeKubeconfig(url, account.Username(), account.Groups()...)
	if err != nil {
		return nil, err
	}
	kubeconfig := i.path("kubeconfig-" + o.Name)
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	var ports [3]int
	for n := range ports {
		if ports[n], err = freePort(); err != nil {
			return nil, err
		}
	}
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	r := &Replica{
		Name: o.Name, Address: at(ports[0]), MetricsAddress: at(ports[1]), HealthURL: "http://" + at(ports[2]) + "/readyz",
		LogPath: i.path(o.Name + ".log"), done: make(chan struct{}),
	}
	records, err := os.OpenFile(i.path(o.Name+".jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	log, err := os.OpenFile(r.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), records.Close())
	}
	program := o.Program
	if program == "" {
		program = i.path("saguard-webhook")
	}
	r.cmd = exec.Command(program, append([]string{
		"--kubeconfig", kubeconfig, "--namespace", Namespace, "--identity", o.Name, "--cert-dir", i.dir, "--bind-address", r.Address,
		"--metrics-bind-address", r.MetricsAddress, "--health-probe-bind-address", at(ports[2]),
	}, slices.Concat(i.options.WebhookArgs, o.Args)...)...)
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.Env = records, log, append(os.Environ(), i.env...)
	exited, err := controlplane.StartTied(r.cmd)
	if err := errors.Join(err, records.Close(), log.Close()); err != nil {
		return nil, fmt.Errorf("start replica %s: %w", o.Name, err)
	}
	go func() {
		r.err = <-exited
		close(r.done)
	}()
	i.replicas = append(i.replicas, r)
	return r, nil
}

// BuildWebhook compiles the webhook with another version in it, and returns the program's path.
func (i *Installation) BuildWebhook(ctx context.Context, version string) (string, error) {
	out := i.path("saguard-webhook-" + version)
	cmd := exec.CommandContext(ctx, "go", "build", "-C", i.root, "-trimpath", "-ldflags", "-X main.version="+version, "-o", out, "./cmd/saguard-webhook")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as buildProduct
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build version %s: %w\n%s", version, err, text)
	}
	return out, nil
}

// Pid returns the process ID.
func (r *Replica) Pid() int { return r.cmd.Process.Pid }

// Done is closed when the process has ended.
func (r *Replica) Done() <-chan struct{} { return r.done }

// Ready asks the replica's readiness.
func (r *Replica) Ready(ctx context.Context) (run.Report, error) {
	var report run.Report
	body, err := get(ctx, r.HealthURL)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal(body, &report)
}

// Counter sums the replica's counters of a name whose labels include those given.
func (r *Replica) Counter(ctx context.Context, name string, labels map[string]string) (float64, error) {
	return counterOf(ctx, r.MetricsAddress, name, labels)
}

// Metrics returns the replica's metrics by name.
func (r *Replica) Metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	return metricsOf(ctx, r.MetricsAddress)
}

// End sends a signal and waits for the process. When ctx ends first, the process is killed, and an error says so. A process
// that ended with a code other than 0, and not by the signal, is an error too.
func (r *Replica) End(ctx context.Context, sig syscall.Signal) error {
	if err := r.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal replica %s: %w", r.Name, err)
	}
	select {
	case <-r.done:
		if exit, ok := errors.AsType[*exec.ExitError](r.err); ok && exit.ExitCode() == -1 && sig == syscall.SIGKILL {
			return nil
		}
		if r.err != nil {
			log, _ := os.ReadFile(r.LogPath) //nolint:errcheck // best effort in an error's text
			return fmt.Errorf("replica %s ended: %w\n%s", r.Name, r.err, log)
		}
		return nil
	case <-ctx.Done():
		err := r.cmd.Process.Kill()
		<-r.done
		return errors.Join(fmt.Errorf("replica %s did not end: %w", r.Name, context.Cause(ctx)), err)
	}
}
