package watch

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/state"
)

// typed is a Sink for one Go type; objects of another type cannot come from its source and are not passed on.
type typed[T client.Object] struct {
	replace func([]T)
	set     func(T)
	remove  func(T)
}

// touching returns a sink for the RBAC store, which does not count the cluster's revision.
func touching[T client.Object](c *state.Cluster, replace func([]T), set, remove func(T)) Sink {
	return typed[T]{
		replace: func(all []T) { replace(all); c.Touch() },
		set:     func(o T) { set(o); c.Touch() },
		remove:  func(o T) { remove(o); c.Touch() },
	}
}

func (s typed[T]) Replace(objs []client.Object) {
	all := make([]T, 0, len(objs))
	for _, o := range objs {
		if t, ok := o.(T); ok {
			all = append(all, t)
		}
	}
	s.replace(all)
}

func (s typed[T]) Set(obj client.Object) {
	if t, ok := obj.(T); ok {
		s.set(t)
	}
}

func (s typed[T]) Delete(obj client.Object) {
	if t, ok := obj.(T); ok {
		s.remove(t)
	}
}

// values adapts a consumer of values to pointers.
func values[T any](f func([]T)) func([]*T) {
	return func(ptrs []*T) {
		all := make([]T, len(ptrs))
		for i, p := range ptrs {
			all[i] = *p
		}
		f(all)
	}
}

func newList[T any, PT interface {
	*T
	client.ObjectList
}]() client.ObjectList {
	return PT(new(T))
}

func metadataList(group, version, kind string) func() client.ObjectList {
	return func() client.ObjectList {
		l := &metav1.PartialObjectMetadataList{}
		l.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
		return l
	}
}

func unstructuredList(gvk schema.GroupVersionKind) func() client.ObjectList {
	return func() client.ObjectList {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		return l
	}
}
