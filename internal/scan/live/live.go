// Package live scans a cluster: it reads objects by paged lists, hands each to package scan and keeps none.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/hollow"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// pageSize is how many objects are in memory at once: a pod can have hundreds of kilobytes.
const pageSize = 250

// maxRestarts is how often a list that expires half-way is begun again.
const maxRestarts = 3

// Reader is the part of a controller-runtime client that a scan needs.
type Reader interface {
	client.Reader
	RESTMapper() meta.RESTMapper
}

// Options are the parts of a scan; all are required unless they say otherwise.
type Options struct {
	Reader Reader
	World  webhook.World
	// Guards are those of World, as objects.
	Guards []v1alpha1.ServiceAccountGuard
	// Index is the RBAC that is asked whether anybody may, Authorizer is asked about those who are known.
	Index      *rbac.Index
	Authorizer webhook.Authorizer
	Excluded   []string
	Only       []string
	Limits     scan.Limits
	// Progress, if given, is told how many objects have been looked at.
	Progress func(objects int64)
}

// Scan looks at all of a cluster. What may not be listed, or cannot be, is in the result as not judged; an error is that of ctx alone, or of
// options that lack something.
func Scan(ctx context.Context, o Options) (*scan.Result, error) {
	if o.Reader == nil {
		return nil, errors.New("scan: Reader is required")
	}
	s, err := scan.New(scan.Options{
		World: o.World, Index: o.Index, Authorizer: o.Authorizer, Excluded: o.Excluded, Only: o.Only,
		Owner: func(ctx context.Context, namespace string, owner scan.Owner) decision.Fact[*unstructured.Unstructured] {
			return getOwner(ctx, o.Reader, namespace, owner)
		},
	})
	if err != nil {
		return nil, err
	}
	r := &run{
		Options: o, scanner: s, tally: scan.NewTally(o.Limits, o.World.Guards().Names()), namespaces: map[string]map[string]string{},
		seed: maphash.MakeSeed(), policies: map[policyKey]uint64{},
	}
	if len(o.World.Guards().Names()) == 0 {
		return r.tally.Result(), nil // nothing is guarded, and nothing would be refused
	}
	for _, resource := range append(scan.Resources(), r.custom(ctx)...) {
		if err := r.resource(ctx, resource); err != nil {
			return nil, err
		}
	}
	if err := r.hollow(ctx); err != nil {
		return nil, err
	}
	return r.tally.Result(), nil
}

type run struct {
	Options
	scanner    *scan.Scanner
	tally      *scan.Tally
	namespaces map[string]map[string]string
	rbac       hollow.Objects
	// unread says that some of RBAC could not be listed.
	unread   bool
	seed     maphash.Seed
	policies map[policyKey]uint64
}

type policyKey struct{ kind, namespace, name string }

// custom returns the kinds that guards name in spec.workloads.templates.
func (r *run) custom(ctx context.Context) []scan.Resource {
	var out []scan.Resource
	seen := map[schema.GroupKind]bool{}
	for _, builtin := range scan.Resources() {
		seen[builtin.Kind.GroupKind()] = true
	}
	for i := range r.Guards {
		w := r.Guards[i].Spec.Workloads
		if w == nil {
			continue
		}
		for _, t := range w.Templates {
			gk := schema.GroupKind{Group: t.APIGroup, Kind: t.Kind}
			if seen[gk] {
				continue
			}
			seen[gk] = true
			m, err := r.Reader.RESTMapper().RESTMapping(gk)
			switch {
			case meta.IsNoMatchError(err): // there is none
			case err != nil:
				r.tally.Add(r.scanner.Missing(ctx, scan.Object{APIVersion: t.APIGroup, Kind: t.Kind}, "its resource could not be found: "+err.Error()))
			default:
				out = append(out, scan.Resource{Kind: m.GroupVersionKind, Resource: m.Resource})
			}
		}
	}
	return out
}

// resource looks at all objects of one resource. A list that expires is begun again, and what was found of it before is forgotten.
func (r *run) resource(ctx context.Context, resource scan.Resource) error {
	for attempt := 0; ; attempt++ {
		mark := r.tally.Mark()
		err := r.pages(ctx, resource)
		if err == nil {
			return nil
		}
		r.tally.Back(mark)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("scan %s: %w", resource.Resource.Resource, context.Cause(ctx))
		case resource.Optional && (meta.IsNoMatchError(err) || apierrors.IsNotFound(err)):
			return nil
		case apierrors.IsResourceExpired(err) && attempt < maxRestarts:
			continue
		}
		if resource.Kind.Group == rbacv1.GroupName {
			r.unread = true
		}
		why := err.Error()
		if apierrors.IsForbidden(err) {
			why = "may not list " + resource.Resource.GroupResource().String()
		}
		r.tally.Add(r.scanner.Missing(ctx, scan.Object{APIVersion: resource.Kind.GroupVersion().String(), Kind: resource.Kind.Kind}, "none of these was looked at: "+why))
		return nil
	}
}

