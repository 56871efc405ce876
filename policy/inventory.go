package policy

import (
	"maps"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy/selector"
)

// Labels and prefixes that Calico derives and users cannot set on a pod
// (api/pkg/apis/projectcalico/v3/constants.go, libcalico-go/lib/backend/k8s/conversion/constants.go).
const (
	LabelNamespace      = "projectcalico.org/namespace"
	LabelServiceAccount = "projectcalico.org/serviceaccount"
	LabelOrchestrator   = "projectcalico.org/orchestrator"
	// LabelName is the object's own name, in namespace and service-account selectors.
	LabelName = "projectcalico.org/name"
	// PrefixNamespace and PrefixServiceAccount stand before the labels that an endpoint inherits.
	PrefixNamespace      = "pcns."
	PrefixServiceAccount = "pcsa."
)

// Namespace is one namespace. It allows what no policy decides: a pod whose namespace is missing has no such profile.
type Namespace struct {
	Name   string
	Labels map[string]string // without the derived LabelName
}

// Ref implements Resource.
func (n *Namespace) Ref() Ref { return Ref{Kind: KindNamespace, Name: n.Name} }

// ServiceAccount is one service account object. A pod may name one that has no object: it then has the name and no labels.
type ServiceAccount struct {
	Namespace, Name string
	Labels          map[string]string // without the derived LabelName
}

// Ref implements Resource.
func (a *ServiceAccount) Ref() Ref {
	return Ref{Kind: KindServiceAccount, Namespace: a.Namespace, Name: a.Name}
}

// Workload is a pod that is an endpoint: scheduled, not finished, not on the host's network, with an address.
type Workload struct {
	Namespace, Name string
	Node            string
	// Account is zero for a mirror pod, which has none.
	Account identity.ServiceAccount
	// Labels are the pod's as selectors see them: reserved prefixes removed, namespace, orchestrator and account set.
	// Inherited labels are not in it: see [Snapshot.Labels].
	Labels map[string]string
	// Addresses are the pod's, in the order of its status; at least one.
	Addresses []netip.Addr
	Ports     []NamedPort
}

// Ref implements Resource.
func (w *Workload) Ref() Ref { return Ref{Kind: KindPod, Namespace: w.Namespace, Name: w.Name} }

// Address returns the pod's first address of IP version 4 or 6.
func (w *Workload) Address(version uint8) (netip.Addr, bool) {
	for _, a := range w.Addresses {
		if ipVersion(a) == version {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// HasPort reports whether the pod has a container port of that name, protocol and number.
func (w *Workload) HasPort(p NamedPort) bool {
	for _, have := range w.Ports {
		if have == p {
			return true
		}
	}
	return false
}

// NamedPort is a container port that has a name.
type NamedPort struct {
	Name     string
	Protocol uint8 // TCP, UDP or SCTP
	Port     uint16
}

// NetworkSet is a NetworkSet or, with an empty namespace, a GlobalNetworkSet.
type NetworkSet struct {
	ID     Ref
	Labels map[string]string // the object's own; of a NetworkSet also LabelNamespace
	Nets   []netip.Prefix    // masked
	// Unparsed says that the object has entries, or labels, that could not be read.
	Unparsed bool
}

// Ref implements Resource.
func (n *NetworkSet) Ref() Ref { return n.ID }

// EndpointLabels is what a selector sees of an endpoint: its own labels, which win, and under their prefixes those of its
// namespace and its service account. It implements [selector.Labels].
type EndpointLabels struct {
	Own       map[string]string
	Namespace *Namespace      // nil if missing
	Account   *ServiceAccount // nil if missing
}

var _ selector.Labels = EndpointLabels{}

// Get implements selector.Labels.
func (l EndpointLabels) Get(key string) (string, bool) {
	if v, ok := l.Own[key]; ok {
		return v, true
	}
	if k, ok := strings.CutPrefix(key, PrefixNamespace); ok && l.Namespace != nil {
		return inherited(l.Namespace.Labels, l.Namespace.Name, k)
	}
	if k, ok := strings.CutPrefix(key, PrefixServiceAccount); ok && l.Account != nil {
		return inherited(l.Account.Labels, l.Account.Name, k)
	}
	return "", false
}

// inherited looks k up in the labels of a namespace or account, whose name label is always its name.
func inherited(labels map[string]string, name, k string) (string, bool) {
	if k == LabelName {
		return name, true
	}
	v, ok := labels[k]
	return v, ok
}

// Map returns all labels as a plain map, newly made.
func (l EndpointLabels) Map() map[string]string {
	m := map[string]string{}
	add := func(prefix, name string, labels map[string]string) {
		for k, v := range labels {
			m[prefix+k] = v
		}
		m[prefix+LabelName] = name
	}
	if l.Namespace != nil {
		add(PrefixNamespace, l.Namespace.Name, l.Namespace.Labels)
	}
	if l.Account != nil {
		add(PrefixServiceAccount, l.Account.Name, l.Account.Labels)
	}
	maps.Copy(m, l.Own)
	return m
}

// ReadsAccounts reports whether s asks for service accounts, in whichever field it stands (hole F7).
func ReadsAccounts(s *selector.Selector) bool {
	for _, k := range s.Keys() {
		if k == LabelServiceAccount || strings.HasPrefix(k, PrefixServiceAccount) {
			return true
		}
	}
	return false
}

func parseNamespace(in *corev1.Namespace) *Namespace {
	return &Namespace{Name: in.Name, Labels: maps.Clone(in.Labels)}
}

// maxAccountLabels is the longest name of an account that has labels, in bytes.
const maxAccountLabels = 63

// parseServiceAccount returns nil for an account with a name that is too long for a label value: Calico refuses the
// profile that would carry its labels (felix/calc/validation_filter.go), so its pods have the name and no labels, not
// even the name as a label. Strict semantics are the same, or an Allow for a label would go further than in Calico.
func parseServiceAccount(in *corev1.ServiceAccount) (*ServiceAccount, field.ErrorList) {
	if len(in.Name) > maxAccountLabels {
		return nil, field.ErrorList{field.TooLong(field.NewPath("metadata", "name"), in.Name, maxAccountLabels)}
	}
	return &ServiceAccount{Namespace: in.Namespace, Name: in.Name, Labels: maps.Clone(in.Labels)}, nil
}

func ipVersion(a netip.Addr) uint8 {
	if a.Is4() || a.Is4In6() {
		return 4
	}
	return 6
}
