package main

import (
	"fmt"
	"math/rand/v2"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy"
)

// event is one change and what undoes it; resources that are nil are deleted.
type event struct {
	ref        policy.Ref
	to, before policy.Resource
}

// maker makes events of one kind, at random but the same in every run.
type maker func(w *world, r *rand.Rand, n int, node string) event

func makers() map[string]maker {
	return map[string]maker{
		"remotePodAdded":        func(w *world, r *rand.Rand, n int, _ string) event { return w.podAdded(r, n, "bench-node") },
		"localPodAdded":         func(w *world, r *rand.Rand, n int, node string) event { return w.podAdded(r, n, node) },
		"accountLabelChanged":   (*world).accountLabelChanged,
		"policyChanged":         (*world).policyChanged,
		"podLabelChanged":       (*world).podLabelChanged,
		"namespaceLabelChanged": (*world).namespaceLabelChanged,
	}
}

func one[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func parse(o metav1.Object) policy.Resource {
	r, _ := policy.Parse(policy.Object{Value: o}, policy.Strict)
	return r
}

func changed(from, to metav1.Object) event {
	e := event{to: parse(to), before: parse(from)}
	e.ref = e.to.Ref()
	return e
}

// podAdded adds a pod like one that there is, of another name and address.
func (w *world) podAdded(r *rand.Rand, n int, node string) event {
	p := one(r, w.pods).DeepCopy()
	p.Name, p.Spec.NodeName = fmt.Sprintf("bench-%d", n), node
	ip := fmt.Sprintf("172.31.%d.%d", n/250, n%250+1)
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	return event{ref: policy.Ref{Kind: policy.KindPod, Namespace: p.Namespace, Name: p.Name}, to: parse(p)}
}

// accountLabelChanged gives one label of an account that some pod wears the value of another account.
func (w *world) accountLabelChanged(r *rand.Rand, _ int, _ string) event {
	worn := map[string]bool{}
	for _, p := range w.pods {
		worn[p.Namespace+"/"+p.Spec.ServiceAccountName] = true
	}
	for {
		a, other := one(r, w.accounts), one(r, w.accounts)
		key := one(r, []string{"role", "team"})
		if worn[a.Namespace+"/"+a.Name] && a.Labels[key] != other.Labels[key] {
			to := a.DeepCopy()
			to.Labels[key] = other.Labels[key]
			return changed(a, to)
		}
	}
}

// policyChanged gives a policy the rules of another.
func (w *world) policyChanged(r *rand.Rand, _ int, _ string) event {
	o, other := one(r, w.policies), one(r, w.policies)
	var ingress, egress []v3.Rule
	switch p := other.Value.(type) {
	case *v3.NetworkPolicy:
		ingress, egress = p.Spec.Ingress, p.Spec.Egress
	case *v3.GlobalNetworkPolicy:
		ingress, egress = p.Spec.Ingress, p.Spec.Egress
	}
	switch p := o.Value.(type) {
	case *v3.NetworkPolicy:
		to := p.DeepCopy()
		to.Spec.Ingress, to.Spec.Egress = ingress, egress
		return changed(p, to)
	case *v3.GlobalNetworkPolicy:
		to := p.DeepCopy()
		to.Spec.Ingress, to.Spec.Egress = ingress, egress
		return changed(p, to)
	}
	return event{}
}

// podLabelChanged gives a label of a pod a new value.
func (w *world) podLabelChanged(r *rand.Rand, n int, _ string) event {
	p := one(r, w.pods)
	to := p.DeepCopy()
	for key := range to.Labels {
		to.Labels[key] = fmt.Sprintf("bench-%d", n)
		break
	}
	return changed(p, to)
}

// namespaceLabelChanged gives a label of a namespace the value of another namespace.
func (w *world) namespaceLabelChanged(r *rand.Rand, _ int, _ string) event {
	for {
		n, other := one(r, w.namespaces), one(r, w.namespaces)
		if n.Labels["env"] != other.Labels["env"] {
			to := n.DeepCopy()
			to.Labels["env"] = other.Labels["env"]
			return changed(n, to)
		}
	}
}
