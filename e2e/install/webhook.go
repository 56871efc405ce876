package install

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/run"
)

// Webhook is one running webhook process.
type Webhook struct {
	cmd                       *exec.Cmd
	exited                    <-chan error
	MetricsAddress, HealthURL string
}

// Pid returns the process ID.
func (w *Webhook) Pid() int { return w.cmd.Process.Pid }

// poll is how often conditions are looked at.
const poll = 50 * time.Millisecond

// prepareWebhook writes what the chart's Secret and service account hold in a cluster with kubelets.
func (i *Installation) prepareWebhook(ctx context.Context) (err error) {
	if i.options.Replicas > 0 {
		if i.service, err = newService(ctx); err != nil {
			return err
		}
		i.port, err = i.service.port()
	} else {
		i.port, err = freePort()
	}
	if err != nil {
		return err
	}
	pair, err := i.CP.ServingCert(nil, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": i.CP.CABundle()} {
		if err := os.WriteFile(i.path(name), data, 0o600); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}

// WebhookURL is the base of the webhook's URLs.
func (i *Installation) WebhookURL() string { return fmt.Sprintf("https://127.0.0.1:%d", i.port) }

// StartWebhook starts the webhook and waits until it is ready. Its decision records go to RecordsPath, its log to LogPath.
func (i *Installation) StartWebhook(ctx context.Context) error {
	if err := i.StartWebhookNotReady(ctx); err != nil {
		return err
	}
	return i.waitReady(ctx)
}

// StartWebhookNotReady starts the webhook and waits only until its health endpoint answers.
func (i *Installation) StartWebhookNotReady(ctx context.Context) error {
	if i.webhook != nil {
		return errors.New("the webhook runs already")
	}
	account, err := identity.NewServiceAccount(Namespace, releaseName)
	if err != nil {
		return err
	}
	kubeconfig, err := i.CP.Kubeconfig(account.Username(), account.Groups()...)
	if err != nil {
		return err
	}
	metrics, err := freePort()
	if err != nil {
		return err
	}
	health, err := freePort()
	if err != nil {
		return err
	}
	w := &Webhook{MetricsAddress: fmt.Sprintf("127.0.0.1:%d", metrics), HealthURL: fmt.Sprintf("http://127.0.0.1:%d/readyz", health)}
	records, err := os.OpenFile(i.RecordsPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	log, err := os.OpenFile(i.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), records.Close())
	}
	args := append([]string{
		"--kubeconfig", kubeconfig, "--namespace", Namespace, "--cert-dir", i.dir,
		"--bind-address", net.JoinHostPort("127.0.0.1", strconv.Itoa(i.port)),
		"--metrics-bind-address", w.MetricsAddress, "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", health),
	}, i.options.WebhookArgs...)
	w.cmd = exec.Command(i.path("saguard-webhook"), args...)
	w.cmd.Stdout, w.cmd.Stderr = records, log
	w.exited, err = controlplane.StartTied(w.cmd)
	if err := errors.Join(err, records.Close(), log.Close()); err != nil {
		return fmt.Errorf("start webhook: %w", err)
	}
	i.webhook = w
	return i.waitWebhook(ctx, func(run.Report) error { return nil })
}

// Webhook returns the running process; nil if there is none.
func (i *Installation) Webhook() *Webhook { return i.webhook }

// StopWebhook ends the process with SIGTERM and waits for it.
func (i *Installation) StopWebhook(ctx context.Context) error {
	return i.EndWebhook(ctx, syscall.SIGTERM)
}

// EndWebhook ends the process with a signal and waits for it.
func (i *Installation) EndWebhook(ctx context.Context, sig syscall.Signal) error {
	w := i.webhook
	if w == nil {
		return nil
	}
	i.webhook = nil
	if err := w.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal webhook: %w", err)
	}
	select {
	case err := <-w.exited:
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == -1 {
			return nil // by the signal
		}
		return err
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), w.cmd.Process.Kill())
	}
}

func (i *Installation) waitReady(ctx context.Context) error {
	return i.waitWebhook(ctx, func(r run.Report) error {
		if !r.Ready {
			return fmt.Errorf("not ready: %v", r.Reasons)
		}
		return nil
	})
}

// waitWebhook waits until the health endpoint answers and the report has no error.
func (i *Installation) waitWebhook(ctx context.Context, check func(run.Report) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-i.webhook.exited:
			return false, fmt.Errorf("webhook exited: %w", err)
		default:
		}
		report, err := i.Ready(ctx)
		if err == nil {
			err = check(report)
		}
		last = err
		return last == nil, nil
	})
	if err != nil {
		log, _ := os.ReadFile(i.LogPath()) //nolint:errcheck // best effort in an error's text
		return fmt.Errorf("wait for the webhook: %w: %w\n%s", err, last, log)
	}
	return nil
}

// Ready asks the webhook's readiness.
func (i *Installation) Ready(ctx context.Context) (run.Report, error) {
	var report run.Report
	body, err := get(ctx, i.webhook.HealthURL)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal(body, &report)
}

// Metrics returns the webhook's metrics by name.
func (i *Installation) Metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	return metricsOf(ctx, i.webhook.MetricsAddress)
}

func metricsOf(ctx context.Context, address string) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// Counter sums the counters of a name whose labels include those given.
func (i *Installation) Counter(ctx context.Context, name string, labels map[string]string) (float64, error) {
	return counterOf(ctx, i.webhook.MetricsAddress, name, labels)
}

func counterOf(ctx context.Context, address, name string, labels map[string]string) (float64, error) {
	families, err := metricsOf(ctx, address)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		matches := true
		for k, v := range labels {
			matches = matches && have[k] == v
		}
		if matches {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum, nil
}

// RecordsPath is the file of decision records; LogPath that of the webhook's own log.
func (i *Installation) RecordsPath() string { return i.path("records.jsonl") }

// LogPath is the file of the webhook's own log.
func (i *Installation) LogPath() string { return i.path("webhook.log") }

// Records returns all decision records written so far.
func (i *Installation) Records() ([]audit.Record, error) {
	f, err := os.Open(i.RecordsPath())
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	defer func() { _ = f.Close() }()
	var out []audit.Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("record %d: %w", len(out), err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}
