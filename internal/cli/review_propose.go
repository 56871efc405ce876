package cli

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/replay"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/rbac"
)

// propose makes the judge of requests under the guards of --guards. Guards, bands and policies are those of the files alone; a namespace that
// is not among them has the labels that the cluster says, unless --rbac makes that there is none to ask.
func (o *reviewOptions) propose(ctx context.Context, index *rbac.Index) (func(*review.Write) review.Proposed, error) {
	manifests, err := readManifests(o.guardFiles, o.streams.In)
	if err != nil {
		return nil, fmt.Errorf("--guards: %w", err)
	}
	lookUp := func(context.Context, string) decision.Fact[guard.Namespace] {
		return decision.Unknown[guard.Namespace]("it is not in the files")
	}
	if len(o.rbacFiles) == 0 {
		cfg, err := restConfig(o.flags)
		if err != nil {
			return nil, err
		}
		reader, err := client.New(cfg, client.Options{})
		if err != nil {
			return nil, fmt.Errorf("create client: %w", err)
		}
		known := map[string]decision.Fact[guard.Namespace]{}
		lookUp = func(ctx context.Context, name string) decision.Fact[guard.Namespace] {
			if _, asked := known[name]; !asked {
				known[name] = watch.LiveNamespace(reader)(ctx, name) // a log names the same few again and again
			}
			return known[name]
		}
	}
	world, err := newCheckWorld(lookUp)
	if err != nil {
		return nil, err
	}
	if err := world.fill(manifests, nil, fromFiles); err != nil {
		return nil, err
	}
	if world.cluster.Guards().Empty() {
		return nil, errors.New("--guards: there is no ServiceAccountGuard in the files")
	}
	if err := printNotes(o.streams.ErrOut, world.problems); err != nil {
		return nil, err
	}
	judge, err := replay.New(world.cluster, index, append([]string{metav1.NamespaceSystem}, o.excluded...)...)
	if err != nil {
		return nil, err
	}
	return func(w *review.Write) review.Proposed { return judge.Judge(ctx, w) }, nil
}
