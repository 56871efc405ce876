package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/internal/identity"
)

// Uninstall does what `helm uninstall` and the cluster do: the hooks of phase pre-delete, of which a Job is run as its pod
// would be, then the objects in Helm's order without waiting for any, except for those that it keeps; then the replicas end.
// unregistered, if given, is called between the hooks and the rest.
func (i *Installation) Uninstall(ctx context.Context, unregistered func() error) error {
	hooks, err := i.objects(ctx, append(slices.Clone(i.base), "-hooks")...)
	if err != nil {
		return err
	}
	hooks = slices.DeleteFunc(hooks, func(o *unstructured.Unstructured) bool { return o.GetAnnotations()["helm.sh/hook"] != "pre-delete" })
	for _, hook := range hooks {
		if err := i.runHook(ctx, hook); err != nil {
			return fmt.Errorf("hook %s %s: %w", hook.GetKind(), hook.GetName(), err)
		}
	}
	if err := i.remove(ctx, hooks); err != nil {
		return err
	}
	if unregistered != nil {
		if err := unregistered(); err != nil {
			return err
		}
	}
	objects, err := i.objects(ctx, append(slices.Clone(i.base), "-uninstall")...)
	if err != nil {
		return err
	}
	if err := i.remove(ctx, objects); err != nil || i.service == nil {
		return err
	}
	replicas := i.service.Ready()
	ended := make(chan error, len(replicas))
	for _, r := range replicas {
		go func() { ended <- i.service.Terminate(ctx, r) }()
	}
	var errs []error
	for range replicas {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// runHook makes the object, or runs it if it is a Job.
func (i *Installation) runHook(ctx context.Context, hook *unstructured.Unstructured) error {
	if hook.GetKind() != "Job" {
		text, err := hook.MarshalJSON()
		if err != nil {
			return err
		}
		_, err = i.KubectlStdin(ctx, i.Admin, bytes.NewReader(text), "create", "-f", "-")
		return err
	}
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(hook.Object, &job); err != nil {
		return fmt.Errorf("read Job: %w", err)
	}
	spec := job.Spec.Template.Spec
	account, err := identity.NewServiceAccount(Namespace, spec.ServiceAccountName)
	if err != nil {
		return err
	}
	kubeconfig, err := i.CP.Kubeconfig(account.Username(), account.Groups()...)
	if err != nil {
		return err
	}
	for _, c := range spec.Containers {
		if c.Command != nil {
			return fmt.Errorf("container %s: command %v, want the image's own", c.Name, c.Command)
		}
		cmd := exec.CommandContext(ctx, i.path("saguard-webhook"), append(slices.Clone(c.Args), "--kubeconfig", kubeconfig)...)
		cmd.Env = append(os.Environ(), "POD_NAMESPACE="+Namespace)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("container %s: %w\n%s", c.Name, err, text)
		}
	}
	return nil
}

// remove deletes objects one after the other, and waits for none.
func (i *Installation) remove(ctx context.Context, objects []*unstructured.Unstructured) error {
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": objects}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode objects: %w", err)
	}
	_, err = i.KubectlStdin(ctx, i.Admin, bytes.NewReader(text), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
	return err
}
