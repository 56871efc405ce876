package status

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
)

// Cluster is what the writer reads.
type Cluster interface {
	GuardObjects() []v1alpha1.ServiceAccountGuard
	Guards() *guard.Set
	Bands() []v1alpha1.PolicyBand
}

// Writer keeps the status of every guard and band.
type Writer struct {
	Cluster Cluster
	// TemplateSightings says whether the paths of workload templates led to a pod template so far.
	TemplateSightings func() map[v1alpha1.WorkloadTemplate]bool
	Client            client.StatusClient
	Log               logr.Logger
	Now               func() time.Time
	// Ticks says when to look; each receive is one round.
	Ticks <-chan time.Time
}

// Run looks at every tick until ctx ends. A write that fails is tried again at the next tick.
func (w *Writer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Ticks:
			if err := w.round(ctx); err != nil {
				w.Log.Error(err, "status not written, to be tried again")
			}
		}
	}
}

// round writes what differs, one write per object.
func (w *Writer) round(ctx context.Context) error {
	now := metav1.NewTime(w.Now().Truncate(time.Second))
	set, bands, seen := w.Cluster.Guards(), w.Cluster.Bands(), w.TemplateSightings()
	for _, g := range w.Cluster.GuardObjects() {
		want := Guard(&g, set.GuardedKeys(g.Name), seen, now)
		if reflect.DeepEqual(want, g.Status) {
			continue
		}
		g.Status = want
		if err := w.update(ctx, &g); err != nil {
			return fmt.Errorf("write status of guard %s: %w", g.Name, err)
		}
	}
	for i := range bands {
		b := bands[i].DeepCopy()
		want := Band(b, bands, now)
		if reflect.DeepEqual(want, b.Status) {
			continue
		}
		b.Status = want
		if err := w.update(ctx, b); err != nil {
			return fmt.Errorf("write status of band %s: %w", b.Name, err)
		}
	}
	return nil
}

// update leaves an object that has changed or gone in the meantime to the next round.
func (w *Writer) update(ctx context.Context, obj client.Object) error {
	err := w.Client.Status().Update(ctx, obj)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
