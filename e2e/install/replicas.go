package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Service is what the replicas are behind; nil without Options.Replicas.
func (i *Installation) Service() *Service { return i.service }

// Objects are those of the chart as it was rendered last, in the order in which Helm installs them.
func (i *Installation) Objects() []*unstructured.Unstructured { return i.rendered }

// startReplicas starts as many as are asked for, and waits until all are endpoints.
func (i *Installation) startReplicas(ctx context.Context) error {
	if err := i.describePod(); err != nil {
		return err
	}
	for n := range i.options.Replicas {
		r, err := i.StartReplica(ReplicaOptions{Name: fmt.Sprintf("replica-%d", n)})
		if err != nil {
			return err
		}
		i.service.Add(r)
	}
	return i.service.Await(ctx, func(ready []*Replica) bool { return len(ready) == i.options.Replicas })
}

// describePod takes from the chart's Deployment what a kubelet would: probes, times, and the limit of memory.
func (i *Installation) describePod() error {
	for _, o := range i.rendered {
		if o.GetKind() != "Deployment" || o.GetName() != releaseName {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
			return fmt.Errorf("read Deployment: %w", err)
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Resource == "limits.memory" {
					i.env = append(i.env, fmt.Sprintf("%s=%d", e.Name, c.Resources.Limits.Memory().Value()))
				}
			}
		}
		return i.service.runs(d.Spec.Template.Spec)
	}
	return errors.New("the chart has no Deployment " + releaseName)
}

// Upgrade renders the chart with other values (--set arguments, in the place of Options.Values) and applies all of it, as
// `helm upgrade` would; the replicas are the caller's. The registration comes last, as in Helm's order.
func (i *Installation) Upgrade(ctx context.Context, values ...string) error {
	i.options.Values = values
	if err := i.render(ctx, i.base...); err != nil {
		return err
	}
	if err := i.applyObjects(ctx); err != nil {
		return err
	}
	return i.apply(ctx, func(kind string) bool { return strings.HasSuffix(kind, "WebhookConfiguration") })
}

// endReplicas ends what still runs.
func (i *Installation) endReplicas(ctx context.Context) error {
	var errs []error
	for _, r := range i.replicas {
		select {
		case <-r.done: // how it ended is the business of whoever ended it
		default:
			errs = append(errs, r.End(ctx, syscall.SIGKILL))
		}
	}
	return errors.Join(errs...)
}
