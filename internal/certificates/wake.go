package certificates

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// watchSeconds is how long one watch lasts; rewatch how long until the next.
const (
	watchSeconds = 300
	rewatch      = time.Second
)

// Watches tell a keeper that the Secret or a configuration was changed, so that what somebody breaks is repaired within
// moments. They are a hint and no source of facts: with a watch that fails or stalls the keeper's ticks remain.
type Watches struct {
	open []func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
	wake chan struct{}
}

// NewWatches watches the objects by name, as RBAC grants it.
func NewWatches(c kubernetes.Interface, namespace, secret, validating, mutating string) *Watches {
	named := func(name string, open func(context.Context, metav1.ListOptions) (watch.Interface, error)) func(context.Context, metav1.ListOptions) (watch.Interface, error) {
		return func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
			return open(ctx, o)
		}
	}
	return &Watches{wake: make(chan struct{}, 1), open: []func(context.Context, metav1.ListOptions) (watch.Interface, error){
		named(secret, c.CoreV1().Secrets(namespace).Watch),
		named(validating, c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Watch),
		named(mutating, c.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch),
	}}
}

// Wake is for the keeper's options.
func (w *Watches) Wake() <-chan struct{} { return w.wake }

// NeedLeaderElection says that every replica watches.
func (w *Watches) NeedLeaderElection() bool { return false }

// Start watches until ctx ends.
func (w *Watches) Start(ctx context.Context) error {
	var all wait.Group
	for _, open := range w.open {
		all.StartWithContext(ctx, func(ctx context.Context) {
			wait.JitterUntilWithContext(ctx, func(ctx context.Context) { w.watch(ctx, open) }, rewatch, 1, true)
		})
	}
	all.Wait()
	return nil
}

// watch is one watch. What it fails by, the keeper's reads fail by as well and say.
func (w *Watches) watch(ctx context.Context, open func(context.Context, metav1.ListOptions) (watch.Interface, error)) {
	seconds := int64(watchSeconds)
	events, err := open(ctx, metav1.ListOptions{TimeoutSeconds: &seconds})
	if err != nil {
		return
	}
	defer events.Stop()
	for range events.ResultChan() {
		select {
		case w.wake <- struct{}{}:
		default: // woken already
		}
	}
}
