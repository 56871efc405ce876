// Package helmtest tries on a real API server what the chart makes beside the webhook: the hooks of Helm, the webhook's share of the
// API server, profiles, and whether the permissions that the roles grant are used.
package helmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/internal/identity"
)

// world is one installation for all tests of the package, which run one after the other, and the two programs that they use.
type world struct {
	*install.Installation
	root, renderer, webhook string
}

var shared world

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "saguard-helmtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if shared, err = newWorld(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	defer func() {
		if err := shared.Close(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
	}()
	return m.Run()
}

func newWorld(ctx context.Context, dir string) (world, error) {
	root, err := install.Root()
	if err != nil {
		return world{}, err
	}
	w := world{root: root, renderer: filepath.Join(dir, "render"), webhook: filepath.Join(dir, "saguard-webhook")}
	for module, program := range map[string]string{"./cmd/saguard-webhook": w.webhook, "./cmd/render": w.renderer} {
		from := root
		if module == "./cmd/render" {
			from = filepath.Join(root, "e2e", "chart")
		}
		if out, err := exec.CommandContext(ctx, "go", "build", "-C", from, "-trimpath", "-o", program, module).CombinedOutput(); err != nil {
			return world{}, fmt.Errorf("build %s: %w\n%s", module, err, out)
		}
	}
	if w.Installation, err = install.New(ctx, install.Options{Log: os.Stderr, ControlPlane: controlplane.Options{Log: os.Stderr}, WebhookArgs: []string{"--scan-interval=1s"}}); err != nil {
		return world{}, err
	}
	// The webhook follows Calico's policies as soon as there are such.
	if err := w.CP.InstallCRDs(ctx, os.DirFS(filepath.Join(root, "e2e", "testdata", "calico-crds"))); err != nil {
		return world{}, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

// render returns the chart's objects, or with "-hooks" among the arguments those that only a Helm client makes.
func (w world) render(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	args = append([]string{"-chart", filepath.Join(w.root, "charts", "saguard"), "-namespace", install.Namespace, "-kube-version", "v1.36.3"}, args...)
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(t.Context(), w.renderer, args...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("render %q: %v\n%s", args, err, messages.String())
	}
	decoder := yaml.NewYAMLOrJSONDecoder(&out, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
}

// apply applies objects as the administrator does.
func (w world) apply(t *testing.T, objects ...*unstructured.Unstructured) {
	t.Helper()
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
	for _, object := range objects {
		list.Items = append(list.Items, *object)
	}
	text, err := list.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.KubectlStdin(t.Context(), w.Admin, bytes.NewReader(text), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// account returns a kubeconfig of a service account of the release.
func (w world) account(t *testing.T, name string) string {
	t.Helper()
	account, err := identity.NewServiceAccount(install.Namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := w.CP.Kubeconfig(account.Username(), account.Groups()...)
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// must runs kubectl as the administrator.
func (w world) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Kubectl(t.Context(), w.Admin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.Stdout)
}

// eventually waits for a condition; why says what it waits for.
func eventually(t *testing.T, why string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last error
	if err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("wait for %s: %v: %v", why, err, last)
	}
}
