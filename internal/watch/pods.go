package watch

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
)

// PodsName is the name of the source of pods.
const PodsName = "pods"

// pod is a core/v1 Pod of which nothing is decoded but what decisions read and what a Reflector needs: a whole one is some
// ten kilobytes, and there are many.
type pod struct {
	metav1.TypeMeta
	// ObjectMeta holds the name, the namespace, the resource version and the annotation that ends a list sent as a watch.
	metav1.ObjectMeta
	identity.Pod
}

// UnmarshalJSON reads the fields that are kept.
func (p *pod) UnmarshalJSON(raw []byte) error {
	var in struct {
		Metadata struct {
			Name            string `json:"name"`
			Namespace       string `json:"namespace"`
			ResourceVersion string `json:"resourceVersion"`
			Annotations     struct {
				InitialEventsEnd string `json:"k8s.io/initial-events-end"`
			} `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			ServiceAccountName string `json:"serviceAccountName"`
			NodeName           string `json:"nodeName"`
		} `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return fmt.Errorf("decode pod: %w", err)
	}
	p.Name, p.Namespace, p.ResourceVersion = in.Metadata.Name, in.Metadata.Namespace, in.Metadata.ResourceVersion
	if end := in.Metadata.Annotations.InitialEventsEnd; end != "" {
		p.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end}
	}
	p.Pod = identity.Pod{Account: in.Spec.ServiceAccountName, Node: in.Spec.NodeName}
	return nil
}

// DeepCopyObject implements runtime.Object.
func (p *pod) DeepCopyObject() runtime.Object {
	c := &pod{TypeMeta: p.TypeMeta, Pod: p.Pod}
	p.DeepCopyInto(&c.ObjectMeta)
	return c
}

type podList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []pod `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *podList) DeepCopyObject() runtime.Object {
	c := &podList{TypeMeta: l.TypeMeta, Items: make([]pod, len(l.Items))}
	l.DeepCopyInto(&c.ListMeta)
	for i := range l.Items {
		c.Items[i] = pod{TypeMeta: l.Items[i].TypeMeta, Pod: l.Items[i].Pod}
		l.Items[i].DeepCopyInto(&c.Items[i].ObjectMeta)
	}
	return c
}

// NewPodClient returns a client that can read pods only, for Pods and LivePod. It asks for JSON, in which what is not
// wanted can be passed over.
func NewPodClient(cfg *rest.Config) (client.WithWatch, error) {
	core := schema.GroupVersion{Version: "v1"}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(core.WithKind("Pod"), &pod{})
	scheme.AddKnownTypeWithName(core.WithKind("PodList"), &podList{})
	metav1.AddToGroupVersion(scheme, core)
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{core})
	mapper.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("create client of pods: %w", err)
	}
	return c, nil
}

// Pods returns the source of pods, read by a client of NewPodClient. No decision waits for it.
func Pods(c *state.Cluster, pods client.WithWatch) Source {
	return Source{
		Name: PodsName, NewList: newList[podList], Client: pods, Unawaited: true, Paged: true,
		Sink: typed[*pod]{
			replace: func(all []*pod) {
				c.ReplacePods(len(all), func(add func(string, string, identity.Pod)) {
					for _, p := range all {
						add(p.Namespace, p.Name, p.Pod)
					}
				})
			},
			set:    func(p *pod) { c.SetPod(p.Namespace, p.Name, p.Pod) },
			remove: func(p *pod) { c.DeletePod(p.Namespace, p.Name) },
		},
	}
}

// LivePod asks the API server for a pod.
func LivePod(pods client.Reader) func(ctx context.Context, namespace, name string) decision.Fact[identity.Pod] {
	return func(ctx context.Context, namespace, name string) decision.Fact[identity.Pod] {
		p := &pod{}
		err := pods.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, p)
		switch {
		case apierrors.IsNotFound(err):
			return decision.Absent[identity.Pod]()
		case err != nil:
			return decision.Unknown[identity.Pod](fmt.Sprintf("get pod: %v", err))
		default:
			return decision.Known(p.Pod)
		}
	}
}
