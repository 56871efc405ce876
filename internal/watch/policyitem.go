package watch

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/policy"
)

// reading says how the objects of one resource are read. Its implementations have no fields: they are type parameters.
type reading interface {
	resource() schema.GroupVersionKind
	namespaced() bool
	// decode returns what policy.Parse needs of the object.
	decode(raw []byte) (policy.Object, error)
}

// item is an API object of which nothing is kept but what a Reflector needs and what decode makes of it.
type item[R reading] struct {
	metav1.TypeMeta
	// ObjectMeta holds the name, the namespace, the resource version and the annotation that ends a list sent as a watch.
	metav1.ObjectMeta
	object policy.Object
	// err is decode's: an object that cannot be read must not keep the others from being read.
	err error
}

// UnmarshalJSON reads the fields that are kept.
func (i *item[R]) UnmarshalJSON(raw []byte) error {
	var in struct {
		Metadata struct {
			Name            string `json:"name"`
			Namespace       string `json:"namespace"`
			ResourceVersion string `json:"resourceVersion"`
			Annotations     struct {
				InitialEventsEnd string `json:"k8s.io/initial-events-end"`
			} `json:"annotations"`
		} `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return fmt.Errorf("decode metadata: %w", err)
	}
	i.Name, i.Namespace, i.ResourceVersion = in.Metadata.Name, in.Metadata.Namespace, in.Metadata.ResourceVersion
	if end := in.Metadata.Annotations.InitialEventsEnd; end != "" {
		i.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end}
	}
	if i.Name == "" {
		return nil // a bookmark
	}
	var r R
	i.object, i.err = r.decode(raw)
	return nil
}

// DeepCopyObject implements runtime.Object. What was decoded is never changed, and shared.
func (i *item[R]) DeepCopyObject() runtime.Object {
	c := &item[R]{TypeMeta: i.TypeMeta, object: i.object, err: i.err}
	i.DeepCopyInto(&c.ObjectMeta)
	return c
}

type itemList[R reading] struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []item[R] `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *itemList[R]) DeepCopyObject() runtime.Object {
	c := &itemList[R]{TypeMeta: l.TypeMeta, Items: make([]item[R], len(l.Items))}
	l.DeepCopyInto(&c.ListMeta)
	for i := range l.Items {
		c.Items[i] = item[R]{TypeMeta: l.Items[i].TypeMeta, object: l.Items[i].object, err: l.Items[i].err}
		l.Items[i].DeepCopyInto(&c.Items[i].ObjectMeta)
	}
	return c
}
