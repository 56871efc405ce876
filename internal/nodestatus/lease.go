// Package nodestatus shows in the cluster how a node is enforced: one Lease for each node in saguard's namespace, whose holder
// says it in one word, so that `kubectl get leases` shows it for all nodes. A Lease that is not renewed is of an agent that is
// gone.
package nodestatus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycoordinationv1 "k8s.io/client-go/applyconfigurations/coordination/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Annotations and labels of the Lease.
const (
	AnnotationMessage  = "saguard.io/message"
	AnnotationBackend  = "saguard.io/backend"
	AnnotationRevision = "saguard.io/applied-revision"
	AnnotationApplied  = "saguard.io/applied-at"
	AnnotationSince    = "saguard.io/since"
	AnnotationVersion  = "saguard.io/version"
	AnnotationNode     = "saguard.io/node"
	LabelComponent     = "app.kubernetes.io/component"
	LabelPartOf        = "app.kubernetes.io/part-of"
)

// Report is what the Lease says.
type Report struct {
	// State is one word.
	State    string
	Message  string
	Backend  string
	Revision uint64
	Applied  time.Time
	Since    time.Time
	Version  string
}

// Leases writes; it is LeaseInterface of client-go.
type Leases interface {
	Apply(ctx context.Context, lease *applycoordinationv1.LeaseApplyConfiguration, opts metav1.ApplyOptions) (*coordinationv1.Lease, error)
}

// Nodes reads the node, which owns the Lease, so that the Lease goes with it.
type Nodes interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.Node, error)
}

const (
	// duration is how long after its last renewal a Lease is believed, and renewEvery how often it is written at least.
	duration   = 5 * time.Minute
	renewEvery = 2 * time.Minute
	// settle is for how many ticks a state has to last before it is written: the API server is not told of what passes.
	settle = 2
	// callTimeout bounds one write.
	callTimeout = 10 * time.Second
	fieldOwner  = "saguard-agent"
	// maxMessage bounds the message, in bytes.
	maxMessage = 1024
)

// Writer keeps the Lease of one node.
type Writer struct {
	Leases    Leases
	Nodes     Nodes
	Namespace string
	Node      string
	Report    func() Report
	Log       logr.Logger
	Now       func() time.Time
	// Ticks come every few seconds.
	Ticks <-chan time.Time
}

// Run writes until ctx ends: when the state changes, and every two minutes. What cannot be written is tried again.
func (w *Writer) Run(ctx context.Context) error {
	var written, seen string
	var at time.Time
	lasted, failing := 0, false
	for {
		r := w.Report()
		key := r.State + "/" + r.Backend
		if key != seen {
			seen, lasted = key, 0
		}
		lasted++
		if now := w.Now(); key != written && lasted >= settle || now.Sub(at) >= renewEvery {
			err := w.write(ctx, r, now)
			switch {
			case err == nil:
				written, at, failing = key, now, false
			case !failing && ctx.Err() == nil:
				failing = true
				w.Log.Info("state of the node is not written, to be tried again", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.Ticks:
		}
	}
}

func (w *Writer) write(ctx context.Context, r Report, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := w.Nodes.Get(ctx, w.Node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node: %w", err)
	}
	holder := r.State
	if r.Backend != "" {
		holder += "/" + r.Backend
	}
	lease := applycoordinationv1.Lease(Name(w.Node), w.Namespace).
		WithLabels(map[string]string{LabelComponent: "agent", LabelPartOf: "saguard"}).
		WithAnnotations(map[string]string{
			AnnotationNode: w.Node, AnnotationMessage: cut(r.Message), AnnotationBackend: r.Backend, AnnotationVersion: r.Version,
			AnnotationRevision: strconv.FormatUint(r.Revision, 10), AnnotationApplied: stamp(r.Applied), AnnotationSince: stamp(r.Since),
		}).
		WithOwnerReferences(applymetav1.OwnerReference().WithAPIVersion("v1").WithKind("Node").WithName(node.Name).WithUID(node.UID)).
		WithSpec(applycoordinationv1.LeaseSpec().WithHolderIdentity(holder).
			WithLeaseDurationSeconds(int32(duration / time.Second)).WithRenewTime(metav1.NewMicroTime(now)))
	if _, err := w.Leases.Apply(ctx, lease, metav1.ApplyOptions{FieldManager: fieldOwner, Force: true}); err != nil {
		return fmt.Errorf("apply lease: %w", err)
	}
	return nil
}

// Name is that of a node's Lease: "node." and the node's name, which is made shorter if the two are too long for a name.
func Name(node string) string {
	const most = 253 // validation.DNS1123SubdomainMaxLength
	name := "node." + node
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(node))
	return name[:most-17] + "x" + hex.EncodeToString(sum[:8])
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func cut(text string) string {
	if len(text) > maxMessage {
		text = text[:maxMessage-3] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
