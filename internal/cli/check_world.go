package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/internal/watch"
)

// checkWorld is the webhook's memory, filled once: from files, from the cluster, or from both.
type checkWorld struct {
	cluster *state.Cluster
	sources []watch.Source
	scheme  *runtime.Scheme
	// problems are guards and policies that cannot be obeyed as written.
	problems []string
}

// newCheckWorld returns an empty world. namespace answers for those that it will not hold.
func newCheckWorld(namespace func(context.Context, string) decision.Fact[guard.Namespace]) (*checkWorld, error) {
	w := &checkWorld{scheme: runtime.NewScheme()}
	for _, add := range []func(*runtime.Scheme) error{rbacv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(w.scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	w.cluster = state.New(state.Live{
		WhyNotCurrent:     func() string { return "" },
		WhyPoliciesUnread: func() string { return "" },
		Namespace:         namespace,
		PoliciesCurrent:   func() bool { return true },
		PodsCurrent:       func() bool { return false },
		// A manifest never is a request to get into a pod.
		Pod: func(context.Context, string, string) decision.Fact[identity.Pod] {
			return decision.Absent[identity.Pod]()
		},
	}, func(problems []guard.Problem) {
		for _, p := range problems {
			w.problem("guard %s: %s", p.Guard, p.Message)
		}
	})
	w.sources = watch.Admission(w.cluster, func(id state.PolicyID, n int) {
		w.problem("%s %s: %d selectors do not parse; the keys they mean are not guarded", id.Resource, strings.TrimPrefix(id.Namespace+"/"+id.Name, "/"), n)
	})
	// RBAC is asked of an index of its own, or of the cluster.
	w.sources = slices.DeleteFunc(w.sources, func(s watch.Source) bool {
		kind, err := w.kind(s)
		return err == nil && kind.Group == rbacv1.GroupName
	})
	return w, nil
}

func (w *checkWorld) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(w.problems, text) {
		w.problems = append(w.problems, text)
	}
}

// kind is that of the source's objects.
func (w *checkWorld) kind(s watch.Source) (schema.GroupVersionKind, error) {
	list := s.NewList()
	gvk := list.GetObjectKind().GroupVersionKind()
	if gvk.Empty() {
		kinds, _, err := w.scheme.ObjectKinds(list)
		if err != nil {
			return gvk, fmt.Errorf("find kind of %s: %w", s.Name, err)
		}
		gvk = kinds[0]
	}
	gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
	return gvk, nil
}

// fill gives every source the objects of its kind: those of given and those that list returns, and added where these have none of the name.
func (w *checkWorld) fill(given, added []manifest, list func(watch.Source) ([]client.Object, error)) error {
	for _, s := range w.sources {
		kind, err := w.kind(s)
		if err != nil {
			return err
		}
		objects, err := objectsOf(s, kind, given)
		if err != nil {
			return err
		}
		listed, err := list(s)
		if err != nil {
			return err
		}
		more, err := objectsOf(s, kind, added)
		if err != nil {
			return err
		}
		s.Sink.Replace(slices.Concat(more, objects, listed)) // of two with one name the later stays
	}
	return nil
}

// objectsOf returns the manifests of the kind as the source's list would hold them.
func objectsOf(s watch.Source, kind schema.GroupVersionKind, manifests []manifest) ([]client.Object, error) {
	items := []any{}
	for _, m := range manifests {
		if m.GroupVersionKind() != kind {
			continue
		}
		o := m.Unstructured
		if kind.GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
			o = o.DeepCopy()
			o.SetLabels(namespaceLabels(o))
		}
		items = append(items, o.Object)
	}
	if len(items) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind + "List", "items": items})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", s.Name, err)
	}
	list := s.NewList()
	if err := json.Unmarshal(raw, list); err != nil {
		return nil, fmt.Errorf("decode %s: %w", s.Name, err)
	}
	return extract(s, list)
}

func extract(s watch.Source, list client.ObjectList) ([]client.Object, error) {
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Name, err)
	}
	var out []client.Object
	for _, item := range items {
		o, ok := item.(client.Object)
		if !ok {
			return nil, fmt.Errorf("read %s: object of type %T has no metadata", s.Name, item)
		}
		out = append(out, o)
	}
	return out, nil
}

// fromFiles has no more than the files.
func fromFiles(watch.Source) ([]client.Object, error) { return nil, nil }

// fromCluster lists a source's objects.
func fromCluster(ctx context.Context, c client.Reader) func(watch.Source) ([]client.Object, error) {
	return func(s watch.Source) ([]client.Object, error) {
		var out []client.Object
		for token := ""; ; {
			list := s.NewList()
			err := c.List(ctx, list, client.Limit(pageSize), client.Continue(token))
			switch {
			case err != nil && (meta.IsNoMatchError(err) || apierrors.IsNotFound(err)):
				// Not served here: of what is optional there is none, and without its CRDs saguard guards nothing, which is said elsewhere.
				return nil, nil
			case apierrors.IsForbidden(err):
				return nil, fmt.Errorf("you may not list %s, on which the checks rest: give them as files with --guards, or ask for the permission: %w", s.Name, err)
			case err != nil:
				return nil, fmt.Errorf("list %s: %w", s.Name, err)
			}
			page, err := extract(s, list)
			if err != nil {
				return nil, err
			}
			out = append(out, page...)
			if token = list.GetContinue(); token == "" {
				return out, nil
			}
		}
	}
}

// policiesAndNamespaces are the objects of -f that count as there already: keys that their policies read are guarded, and namespaces
// have the labels that they will have.
func policiesAndNamespaces(manifests []manifest) []manifest {
	var out []manifest
	for _, m := range manifests {
		if gk := m.GroupVersionKind().GroupKind(); gk.Group != v1alpha1.GroupName {
			out = append(out, m)
		}
	}
	return out
}
