package install

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

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/internal/identity"
)

// Namespace is where the release is installed.
const Namespace = "saguard-system"

// releaseName also names the chart's objects.
const releaseName = "saguard"

// Options choose what is installed.
type Options struct {
	// ControlPlane is started with these.
	ControlPlane controlplane.Options
	// Values are --set arguments for the chart, such as "webhook.failurePolicy.validating=Ignore".
	Values []string
	// WebhookArgs are further arguments of the webhook.
	WebhookArgs []string
	// Agent runs the agent too, as the chart's DaemonSet, and installs Calico's CRDs, of which it enforces the policies;
	// OnNodes only.
	Agent bool
	// Replicas is how many webhooks run behind a stand-in for the Service; 0 is one that the API server calls at its own port,
	// see StartWebhook. Not OnNodes, where the Deployment decides.
	Replicas int
	// CLI compiles kubectl-saguard beside the rest; see BuildCLI.
	CLI bool
	// Log receives progress.
	Log io.Writer
}

// Installation is a control plane with saguard in it.
type Installation struct {
	CP *controlplane.ControlPlane
	// Admin is the kubeconfig of a system:masters user.
	Admin string

	options  Options
	root     string
	dir      string
	port     int
	webhook  *Webhook
	service  *Service
	replicas []*Replica
	// env is of the replicas' environment what the chart takes from the pod.
	env []string
	// base are the arguments of the first rendering.
	base     []string
	rendered []*unstructured.Unstructured
	// stop ends what CP is part of; nil means CP alone.
	stop func(context.Context) error
}

// New starts a control plane, installs the chart and waits until the webhook is ready and registered.
func New(ctx context.Context, o Options) (_ *Installation, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	i := &Installation{options: o, root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close(context.WithoutCancel(ctx)))
		}
	}()
	if i.dir, err = os.MkdirTemp("", "saguard-install-"); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return buildProduct(groupCtx, root, "./cmd/saguard-webhook", i.path("saguard-webhook")) })
	group.Go(func() error { return i.buildTools(groupCtx) })
	// The control plane lives longer than the group, so it must not get the group's context.
	cp, err := controlplane.Start(ctx, o.ControlPlane)
	if err := errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	i.CP = cp
	if i.Admin, err = cp.Kubeconfig("admin", identity.SystemMasters); err != nil {
		return nil, err
	}
	if err := i.install(ctx); err != nil {
		return nil, err
	}
	return i, nil
}

// buildTools compiles what runs on this machine.
func (i *Installation) buildTools(ctx context.Context) error {
	if err := build(ctx, filepath.Join(i.root, "e2e", "chart"), "./cmd/render", i.path("render")); err != nil || !i.options.CLI {
		return err
	}
	return i.BuildCLI(ctx)
}

// install does what `helm install` and the kubelets would: objects first, then the running webhook, then its registration.
func (i *Installation) install(ctx context.Context) error {
	if _, err := i.Kubectl(ctx, i.Admin, "create", "namespace", Namespace); err != nil {
		return err
	}
	if err := i.prepareWebhook(ctx); err != nil {
		return err
	}
	i.base = []string{
		"-set", "certificates.source=secret", "-set", "certificates.secretName=saguard-tls",
		"-set", "webhook.url=" + i.WebhookURL(), "-set-file", "webhook.caBundle=" + i.path("ca.crt"),
	}
	if err := i.render(ctx, i.base...); err != nil {
		return err
	}
	if err := i.applyObjects(ctx); err != nil {
		return err
	}
	start := i.StartWebhook
	if i.service != nil {
		start = i.startReplicas
	}
	if err := start(ctx); err != nil {
		return err
	}
	return i.Register(ctx)
}

// applyObjects applies all but the webhooks' registration, and waits for the CRDs.
func (i *Installation) applyObjects(ctx context.Context) error {
	if err := i.apply(ctx, func(kind string) bool { return !strings.HasSuffix(kind, "WebhookConfiguration") }); err != nil {
		return err
	}
	_, err := i.Kubectl(ctx, i.Admin, "wait", "--for=condition=Established", "--timeout=30s", "crd/serviceaccountguards.saguard.io", "crd/policybands.saguard.io")
	return err
}

// Register applies the webhook configurations, and waits until the API server has taken them up.
func (i *Installation) Register(ctx context.Context) error {
	if err := i.apply(ctx, func(kind string) bool { return strings.HasSuffix(kind, "WebhookConfiguration") }); err != nil {
		return err
	}
	return i.waitRegistered(ctx)
}

// render renders the chart with values as arguments of e2e/chart/cmd/render, those of the options last.
func (i *Installation) render(ctx context.Context, values ...string) (err error) {
	i.rendered, err = i.objects(ctx, values...)
	return err
}

// objects are what render prints.
func (i *Installation) objects(ctx context.Context, values ...string) ([]*unstructured.Unstructured, error) {
	args := append([]string{
		"-chart", filepath.Join(i.root, "charts", "saguard"), "-release", releaseName, "-namespace", Namespace, "-kube-version", "v1.36.3",
	}, values...)
	for _, v := range i.options.Values {
		args = append(args, "-set", v)
	}
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, i.path("render"), args...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("render chart: %w\n%s", err, messages.String())
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(&out, 4096)
	for {
		obj := &unstructured.Unstructured{}
		err := decoder.Decode(obj)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read rendered chart: %w", err)
		}
		objects = append(objects, obj)
	}
}

func (i *Installation) apply(ctx context.Context, kinds func(string) bool) error {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("v1")
	list.SetKind("List")
	for _, o := range i.rendered {
		if kinds(o.GetKind()) {
			list.Items = append(list.Items, *o)
		}
	}
	text, err := list.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode chart: %w", err)
	}
	_, err = i.KubectlStdin(ctx, i.Admin, bytes.NewReader(text), "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

func (i *Installation) path(name string) string { return filepath.Join(i.dir, name) }

// Close stops everything and removes the folder.
func (i *Installation) Close(ctx context.Context) error {
	var errs []error
	ended := make(chan error, 1)
	if i.webhook != nil {
		// The webhook is waiting for its clients to leave: the API server does, by ending.
		go func() { ended <- i.StopWebhook(ctx) }()
	} else {
		ended <- nil
	}
	errs = append(errs, i.endReplicas(ctx))
	switch {
	case i.stop != nil:
		errs = append(errs, i.stop(ctx))
	case i.CP != nil:
		errs = append(errs, i.CP.Stop(ctx))
	}
	errs = append(errs, <-ended)
	if i.dir != "" {
		errs = append(errs, os.RemoveAll(i.dir))
	}
	if i.service != nil {
		errs = append(errs, i.service.close())
	}
	return errors.Join(errs...)
}
