package watch

import (
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/policy"
)

// The resources. A whole pod is some ten kilobytes, of which policy reads a few hundred bytes.
type (
	podReading       struct{}
	namespaceReading struct{}
	accountReading   struct{}
	kubernetesPolicy struct{}
	nodeReading      struct{}

	v3Policy        struct{}
	v3GlobalPolicy  struct{}
	v3Tier          struct{}
	v3Set           struct{}
	v3GlobalSet     struct{}
	crdPolicy       struct{}
	crdGlobalPolicy struct{}
	crdTier         struct{}
	crdSet          struct{}
	crdGlobalSet    struct{}
)

const (
	groupV3  = "projectcalico.org"
	groupCRD = "crd.projectcalico.org"
)

func calico(group, kind string) schema.GroupVersionKind {
	version := "v3"
	if group == groupCRD {
		version = "v1"
	}
	return schema.GroupVersionKind{Group: group, Version: version, Kind: kind}
}

func core(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: kind}
}

func (podReading) resource() schema.GroupVersionKind       { return core("Pod") }
func (namespaceReading) resource() schema.GroupVersionKind { return core("Namespace") }
func (accountReading) resource() schema.GroupVersionKind   { return core("ServiceAccount") }
func (nodeReading) resource() schema.GroupVersionKind      { return core("Node") }
func (kubernetesPolicy) resource() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}
}
func (v3Policy) resource() schema.GroupVersionKind { return calico(groupV3, "NetworkPolicy") }
func (v3GlobalPolicy) resource() schema.GroupVersionKind {
	return calico(groupV3, "GlobalNetworkPolicy")
}
func (v3Tier) resource() schema.GroupVersionKind      { return calico(groupV3, "Tier") }
func (v3Set) resource() schema.GroupVersionKind       { return calico(groupV3, "NetworkSet") }
func (v3GlobalSet) resource() schema.GroupVersionKind { return calico(groupV3, "GlobalNetworkSet") }
func (crdPolicy) resource() schema.GroupVersionKind   { return calico(groupCRD, "NetworkPolicy") }
func (crdGlobalPolicy) resource() schema.GroupVersionKind {
	return calico(groupCRD, "GlobalNetworkPolicy")
}
func (crdTier) resource() schema.GroupVersionKind      { return calico(groupCRD, "Tier") }
func (crdSet) resource() schema.GroupVersionKind       { return calico(groupCRD, "NetworkSet") }
func (crdGlobalSet) resource() schema.GroupVersionKind { return calico(groupCRD, "GlobalNetworkSet") }

func (podReading) namespaced() bool       { return true }
func (namespaceReading) namespaced() bool { return false }
func (accountReading) namespaced() bool   { return true }
func (nodeReading) namespaced() bool      { return false }
func (kubernetesPolicy) namespaced() bool { return true }
func (v3Policy) namespaced() bool         { return true }
func (v3GlobalPolicy) namespaced() bool   { return false }
func (v3Tier) namespaced() bool           { return false }
func (v3Set) namespaced() bool            { return true }
func (v3GlobalSet) namespaced() bool      { return false }
func (crdPolicy) namespaced() bool        { return true }
func (crdGlobalPolicy) namespaced() bool  { return false }
func (crdTier) namespaced() bool          { return false }
func (crdSet) namespaced() bool           { return true }
func (crdGlobalSet) namespaced() bool     { return false }

func (r kubernetesPolicy) decode(raw []byte) (policy.Object, error) {
	return salvage(r.resource(), raw)
}
func (r v3Policy) decode(raw []byte) (policy.Object, error)        { return salvage(r.resource(), raw) }
func (r v3GlobalPolicy) decode(raw []byte) (policy.Object, error)  { return salvage(r.resource(), raw) }
func (r v3Tier) decode(raw []byte) (policy.Object, error)          { return salvage(r.resource(), raw) }
func (r v3Set) decode(raw []byte) (policy.Object, error)           { return salvage(r.resource(), raw) }
func (r v3GlobalSet) decode(raw []byte) (policy.Object, error)     { return salvage(r.resource(), raw) }
func (r crdPolicy) decode(raw []byte) (policy.Object, error)       { return salvage(r.resource(), raw) }
func (r crdGlobalPolicy) decode(raw []byte) (policy.Object, error) { return salvage(r.resource(), raw) }
func (r crdTier) decode(raw []byte) (policy.Object, error)         { return salvage(r.resource(), raw) }
func (r crdSet) decode(raw []byte) (policy.Object, error)          { return salvage(r.resource(), raw) }
func (r crdGlobalSet) decode(raw []byte) (policy.Object, error)    { return salvage(r.resource(), raw) }

func salvage(gvk schema.GroupVersionKind, raw []byte) (policy.Object, error) {
	return policy.Salvage(gvk.GroupVersion().String(), gvk.Kind, raw)
}

