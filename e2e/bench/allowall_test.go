package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// hook is a running webhook process, ours or the other.
type hook struct {
	url, metrics string
	pid          int
}

// callsMetric is counted by controller-runtime in front of every handler, with the path as label "webhook".
const callsMetric = "controller_runtime_webhook_requests_total"

// calls returns how often each path was called since the process started.
func (h *hook) calls(ctx context.Context) (validate, mutate int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.metrics+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, 0, fmt.Errorf("read metrics: %w", err)
	}
	for _, m := range families[callsMetric].GetMetric() {
		for _, label := range m.GetLabel() {
			switch label.GetValue() {
			case "/validate":
				validate += int(m.GetCounter().GetValue())
			case "/mutate":
				mutate += int(m.GetCounter().GetValue())
			}
		}
	}
	return validate, mutate, nil
}

// startAllowAll builds and starts the other webhook, which ends with the benchmark.
func startAllowAll(tb testing.TB, cp *controlplane.ControlPlane) *hook {
	tb.Helper()
	root, err := install.Root()
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	binary := filepath.Join(dir, "allowall")
	build := exec.CommandContext(tb.Context(), "go", "build", "-C", filepath.Join(root, "e2e"), "-trimpath", "-o", binary, "./cmd/allowall")
	if text, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build allowall: %v\n%s", err, text)
	}
	pair, err := cp.ServingCert(nil, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	port, metrics := freePort(tb), freePort(tb)
	cmd := exec.Command(binary, "-cert-dir", dir, "-port", strconv.Itoa(port), "-metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", metrics))
	exited, err := controlplane.StartTied(cmd)
	if err != nil {
		tb.Fatalf("start allowall: %v", err)
	}
	tb.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			tb.Errorf("stop allowall: %v", err)
		}
		if err := <-exited; err != nil {
			tb.Errorf("allowall ended: %v", err)
		}
	})
	h := &hook{url: fmt.Sprintf("https://127.0.0.1:%d", port), metrics: fmt.Sprintf("127.0.0.1:%d", metrics), pid: cmd.Process.Pid}
	eventually(tb, "the allow-all webhook serves", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		if _, _, err := h.calls(ctx); err != nil {
			return errors.Join(err, conn.Close())
		}
		return conn.Close()
	})
	return h
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatalf("address %v", l.Addr())
	}
	return addr.Port
}

// eventually polls until the condition has no error.
func eventually(tb testing.TB, what string, condition func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	var last error
	if err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	}); err != nil {
		tb.Fatalf("wait until %s: %v", what, last)
	}
}