func (r *run) pages(ctx context.Context, resource scan.Resource) error {
	token := ""
	switch resource.Kind.Kind {
	case rbac.KindRoleBinding:
		r.rbac.RoleBindings = nil
	case rbac.KindClusterRoleBinding:
		r.rbac.ClusterRoleBindings = nil
	}
	for {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(resource.Kind.GroupVersion().WithKind(resource.Kind.Kind + "List"))
		if err := r.Reader.List(ctx, list, client.Limit(pageSize), client.Continue(token)); err != nil {
			return err
		}
		for i := range list.Items {
			o := &list.Items[i]
			o.SetGroupVersionKind(resource.Kind)
			if r.note(resource, o) {
				continue
			}
			r.tally.Add(r.scanner.Object(ctx, resource.Resource, o, ""))
		}
		r.tally.Looked(len(list.Items))
		if r.Progress != nil {
			r.Progress(r.tally.Objects())
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if token = list.GetContinue(); token == "" {
			return nil
		}
	}
}

// note keeps what the whole needs of an object, and reports one that was there already: an aggregated API server of Calico's shows what is
// stored as crd.projectcalico.org.
func (r *run) note(resource scan.Resource, o *unstructured.Unstructured) (again bool) {
	switch resource.Resource.GroupResource() {
	case schema.GroupResource{Resource: "namespaces"}:
		r.namespaces[o.GetName()] = o.GetLabels()
	case schema.GroupResource{Group: rbacv1.GroupName, Resource: "rolebindings"}:
		r.rbac.RoleBindings = converted(r.rbac.RoleBindings, o, &r.unread)
	case schema.GroupResource{Group: rbacv1.GroupName, Resource: "clusterrolebindings"}:
		r.rbac.ClusterRoleBindings = converted(r.rbac.ClusterRoleBindings, o, &r.unread)
	}
	key := policyKey{resource.Kind.Kind, o.GetNamespace(), o.GetName()}
	switch resource.Resource.Group {
	case "projectcalico.org":
		r.policies[key] = r.hash(o)
	case "crd.projectcalico.org":
		first, seen := r.policies[key]
		return seen && first == r.hash(o)
	}
	return false
}

func (r *run) hash(o *unstructured.Unstructured) uint64 {
	raw, err := json.Marshal(o.Object["spec"])
	if err != nil {
		raw = []byte(o.GetUID()) // like no other
	}
	return maphash.Bytes(r.seed, raw)
}

func converted[T any](list []T, o *unstructured.Unstructured, failed *bool) []T {
	var object T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &object); err != nil {
		*failed = true
		return list
	}
	return append(list, object)
}

// hollow judges RBAC as a whole. Half of it would be a misleading answer.
func (r *run) hollow(ctx context.Context) error {
	for _, l := range []struct {
		kind string
		add  func(o *unstructured.Unstructured)
	}{
		{rbac.KindClusterRole, func(o *unstructured.Unstructured) { r.rbac.ClusterRoles = converted(r.rbac.ClusterRoles, o, &r.unread) }},
		{rbac.KindRole, func(o *unstructured.Unstructured) { r.rbac.Roles = converted(r.rbac.Roles, o, &r.unread) }},
	} {
		token := ""
		for !r.unread {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(l.kind + "List"))
			if err := r.Reader.List(ctx, list, client.Limit(pageSize), client.Continue(token)); err != nil {
				r.unread = true
				break
			}
			for i := range list.Items {
				l.add(&list.Items[i])
			}
			if token = list.GetContinue(); token == "" {
				break
			}
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("scan RBAC: %w", context.Cause(ctx))
	}
	if r.unread {
		r.tally.Add(r.scanner.Missing(ctx, scan.Object{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RBAC"}, "who can get around the guards was not looked at: not all of RBAC could be read"))
		return nil
	}
	r.tally.Add(r.scanner.Hollow(ctx, hollow.Input{RBAC: &r.rbac, Guards: decision.Known(hollow.NewGuardModes(r.Guards, r.namespaces))}))
	return nil
}

// getOwner reads one controlling owner.
func getOwner(ctx context.Context, r Reader, namespace string, owner scan.Owner) decision.Fact[*unstructured.Unstructured] {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind))
	err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: owner.Name}, o)
	switch {
	case err == nil:
		return decision.Known(o)
	case apierrors.IsNotFound(err):
		return decision.Absent[*unstructured.Unstructured]()
	default:
		return decision.Unknown[*unstructured.Unstructured](fmt.Sprintf("get its owner %s %s: %v", owner.Kind, owner.Name, err))
	}
}
