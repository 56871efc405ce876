package review_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/saguard/saguard/e2e/install"
)

const patience = time.Minute

var (
	guards = schema.GroupVersionResource{Group: "saguard.io", Version: "v1alpha1", Resource: "serviceaccountguards"}
	bands  = schema.GroupVersionResource{Group: "saguard.io", Version: "v1alpha1", Resource: "policybands"}
)

// actor is one user's clients. What it does is logged under the audit ID of the step that it is done for.
type actor struct {
	kubernetes.Interface
	objects dynamic.Interface
	// namespace is where the steps do what they do.
	namespace string
}

type auditID struct{}

// stepID is the audit ID of a step of the story, which a client may choose.
func stepID(n int) string { return fmt.Sprintf("5a000000-0000-4000-8000-%012d", n) }

func withID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, auditID{}, id)
}

type withAuditID struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t withAuditID) RoundTrip(r *http.Request) (*http.Response, error) {
	if id, ok := r.Context().Value(auditID{}).(string); ok {
		r = r.Clone(r.Context())
		r.Header.Set("Audit-ID", id)
	}
	return t.next.RoundTrip(r)
}

func newActor(cfg *rest.Config) (*actor, error) {
	cfg.QPS = -1
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return withAuditID{next} })
	typed, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(cfg)
	return &actor{Interface: typed, objects: objects, namespace: "prod"}, err
}

// newActors makes the users of the story; "iris as alice" impersonates.
func newActors(i *install.Installation) (map[string]*actor, error) {
	out := map[string]*actor{}
	for _, name := range []string{"alice", "mallory", "olga", "peter", "iris as alice", "admin"} {
		user, groups := name, []string{"people"}
		switch name {
		case "iris as alice":
			user = "iris"
		case "admin":
			groups = []string{"system:masters"}
		}
		cfg, err := i.CP.User(user, groups...)
		if err != nil {
			return nil, err
		}
		if name == "iris as alice" {
			cfg.Impersonate = rest.ImpersonationConfig{UserName: "alice"}
		}
		if out[name], err = newActor(cfg); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func manifest(name string) string { return filepath.Join("testdata", "manifests", name) }

func apply(ctx context.Context, i *install.Installation, file string) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	_, err = i.Kubectl(ctx, i.Admin, "apply", "-f", path)
	return err
}

// prepare makes what is there before the story, without any of saguard's permissions, and waits until it is in force.
func prepare(ctx context.Context, i *install.Installation) error {
	if err := i.CP.InstallCRDs(ctx, os.DirFS("../testdata/calico-crds")); err != nil {
		return fmt.Errorf("install Calico's CRDs: %w", err)
	}
	if err := apply(ctx, i, manifest("world.yaml")); err != nil {
		return err
	}
	actors, err := newActors(i)
	if err != nil {
		return err
	}
	admin := actors["admin"]
	for _, namespace := range []string{"prod", "stage"} {
		err := eventually(ctx, "the account that controllers make in "+namespace, func(ctx context.Context) error {
			_, err := admin.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	if _, err := admin.CoreV1().Pods("prod").Create(ctx, pod("pay-1", "payments"), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := apply(ctx, i, manifest("guards.yaml")); err != nil {
		return err
	}
	for _, name := range []string{"strict", "warn"} {
		if err := inForce(ctx, admin, guards, name); err != nil {
			return err
		}
	}
	for _, name := range []string{"security", "developers"} {
		if err := inForce(ctx, admin, bands, name); err != nil {
			return err
		}
	}
	return nil
}

// inForce waits until the webhook says that it has taken up a guard or a band as it is now. Only reads: the story's log has
// nothing of it.
func inForce(ctx context.Context, admin *actor, resource schema.GroupVersionResource, name string) error {
	return eventually(ctx, resource.Resource+" "+name, func(ctx context.Context) error {
		o, err := admin.objects.Resource(resource).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		observed, _, err := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		if err != nil || observed != o.GetGeneration() {
			return fmt.Errorf("generation %d, observed %d: %v", o.GetGeneration(), observed, err)
		}
		return nil
	})
}

func eventually(ctx context.Context, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, last)
	}
	return nil
}
