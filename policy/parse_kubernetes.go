package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// kubernetes turns a Kubernetes policy into Calico's terms (libcalico-go/lib/backend/k8s/conversion/conversion.go): one
// rule for each protocol and peer, all of them Allow. Rules carry the index of the entry they come from.
func (r *reader) kubernetes(in *networkingv1.NetworkPolicy) source {
	order := float64(KubernetesOrder)
	spec := field.NewPath("spec")
	out := source{
		id:       Ref{Kind: KindKubernetesNetworkPolicy, Namespace: in.Namespace, Name: in.Name},
		order:    &order,
		selector: r.labelSelector(spec.Child("podSelector"), &in.Spec.PodSelector, true),
	}
	if r.broken {
		out.selector, out.unscoped = "", true // every pod of the namespace: fails closed
	}
	for i, rule := range in.Spec.Ingress {
		path := spec.Child("ingress").Index(i)
		for _, converted := range r.kubernetesRule(path, path.Child("from"), rule.From, rule.Ports, true) {
			out.ingress = append(out.ingress, converted)
			out.ingressIndex = append(out.ingressIndex, i)
		}
	}
	for i, rule := range in.Spec.Egress {
		path := spec.Child("egress").Index(i)
		for _, converted := range r.kubernetesRule(path, path.Child("to"), rule.To, rule.Ports, false) {
			out.egress = append(out.egress, converted)
			out.egressIndex = append(out.egressIndex, i)
		}
	}
	for _, t := range in.Spec.PolicyTypes {
		out.types = append(out.types, v3.PolicyType(t))
	}
	if len(out.types) == 0 { // k8s.io/kubernetes/pkg/apis/networking/v1 (SetDefaults_NetworkPolicy)
		out.types = []v3.PolicyType{v3.PolicyTypeIngress}
		if len(in.Spec.Egress) > 0 {
			out.types = append(out.types, v3.PolicyTypeEgress)
		}
	}
	return out
}

// kubernetesRule converts one entry. An entry with a port that does not parse is left out whole by Calico; strictly it
// becomes a rule that is broken again when it is read.
func (r *reader) kubernetesRule(path, peersPath *field.Path, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, ingress bool) []v3.Rule {
	outer := r.broken
	r.broken = false
	defer func() { r.broken = outer }()

	byProtocol, ok := r.kubernetesPorts(path.Child("ports"), ports)
	if !ok {
		if r.broken {
			return []v3.Rule{brokenRule()}
		}
		return nil
	}
	var entities []v3.EntityRule
	for i := range peers {
		entities = append(entities, r.kubernetesPeer(peersPath.Index(i), &peers[i]))
	}
	if len(peers) == 0 {
		entities = []v3.EntityRule{{}}
	}
	if r.broken {
		return []v3.Rule{brokenRule()}
	}
	names := make([]string, 0, len(byProtocol))
	for name := range byProtocol {
		names = append(names, name)
	}
	sort.Strings(names)
	var out []v3.Rule
	for _, name := range names {
		for _, peer := range entities {
			rule := v3.Rule{Action: v3.Allow}
			if name != "" {
				protocol := numorstring.ProtocolFromString(name)
				rule.Protocol = &protocol
			}
			if ingress {
				rule.Source = peer
				rule.Destination.Ports = byProtocol[name]
			} else {
				rule.Destination = peer
				rule.Destination.Ports = byProtocol[name]
			}
			out = append(out, rule)
		}
	}
	return out
}

// brokenRule is refused by the rule parser without a further error of its own.
func brokenRule() v3.Rule { return v3.Rule{Action: actionBroken} }

// actionBroken cannot come from an object: a NUL is not valid in it.
const actionBroken v3.Action = "\x00broken"

// kubernetesPorts groups ports by protocol; nil ports are all ports, and no ports at all are every protocol, "".
func (r *reader) kubernetesPorts(path *field.Path, in []networkingv1.NetworkPolicyPort) (map[string][]numorstring.Port, bool) {
	if len(in) == 0 {
		return map[string][]numorstring.Port{"": nil}, true
	}
	out := map[string][]numorstring.Port{}
	valid := true
	for i, p := range in {
		protocol := "TCP"
		if p.Protocol != nil {
			protocol = string(*p.Protocol)
		}
		if p.Port == nil {
			out[protocol] = nil
			continue
		}
		text := p.Port.String()
		if p.EndPort != nil {
			text = fmt.Sprintf("%s:%d", text, *p.EndPort)
		}
		port, err := numorstring.PortFromString(text)
		if err != nil {
			r.fail(rowRuleFields, field.Invalid(path.Index(i).Child("port"), text, err.Error()))
			valid = false
			continue
		}
		if have, ok := out[protocol]; !ok || len(have) > 0 {
			out[protocol] = append(have, port)
		}
	}
	return out, valid
}

// kubernetesPeer is k8sPeerToCalicoFields: a block that does not parse leaves a peer that is anybody.
func (r *reader) kubernetesPeer(path *field.Path, in *networkingv1.NetworkPolicyPeer) v3.EntityRule {
	if block := in.IPBlock; block != nil {
		out := v3.EntityRule{}
		for _, cidr := range slices.Concat([]string{block.CIDR}, block.Except) {
			if _, err := parseNet(cidr); err != nil || !strings.Contains(cidr, "/") {
				r.fail(rowRuleFields, field.Invalid(path.Child("ipBlock"), cidr, "not a CIDR"))
				if cidr == block.CIDR {
					return v3.EntityRule{}
				}
				break
			}
			if out.Nets == nil {
				out.Nets = []string{cidr}
			} else {
				out.NotNets = append(out.NotNets, cidr)
			}
		}
		return out
	}
	return v3.EntityRule{
		Selector:          r.labelSelector(path.Child("podSelector"), in.PodSelector, true),
		NamespaceSelector: r.labelSelector(path.Child("namespaceSelector"), in.NamespaceSelector, false),
	}
}

// labelSelector is k8sSelectorToCalico: a pod selector is confined to pods, an absent namespace selector is "", and an
// empty one all().
func (r *reader) labelSelector(path *field.Path, in *metav1.LabelSelector, pods bool) string {
	var parts []string
	if pods {
		parts = append(parts, LabelOrchestrator+" == 'k8s'")
	}
	if in == nil {
		return strings.Join(parts, " && ")
	}
	for _, err := range metav1validation.ValidateLabelSelector(in, metav1validation.LabelSelectorValidationOptions{}, path) {
		r.fail(rowSelectorSyntax, err)
	}
	if !pods && len(in.MatchLabels) == 0 && len(in.MatchExpressions) == 0 {
		return "all()"
	}
	keys := make([]string, 0, len(in.MatchLabels))
	for k := range in.MatchLabels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s == '%s'", k, in.MatchLabels[k]))
	}
	for _, e := range in.MatchExpressions {
		values := strings.Join(e.Values, "', '")
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			parts = append(parts, fmt.Sprintf("%s in { '%s' }", e.Key, values))
		case metav1.LabelSelectorOpNotIn:
			parts = append(parts, fmt.Sprintf("%s not in { '%s' }", e.Key, values))
		case metav1.LabelSelectorOpExists:
			parts = append(parts, fmt.Sprintf("has(%s)", e.Key))
		case metav1.LabelSelectorOpDoesNotExist:
			parts = append(parts, fmt.Sprintf("! has(%s)", e.Key))
		}
	}
	return strings.Join(parts, " && ")
}
