package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy"
)

// podTemplate is what a workload makes pods of.
type podTemplate struct {
	kind, namespace, name string
	owned                 bool // by another workload, whose template counts
	pod                   *corev1.Pod
}

func (t *podTemplate) String() string {
	return policy.Ref{Kind: t.kind, Namespace: t.namespace, Name: t.name}.String()
}

// workload is an object with a pod template.
type workload struct {
	where, apiVersion, kind string
	raw                     []byte
}

// makesPods reports whether a kind is a built-in workload with a pod template.
func makesPods(apiVersion, kind string) bool {
	switch apiVersion + " " + kind {
	case "apps/v1 Deployment", "apps/v1 StatefulSet", "apps/v1 DaemonSet", "apps/v1 ReplicaSet", "batch/v1 Job", "batch/v1 CronJob", "v1 ReplicationController":
		return true
	}
	return false
}

// ReadTemplates reads the pod templates of the workloads among the objects, which are otherwise ignored, for
// [Objects.StandIns]. All errors are returned together.
func (o *Objects) ReadTemplates() error {
	var errs []error
	seen := map[string]bool{}
	for _, w := range o.workloads {
		t, err := w.template()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: decode %s %s: %w", w.where, w.apiVersion, w.kind, err))
			continue
		}
		if seen[t.String()] {
			errs = append(errs, fmt.Errorf("%s: %s is there twice", w.where, t))
			continue
		}
		seen[t.String()] = true
		o.templates = append(o.templates, t)
		kind := w.apiVersion + " " + w.kind
		if o.Ignored[kind]--; o.Ignored[kind] == 0 {
			delete(o.Ignored, kind)
		}
	}
	o.workloads = nil
	return errors.Join(errs...)
}

func (w *workload) template() (*podTemplate, error) {
	type spec struct {
		Template *corev1.PodTemplateSpec `json:"template"`
	}
	var object struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     struct {
			spec
			JobTemplate struct {
				Spec spec `json:"spec"`
			} `json:"jobTemplate"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(w.raw, &object); err != nil {
		return nil, err
	}
	template := object.Spec.Template
	if w.kind == "CronJob" {
		template = object.Spec.JobTemplate.Spec.Template
	}
	if object.Metadata.Name == "" || template == nil {
		return nil, errors.New("metadata.name and the pod template are required")
	}
	out := &podTemplate{kind: w.kind, namespace: object.Metadata.Namespace, name: object.Metadata.Name, owned: len(object.Metadata.OwnerReferences) > 0}
	if out.namespace == "" {
		out.namespace = metav1.NamespaceDefault
	}
	out.pod = &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	out.pod.Namespace, out.pod.Name = out.namespace, strings.ToLower(w.kind)+":"+out.name
	return out, nil
}

// DefaultPodCIDR is where stand-ins get addresses from: a range for measurements that no network routes (RFC 2544).
func DefaultPodCIDR() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/15") }

// Addresses gives addresses to pods that have none yet, each pod the same whenever it asks.
type Addresses struct {
	cidr  netip.Prefix
	last  netip.Addr
	given map[string]netip.Addr
}

// NewAddresses gives addresses of cidr, but for its first.
func NewAddresses(cidr netip.Prefix) *Addresses {
	return &Addresses{cidr: cidr, last: cidr.Masked().Addr(), given: map[string]netip.Addr{}}
}

func (a *Addresses) of(pod string, taken map[netip.Addr]bool) (netip.Addr, error) {
	if addr, ok := a.given[pod]; ok {
		return addr, nil
	}
	for {
		a.last = a.last.Next()
		if !a.last.IsValid() || !a.cidr.Contains(a.last) {
			return netip.Addr{}, fmt.Errorf("give addresses to pods: %s is too small", a.cidr)
		}
		if !taken[a.last] {
			a.given[pod] = a.last
			return a.last, nil
		}
	}
}

// StandIns adds a pod for every workload that has none among the objects, and gives an address to every pod that waits
// for one: manifests say what will run, not where. It is noted, as nets in rules may hold the real address and not this one.
func (o *Objects) StandIns(addresses *Addresses, sem policy.Semantics) error {
	taken := map[netip.Addr]bool{}
	var pods []*corev1.Pod
	for _, read := range o.read {
		if w, ok := read.resource.(*policy.Workload); ok {
			for _, a := range w.Addresses {
				taken[a] = true
			}
		}
		if read.pod != nil && read.resource == nil && waits(read.pod) && len(read.problems) == 0 {
			pods = append(pods, read.pod)
		}
	}
	waiting := len(pods)
	for _, t := range o.templates {
		if !t.owned && !t.pod.Spec.HostNetwork && !o.running(t) {
			pods = append(pods, t.pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return policy.Ref{Namespace: a.Namespace, Name: a.Name}.Compare(policy.Ref{Namespace: b.Namespace, Name: b.Name})
	})
	for _, pod := range pods {
		addr, err := addresses.of(pod.Namespace+"/"+pod.Name, taken)
		if err != nil {
			return err
		}
		stand := pod.DeepCopy()
		stand.Status.PodIPs = []corev1.PodIP{{IP: addr.String()}}
		if stand.Spec.NodeName == "" {
			stand.Spec.NodeName = "stand-in"
		}
		read := newRead("stand-in", policy.Object{Value: stand}, sem)
		if old := o.seen[read.key]; old != nil {
			*old = *read
			continue
		}
		o.put(read)
	}
	if waiting > 0 {
		o.standIns = append(o.standIns, fmt.Sprintf("%d pods without address have one of %s", waiting, addresses.cidr))
	}
	if n := len(pods) - waiting; n > 0 {
		o.standIns = append(o.standIns, fmt.Sprintf("%d workloads without pods have one each, with an address of %s", n, addresses.cidr))
	}
	return nil
}

// waits reports whether the pod will be an endpoint once it has an address.
func waits(p *corev1.Pod) bool {
	return !p.Spec.HostNetwork && p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && len(p.Status.PodIPs) == 0
}

// running reports whether a pod of the template is among the objects.
func (o *Objects) running(t *podTemplate) bool {
	return slices.ContainsFunc(o.read, func(read *readObject) bool {
		if read.pod == nil || read.pod.Namespace != t.namespace || len(read.pod.OwnerReferences) == 0 || read.resource == nil {
			return false
		}
		for _, k := range slices.Sorted(maps.Keys(t.pod.Labels)) {
			if v, ok := read.pod.Labels[k]; !ok || v != t.pod.Labels[k] {
				return false
			}
		}
		return len(t.pod.Labels) > 0
	})
}
