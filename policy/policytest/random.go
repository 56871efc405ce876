// Package policytest makes random worlds for the property tests of whatever judges by policy.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Random makes objects out of a small stock of names, labels and addresses, so that they collide.
type Random struct {
	*rand.Rand
	nodes []string
}

// New returns a Random whose objects depend on seed alone. Pods are on one of nodes, on one that is named twice twice as often.
func New(seed uint64, nodes ...string) Random {
	return Random{rand.New(rand.NewPCG(seed, 1)), nodes} //nolint:gosec // a test repeats what it does
}

// In is true one time in n.
func (r Random) In(n int) bool { return r.IntN(n) == 0 }

// Pick returns one of from.
func Pick[T any](r Random, from ...T) T { return from[r.IntN(len(from))] }

// Some returns up to most of from, some of them more than once.
func Some[T any](r Random, most int, from ...T) []T {
	var out []T
	for range r.IntN(most + 1) {
		out = append(out, Pick(r, from...))
	}
	return out
}

func (r Random) namespaceName() string { return Pick(r, "a", "b", "c") }
func (r Random) accountName() string   { return Pick(r, "web", "api", "default") }

func (r Random) labels() map[string]string {
	out := map[string]string{}
	for _, k := range Some(r, 3, "app", "app", "role", "role", "env", "env", "example.com/x", "projectcalico.org/name") {
		out[k] = Pick(r, "p", "q", "")
	}
	return out
}

func (r Random) podAddress() string {
	return Pick(r, Stock()...)
}

func (r Random) net() string {
	return Pick(r, "10.0.0.0/24", "10.0.0.0/16", "10.0.0.2/32", "10.0.1.5", "0.0.0.0/0", "192.0.2.0/24", "fd00::/64", "::/0", "fd00::2", "192.0.2.1/32")
}

// Stock is the addresses that pods have.
func Stock() []string {
	return []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.4", "10.0.1.5", "fd00::1", "fd00::2", "fd00:1::3"}
}

// Object makes one object; the same name may come with other content later.
func (r Random) Object() metav1.Object {
	switch r.IntN(20) {
	case 0, 1:
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.namespaceName(), Labels: r.labels()}}
	case 2, 3, 4:
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaceName(), Name: r.accountName(), Labels: r.labels()}}
	case 5, 6, 7, 8, 9:
		return r.pod()
	case 10:
		return r.tier()
	case 11:
		return &v3.NetworkSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaceName(), Name: Pick(r, "s1", "s2"), Labels: r.setLabels()},
			Spec:       v3.NetworkSetSpec{Nets: r.setNets()},
		}
	case 12:
		return &v3.GlobalNetworkSet{
			ObjectMeta: metav1.ObjectMeta{Name: Pick(r, "s1", "s2"), Labels: r.setLabels()},
			Spec:       v3.GlobalNetworkSetSpec{Nets: r.setNets()},
		}
	case 13, 14:
		return r.kubernetesPolicy()
	case 15, 16, 17:
		return &v3.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaceName(), Name: Pick(r, "p1", "p1-x", "p2", "p3")},
			Spec: v3.NetworkPolicySpec{
				Tier: r.tierName(), Order: r.order(), Selector: r.selector(), ServiceAccountSelector: r.optionalSelector(),
				Types: Some(r, 2, v3.PolicyTypeIngress, v3.PolicyTypeEgress), Ingress: r.rules(), Egress: r.rules(),
			},
		}
	default:
		return &v3.GlobalNetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: Pick(r, "p1", "g1", "g2")},
			Spec: v3.GlobalNetworkPolicySpec{
				Tier: r.tierName(), Order: r.order(), Selector: r.selector(), ServiceAccountSelector: r.optionalSelector(),
				NamespaceSelector: r.optionalSelector(), Types: Some(r, 2, v3.PolicyTypeIngress, v3.PolicyTypeEgress), Ingress: r.rules(), Egress: r.rules(),
			},
		}
	}
}

