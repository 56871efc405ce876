package docs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/e2e/reference"
)

// patience is for what was just granted to be known everywhere.
const patience = 20 * time.Second

// shellOf runs a page's blocks one after the other, in one folder.
type shellOf struct {
	t   *testing.T
	i   *install.Installation
	dir string
}

func (s *shellOf) run(ctx context.Context, script string) (string, error) {
	// The API server's audit log, for those who read it.
	log, err := os.ReadFile(s.i.CP.AuditLog())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "audit.log"), log, 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", script)
	cmd.Dir = s.dir
	cmd.Env = []string{"KUBECONFIG=" + s.i.Admin, "HOME=" + s.dir,
		"PATH=" + filepath.Dir(s.i.CP.Paths().Kubectl) + ":" + filepath.Dir(s.i.CLI()) + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// block runs one block until it does what its page says, since a grant takes a moment to be known everywhere. A block that fails before
// has no effect that a second run would not have.
func (s *shellOf) block(p *page, b block) bool {
	want, refused := strings.CutPrefix(b.directive, "refused: ")
	var last string
	err := wait.PollUntilContextTimeout(s.t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		out, err := s.run(ctx, b.text)
		if ctx.Err() == nil {
			last = out
		}
		if refused {
			return err != nil && strings.Contains(out, want), nil
		}
		return err == nil, nil
	})
	if err != nil {
		s.t.Errorf("%s:%d: %s: %v; it printed\n%s", p.path, b.line, b.directive, err, last)
	}
	return err == nil
}

// Every recipe, pasted into a shell block by block, does what it says.
func TestRecipesDoWhatTheySay(t *testing.T) {
	i, err := install.New(t.Context(), install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, AuditBlocking: true, Log: t.Output()}, CLI: true, Log: t.Output(),
		WebhookArgs: []string{"--scan-interval=5s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := i.CP.InstallCRDs(t.Context(), os.DirFS("../testdata/calico-crds")); err != nil {
		t.Fatal(err)
	}
	// Guards and bands of the pages, also of those that are not run, are what the CRDs accept.
	for _, p := range pages(t) {
		for _, m := range manifests(t, p) {
			if !strings.Contains(m.text, "apiVersion: saguard.io/") {
				continue
			}
			if _, err := i.KubectlStdin(t.Context(), i.Admin, strings.NewReader(m.text), "create", "--dry-run=server", "-f", "-"); err != nil {
				t.Errorf("%s: %v", m.at, err)
			}
		}
	}
	ran := 0
	for _, p := range guides(t) {
		var blocks []block
		for _, b := range p.blocks {
			if b.directive != "" {
				blocks = append(blocks, b)
			}
		}
		if len(blocks) == 0 {
			continue
		}
		t.Run(p.path, func(t *testing.T) {
			s := &shellOf{t: t, i: i, dir: t.TempDir()}
			for _, b := range blocks {
				if !s.block(p, b) {
					return // what comes after builds on it
				}
				ran++
			}
			// Guards and bands hold for everybody; the next page brings its own.
			if out, err := s.run(t.Context(), "kubectl delete serviceaccountguards,policybands --all"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	runningMetrics(t, i)
	t.Logf("%d blocks did what they say", ran)
	if ran == 0 {
		t.Error("no block was run")
	}
}

// runningMetrics compares what the running webhook exposes with the reference. What has no value yet is not exposed.
func runningMetrics(t *testing.T, i *install.Installation) {
	t.Helper()
	all, err := reference.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]reference.Metric{}
	for _, m := range all["Webhook"] {
		described[m.Name] = m
	}
	families, err := i.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, family := range families {
		if !strings.HasPrefix(name, "saguard_") {
			continue
		}
		seen++
		d, ok := described[name]
		if !ok || d.Type != strings.ToLower(family.GetType().String()) {
			t.Errorf("the webhook has %s %s, the reference %+v", family.GetType(), name, d)
		}
		for _, l := range family.GetMetric()[0].GetLabel() {
			if !slices.Contains(d.Labels, l.GetName()) {
				t.Errorf("%s has label %s, the reference %v", name, l.GetName(), d.Labels)
			}
		}
	}
	t.Logf("%d of %d metrics of the webhook have values", seen, len(described))
	if seen == 0 {
		t.Error("the webhook has no metrics")
	}
}
