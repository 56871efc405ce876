package drills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/saguard/saguard/e2e/install"
)

// Whoever uninstalls the release leaves a cluster that works, at any time on the way, and nothing of saguard's in it.
func uninstall(t *testing.T, s *site) {
	s.ensure(t, 2)
	s.settle(t)
	// A replica that leads makes the lease its account's, which is how it goes.
	s.await(t, "the lease's owner", func(ctx context.Context) error {
		lease, err := s.admin.CoordinationV1().Leases(install.Namespace).Get(ctx, "saguard-webhook", metav1.GetOptions{})
		if err == nil && len(lease.OwnerReferences) == 0 {
			err = errors.New("none")
		}
		return err
	})
	there, err := s.left(t.Context())
	if err != nil || len(there) < 10 {
		t.Fatalf("of an installed saguard there is %v, %v", there, err)
	}
	l := s.load(t)
	s.goOn(t, l, 100)
	began := time.Now()
	if err := s.Uninstall(t.Context(), func() error {
		// Nothing of saguard's is registered while everything of it still runs.
		for _, list := range []func(context.Context) (int, error){s.validating, s.mutating} {
			if n, err := list(t.Context()); n > 0 || err != nil {
				return fmt.Errorf("%d webhook configurations are left after the hook, %w", n, err)
			}
		}
		if ready := len(s.Service().Ready()); ready != 2 {
			return fmt.Errorf("%d replicas after the hook", ready)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	s.goOn(t, l, 100)
	samples := l.stop()
	for i := range samples {
		if samples[i].end.After(began) {
			samples[i].wrong = false // nothing is guarded any more
		}
	}
	s.await(t, "nothing to be left", func(ctx context.Context) error {
		left, err := s.left(ctx)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return err
	})
	report(t, "uninstall", samples, l.began, "within %s; of %d objects nothing left", took.Round(100*time.Millisecond), len(there))
	if lost := refused(samples); len(lost) > 0 {
		show(t, lost)
		t.Errorf("%d requests were lost", len(lost))
	}
}

func (s *site) validating(ctx context.Context) (int, error) {
	all, err := s.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	return len(all.Items), nil
}

func (s *site) mutating(ctx context.Context) (int, error) {
	all, err := s.admin.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	return len(all.Items), nil
}

// left are the objects in the cluster that are saguard's, or that its finalizers hold. The namespace was made by whoever
// installed the release, and what Kubernetes puts into every namespace is not saguard's.
func (s *site) left(ctx context.Context) ([]string, error) {
	resources, err := discovery.ServerPreferredResources(s.admin.Discovery())
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(s.CP.AdminConfig())
	if err != nil {
		return nil, err
	}
	var left []string
	for _, group := range resources {
		gv, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range group.APIResources {
			if !strings.Contains(strings.Join(r.Verbs, " "), "list") || r.Name == "events" {
				continue
			}
			all, err := objects.Resource(gv.WithResource(r.Name)).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue // went meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", r.Name, err)
			}
			for i := range all.Items {
				if o := &all.Items[i]; ours(o) && (o.GetKind() != "Namespace" || o.GetName() != install.Namespace) {
					left = append(left, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
				}
			}
		}
	}
	return left, nil
}

func ours(o *unstructured.Unstructured) bool {
	for k, v := range o.GetLabels() {
		if strings.Contains(k+v, "saguard") && k != "kubernetes.io/metadata.name" {
			return true
		}
	}
	for _, f := range o.GetFinalizers() {
		if strings.Contains(f, "saguard") {
			return true
		}
	}
	for _, owner := range o.GetOwnerReferences() {
		if strings.Contains(owner.Name, "saguard") {
			return true
		}
	}
	return strings.Contains(o.GetName(), "saguard")
}