func (r Random) setLabels() map[string]string {
	out := r.labels()
	if r.In(4) {
		out["projectcalico.org/serviceaccount"] = "web"
	}
	if r.In(4) {
		out["pcsa.role"] = "p"
	}
	return out
}

func (r Random) setNets() []string {
	out := Some(r, 3, "x")
	for i := range out {
		out[i] = r.net()
	}
	if r.In(8) {
		out = append(out, "10.0.0.0/33")
	}
	return out
}

func (r Random) pod() *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaceName(), Name: fmt.Sprintf("pod-%d", r.IntN(5)), Labels: r.labels()},
		Spec:       corev1.PodSpec{NodeName: Pick(r, r.nodes...), ServiceAccountName: r.accountName(), HostNetwork: r.In(12)},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if r.In(12) {
		p.Status.Phase = Pick(r, corev1.PodSucceeded, corev1.PodFailed)
	}
	if r.In(16) {
		p.Spec.ServiceAccountName, p.Annotations = "", map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	}
	for range r.IntN(3) {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: r.podAddress()})
	}
	for range r.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Ports: []corev1.ContainerPort{{
			Name: Pick(r, "http", "dns", ""), ContainerPort: Pick[int32](r, 80, 81, 53), Protocol: Pick(r, corev1.ProtocolTCP, corev1.ProtocolUDP),
		}}})
	}
	return p
}

func (r Random) tierName() string { return Pick(r, "", "default", "t1", "t2") }

func (r Random) order() *float64 {
	if r.In(4) {
		return nil
	}
	n := float64(r.IntN(3))
	return &n
}

func (r Random) tier() *v3.Tier {
	t := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: Pick(r, "default", "t1", "t2")}, Spec: v3.TierSpec{Order: r.order()}}
	if !r.In(3) {
		a := Pick(r, v3.Pass, v3.Deny)
		t.Spec.DefaultAction = &a
	}
	return t
}

func (r Random) optionalSelector() string {
	if r.In(2) {
		return ""
	}
	return r.selector()
}

func (r Random) selector() string {
	leaf := func() string {
		key := Pick(r, "app", "role", "env", "pcsa.role", "pcns.env", "projectcalico.org/serviceaccount", "projectcalico.org/name", "projectcalico.org/namespace")
		switch r.IntN(8) {
		case 0:
			return "has(" + key + ")"
		case 1:
			return "!has(" + key + ")"
		case 2:
			return key + " != 'p'"
		case 3:
			return key + " in {'p', 'web', 'a'}"
		case 4:
			return "all()"
		default:
			return key + " == '" + Pick(r, "p", "q", "web", "a", "b") + "'"
		}
	}
	switch {
	case r.In(30):
		return "app == " // does not parse
	case r.In(4):
		return leaf() + Pick(r, " && ", " || ") + leaf()
	case r.In(6):
		return ""
	}
	return leaf()
}

func (r Random) rules() []v3.Rule {
	var out []v3.Rule
	for range r.IntN(4) {
		out = append(out, r.rule())
	}
	return out
}

func (r Random) rule() v3.Rule {
	out := v3.Rule{Action: Pick(r, v3.Allow, v3.Allow, v3.Deny, v3.Pass, v3.Log)}
	protocol := func(name string) *numorstring.Protocol {
		p := numorstring.ProtocolFromString(name)
		return &p
	}
	number := numorstring.ProtocolFromInt(47)
	switch r.IntN(10) {
	case 0, 1, 2:
		out.Protocol = protocol(Pick(r, "TCP", "TCP", "UDP", "SCTP"))
	case 3:
		out.Protocol = protocol(Pick(r, "ICMP", "ICMPv6"))
		kind, code := r.IntN(3), r.IntN(2)
		fields := &v3.ICMPFields{Type: &kind}
		if r.In(2) {
			fields.Code = &code
		}
		switch r.IntN(3) {
		case 0:
			out.ICMP = fields
		case 1:
			out.NotICMP = fields
		}
	case 4:
		out.NotProtocol = protocol(Pick(r, "TCP", "UDP", "ICMP"))
	case 5:
		out.Protocol = &number
	}
	if r.In(8) {
		version := Pick(r, 4, 6)
		out.IPVersion = &version
	}
	ported := out.Protocol != nil && out.Protocol.SupportsPorts()
	out.Source, out.Destination = r.entity(ported, 6), r.entity(ported, 3)
	return out
}

