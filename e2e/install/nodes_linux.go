package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/saguard/saguard/e2e/node"
	"github.com/saguard/saguard/internal/identity"
)

// registry is the host in the names of our images: no node ever asks it, they have the images already.
const registry = "saguard.test"

// OnNodes starts a control plane with real nodes and installs the chart as a user would: the webhook is its Deployment
// behind its Service, with the certificate that the chart makes. nodes' ControlPlane and Log are those of o. It returns when
// the Deployment is available and registered.
func OnNodes(ctx context.Context, o Options, nodes node.Options) (_ *Installation, _ *node.Cluster, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	root, err := Root()
	if err != nil {
		return nil, nil, err
	}
	i := &Installation{options: o, root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close(context.WithoutCancel(ctx)))
		}
	}()
	if i.dir, err = os.MkdirTemp("", "saguard-install-"); err != nil {
		return nil, nil, fmt.Errorf("make folder: %w", err)
	}
	nodes.ControlPlane, nodes.Log = o.ControlPlane, o.Log
	more := nodes.Images
	nodes.Images = func(ctx context.Context) ([]node.Image, error) {
		images, err := i.images(ctx)
		if err == nil && more != nil {
			var given []node.Image
			given, err = more(ctx)
			images = append(images, given...)
		}
		return images, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return i.buildTools(groupCtx) })
	cluster, err := node.Start(ctx, nodes)
	if err := errors.Join(err, group.Wait()); err != nil {
		if cluster != nil {
			err = errors.Join(err, cluster.Close(context.WithoutCancel(ctx)))
		}
		return nil, nil, err
	}
	i.CP, i.stop = cluster.CP, cluster.Close
	if i.Admin, err = i.CP.Kubeconfig("admin", identity.SystemMasters); err != nil {
		return nil, nil, err
	}
	if err := i.installOnNodes(ctx); err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, i.describe(ctx))
	}
	return i, cluster, nil
}

// images are those the Dockerfile makes, from the same source.
func (i *Installation) images(ctx context.Context) ([]node.Image, error) {
	images := []node.Image{i.image("webhook")}
	if i.options.Agent {
		images = append(images, i.image("agent"))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, image := range images {
		for name, program := range image.Files {
			group.Go(func() error { return node.Build(ctx, i.root, "./cmd"+name, program) })
		}
	}
	return images, group.Wait()
}

func (i *Installation) image(part string) node.Image {
	program := "/saguard-" + part
	return node.Image{
		Ref:        registry + "/saguard/" + part + ":" + imageTag,
		Files:      map[string]string{program: i.path("saguard-" + part)},
		Entrypoint: []string{program},
		User:       "65532:65532",
	}
}

// imageTag says where an image is from.
const imageTag = "this-checkout"

func (i *Installation) installOnNodes(ctx context.Context) error {
	if _, err := i.Kubectl(ctx, i.Admin, "create", "namespace", Namespace); err != nil {
		return err
	}
	values := []string{"-set", "webhook.image.registry=" + registry, "-set", "webhook.image.tag=" + imageTag}
	rollouts := []string{"deployment/" + releaseName}
	if i.options.Agent {
		values = append(values, "-set", "agent.enabled=true", "-set", "agent.image.registry="+registry, "-set", "agent.image.tag="+imageTag)
		rollouts = append(rollouts, "daemonset/"+releaseName+"-agent")
	}
	if i.options.Agent {
		if err := i.CP.InstallCRDs(ctx, os.DirFS(filepath.Join(i.root, "e2e", "testdata", "calico-crds"))); err != nil {
			return err
		}
	}
	if err := i.render(ctx, values...); err != nil {
		return err
	}
	if err := i.applyObjects(ctx); err != nil {
		return err
	}
	for _, what := range rollouts {
		if _, err := i.Kubectl(ctx, i.Admin, "rollout", "status", what, "-n", Namespace, "--timeout=90s"); err != nil {
			return err
		}
	}
	return i.Register(ctx)
}

// describe is what a person would look at when an installation fails.
func (i *Installation) describe(ctx context.Context) string {
	text := ""
	for _, args := range [][]string{
		{"get", "pods,replicasets,daemonsets", "-o", "wide", "-n", Namespace},
		{"get", "events", "-n", Namespace},
		{"logs", "-n", Namespace, "--all-containers", "--prefix", "--tail=30", "--ignore-errors", "-l", "app.kubernetes.io/instance=" + releaseName},
	} {
		out, err := i.CP.Kubectl(context.WithoutCancel(ctx), i.Admin, args...)
		if err != nil {
			return text + err.Error()
		}
		text += out.Stdout + out.Stderr
	}
	return text
}