// metadata is what policy reads of an object's.
type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	Labels            map[string]string `json:"labels"`
	DeletionTimestamp *metav1.Time      `json:"deletionTimestamp"`
}

func (m *metadata) object() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, Labels: m.Labels, DeletionTimestamp: m.DeletionTimestamp}
}

func (namespaceReading) decode(raw []byte) (policy.Object, error) {
	var in struct {
		Metadata metadata `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return policy.Object{}, fmt.Errorf("decode namespace: %w", err)
	}
	return policy.Object{Value: &corev1.Namespace{ObjectMeta: in.Metadata.object()}}, nil
}

func (accountReading) decode(raw []byte) (policy.Object, error) {
	var in struct {
		Metadata metadata `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return policy.Object{}, fmt.Errorf("decode service account: %w", err)
	}
	return policy.Object{Value: &corev1.ServiceAccount{ObjectMeta: in.Metadata.object()}}, nil
}

// podAnnotations are those that policy reads of a pod, as a struct, so that all others are passed over.
type podAnnotations struct {
	Mirror   *string `json:"kubernetes.io/config.mirror"`
	PodIP    *string `json:"cni.projectcalico.org/podIP"`
	PodIPs   *string `json:"cni.projectcalico.org/podIPs"`
	AWSPodIP *string `json:"vpc.amazonaws.com/pod-ips"`
}

func (a *podAnnotations) all() map[string]string {
	var out map[string]string
	for key, value := range map[string]*string{
		corev1.MirrorPodAnnotationKey: a.Mirror, "cni.projectcalico.org/podIP": a.PodIP,
		"cni.projectcalico.org/podIPs": a.PodIPs, "vpc.amazonaws.com/pod-ips": a.AWSPodIP,
	} {
		if value != nil {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = *value
		}
	}
	return out
}

// podPorts is what policy reads of a container.
type podPorts struct {
	Ports []corev1.ContainerPort `json:"ports"`
}

func (podReading) decode(raw []byte) (policy.Object, error) {
	var in struct {
		Metadata struct {
			metadata
			Annotations podAnnotations `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			NodeName           string     `json:"nodeName"`
			HostNetwork        bool       `json:"hostNetwork"`
			ServiceAccountName string     `json:"serviceAccountName"`
			ServiceAccount     string     `json:"serviceAccount"`
			Containers         []podPorts `json:"containers"`
			InitContainers     []podPorts `json:"initContainers"`
		} `json:"spec"`
		Status struct {
			Phase  corev1.PodPhase `json:"phase"`
			PodIP  string          `json:"podIP"`
			PodIPs []corev1.PodIP  `json:"podIPs"`
		} `json:"status"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return policy.Object{}, fmt.Errorf("decode pod: %w", err)
	}
	pod := &corev1.Pod{
		ObjectMeta: in.Metadata.object(),
		Spec: corev1.PodSpec{
			NodeName: in.Spec.NodeName, HostNetwork: in.Spec.HostNetwork,
			ServiceAccountName: in.Spec.ServiceAccountName, DeprecatedServiceAccount: in.Spec.ServiceAccount,
		},
		Status: corev1.PodStatus{Phase: in.Status.Phase, PodIP: in.Status.PodIP, PodIPs: in.Status.PodIPs},
	}
	pod.Annotations = in.Metadata.Annotations.all()
	for _, c := range in.Spec.Containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Ports: c.Ports})
	}
	for _, c := range in.Spec.InitContainers {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Ports: c.Ports})
	}
	return policy.Object{Value: pod}, nil
}

// node is a Node's name and the prefixes of its pods.
type node struct {
	metav1.ObjectMeta
	prefixes []netip.Prefix
}

func (nodeReading) decode(raw []byte) (policy.Object, error) {
	var in struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			PodCIDR  string   `json:"podCIDR"`
			PodCIDRs []string `json:"podCIDRs"`
		} `json:"spec"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &in); err != nil {
		return policy.Object{}, fmt.Errorf("decode node: %w", err)
	}
	texts := in.Spec.PodCIDRs
	if len(texts) == 0 && in.Spec.PodCIDR != "" {
		texts = []string{in.Spec.PodCIDR}
	}
	n := &node{ObjectMeta: in.Metadata.object()}
	var errs []error
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("parse spec.podCIDRs: %w", err))
			continue
		}
		if p.Addr().Is4In6() { // the kernels' tables hold it as the IPv4 prefix that it is not
			errs = append(errs, fmt.Errorf("parse spec.podCIDRs: %s is an IPv4 prefix written as IPv6", p))
			continue
		}
		n.prefixes = append(n.prefixes, p.Masked())
	}
	return policy.Object{Value: n}, errors.Join(errs...)
}