func (r Random) entity(ported bool, portsOneIn int) v3.EntityRule {
	var out v3.EntityRule
	if r.In(3) {
		out.Selector = r.selector()
	}
	if r.In(6) {
		out.NotSelector = r.selector()
	}
	if r.In(5) {
		out.NamespaceSelector = Pick(r, "env == 'p'", "projectcalico.org/name == 'a'", "all()", "global()", "!has(env)")
	}
	if r.In(4) {
		out.ServiceAccounts = &v3.ServiceAccountMatch{Names: Some(r, 2, "web", "api", "Not a name"), Selector: Pick(r, "", "role == 'p'", "role != 'p'", "all()", "projectcalico.org/name == 'web'", "projectcalico.org/name == 'p'")}
	}
	if r.In(6) {
		out.Nets = Some(r, 2, r.net(), r.net())
	}
	if r.In(8) {
		out.NotNets = Some(r, 2, r.net(), r.net())
	}
	ports := func() []numorstring.Port {
		var list []numorstring.Port
		for range 1 + r.IntN(3) {
			switch {
			case r.In(3) || !ported:
				list = append(list, numorstring.NamedPort(Pick(r, "http", "dns")))
			case r.In(3):
				list = append(list, numorstring.Port{MinPort: 50, MaxPort: uint16(53 + r.IntN(40))})
			default:
				list = append(list, numorstring.SinglePort(Pick[uint16](r, 53, 80, 81, 65535)))
			}
		}
		return list
	}
	if r.In(portsOneIn) {
		out.Ports = ports()
	}
	if r.In(3 * portsOneIn) {
		out.NotPorts = ports()
	}
	return out
}

func (r Random) kubernetesPolicy() *networkingv1.NetworkPolicy {
	label := func() *metav1.LabelSelector {
		if r.In(3) {
			return &metav1.LabelSelector{}
		}
		return &metav1.LabelSelector{MatchLabels: map[string]string{Pick(r, "app", "role"): Pick(r, "p", "q")}}
	}
	out := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaceName(), Name: Pick(r, "k1", "k2", "p1")},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: *label(), PolicyTypes: Some(r, 2, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)},
	}
	for range r.IntN(3) {
		var rule networkingv1.NetworkPolicyIngressRule
		for range r.IntN(3) {
			if r.In(4) {
				rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/16", Except: Some(r, 1, "10.0.1.0/24")}})
			} else {
				rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{PodSelector: label(), NamespaceSelector: Pick(r, nil, label())})
			}
		}
		for range r.IntN(3) {
			port := Pick(r, intstr.FromInt32(80), intstr.FromString("http"))
			rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Port: &port})
		}
		out.Spec.Ingress = append(out.Spec.Ingress, rule)
		if r.In(2) {
			out.Spec.Egress = append(out.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: rule.From, Ports: rule.Ports})
		}
	}
	return out
}

// Ends returns two addresses of one IP version, of pods and others.
func (r Random) Ends() (source, destination netip.Addr) {
	address := func(six bool) netip.Addr {
		for {
			text := r.podAddress()
			if r.In(5) {
				text = Pick(r, "192.0.2.1", "192.0.2.9", "203.0.113.1", "10.0.0.77", "2001:db8::1", "fd00::77")
			}
			if a := netip.MustParseAddr(text); a.Is6() == six {
				return a
			}
		}
	}
	six := r.In(3)
	return address(six), address(six)
}
