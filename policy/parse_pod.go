package policy

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/internal/identity"
)

// Annotations that tell a pod's addresses (libcalico-go/lib/backend/k8s/conversion/constants.go). Present but empty on a
// pod that is being deleted, the first and the last say that the pod has lost its addresses.
const (
	annotationPodIP     = "cni.projectcalico.org/podIP"
	annotationPodIPs    = "cni.projectcalico.org/podIPs"
	annotationAWSPodIPs = "vpc.amazonaws.com/pod-ips"
)

// phaseCompleted is a phase that Calico counts as finished although the API does not have it.
const phaseCompleted corev1.PodPhase = "Completed"

// WhyNotEndpoint says why a pod is no endpoint, "" if it is one. Such a pod matches nothing and has no policy, and its
// address may be another pod's by now.
func WhyNotEndpoint(in *corev1.Pod, sem Semantics) string {
	switch {
	case in.Spec.HostNetwork:
		return "is on the host's network"
	case in.Spec.NodeName == "":
		return "is not scheduled"
	case finished(in):
		return "is finished"
	case len(podAddresses(in, sem)) == 0:
		return "has no address"
	}
	return ""
}

func finished(in *corev1.Pod) bool {
	if in.DeletionTimestamp != nil {
		for _, a := range []string{annotationPodIP, annotationAWSPodIPs} {
			if v, ok := in.Annotations[a]; ok && v == "" {
				return true
			}
		}
	}
	switch in.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, phaseCompleted:
		return true
	default:
		return false
	}
}

// podAddresses returns the addresses as they are written, in Calico's order of preference of where to find them.
func podAddresses(in *corev1.Pod, sem Semantics) []string {
	var out []string
	for _, ip := range in.Status.PodIPs {
		if ip.IP != "" {
			out = append(out, ip.IP)
		}
	}
	switch {
	case len(out) > 0:
		return out
	case in.Status.PodIP != "":
		return []string{in.Status.PodIP}
	case sem.strict(rowAnnotatedAddress):
		return nil
	}
	for _, a := range []string{annotationPodIPs, annotationPodIP, annotationAWSPodIPs} {
		if v := in.Annotations[a]; v != "" {
			return strings.Split(v, ",")
		}
	}
	return nil
}

// parsePod returns nil for a pod that is no endpoint, and for one with an address that does not parse, as Calico does:
// nobody can say which packets are its own.
func parsePod(in *corev1.Pod, sem Semantics) (*Workload, field.ErrorList) {
	if WhyNotEndpoint(in, sem) != "" {
		return nil, nil
	}
	var errs field.ErrorList
	w := &Workload{Namespace: in.Namespace, Name: in.Name, Node: in.Spec.NodeName, Ports: namedPorts(in)}
	for i, s := range podAddresses(in, sem) {
		prefix, err := parseNet(s)
		if err != nil || !prefix.IsSingleIP() {
			errs = append(errs, field.Invalid(field.NewPath("status", "podIPs").Index(i).Child("ip"), s, "not an IP address"))
			continue
		}
		w.Addresses = append(w.Addresses, prefix.Addr())
	}
	if len(errs) > 0 {
		return nil, errs
	}
	w.Account, errs = podAccount(in)
	w.Labels = podLabels(in, w.Account, sem)
	return w, errs
}

// podAccount does what the API server does on admission: an empty name is the deprecated alias, then "default". Mirror
// pods have no account (the ServiceAccount admission plugin refuses one).
func podAccount(in *corev1.Pod) (identity.ServiceAccount, field.ErrorList) {
	name := in.Spec.ServiceAccountName
	if name == "" {
		name = in.Spec.DeprecatedServiceAccount
	}
	if name == "" {
		if _, mirror := in.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			return identity.ServiceAccount{}, nil
		}
		name = "default"
	}
	account, err := identity.NewServiceAccount(in.Namespace, name)
	if err != nil {
		return account, field.ErrorList{field.Invalid(field.NewPath("spec", "serviceAccountName"), name, err.Error())}
	}
	return account, nil
}

// podLabels follows workload_endpoint_default.go and workloadendpointprocessor.go: reserved prefixes are taken off, and
// what Calico derives overwrites what the pod says.
func podLabels(in *corev1.Pod, account identity.ServiceAccount, sem Semantics) map[string]string {
	labels := make(map[string]string, len(in.Labels)+3)
	for k, v := range in.Labels {
		if !strings.HasPrefix(k, PrefixNamespace) && !strings.HasPrefix(k, PrefixServiceAccount) {
			labels[k] = v
		}
	}
	labels[LabelNamespace] = in.Namespace
	labels[LabelOrchestrator] = "k8s"
	if !account.IsZero() {
		labels[LabelServiceAccount] = account.Name()
	} else if sem.strict(rowMirrorAccount) {
		delete(labels, LabelServiceAccount)
	}
	return labels
}

// namedPorts returns the container ports that have a name, init containers' too. A port without protocol is TCP.
func namedPorts(in *corev1.Pod) []NamedPort {
	var out []NamedPort
	for _, containers := range [][]corev1.Container{in.Spec.Containers, in.Spec.InitContainers} {
		for _, c := range containers {
			for _, p := range c.Ports {
				if p.Name == "" || p.ContainerPort < 1 || p.ContainerPort > 65535 {
					continue
				}
				named := NamedPort{Name: p.Name, Port: uint16(p.ContainerPort)}
				switch p.Protocol {
				case corev1.ProtocolTCP, "":
					named.Protocol = ProtocolTCP
				case corev1.ProtocolUDP:
					named.Protocol = ProtocolUDP
				case corev1.ProtocolSCTP:
					named.Protocol = ProtocolSCTP
				default:
					continue
				}
				out = append(out, named)
			}
		}
	}
	return out
}

// parseNet reads a CIDR or an address, which is a CIDR of full length, and masks it.
func parseNet(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, errNotNet
		}
		addr = addr.Unmap()
		if addr.Zone() != "" {
			return netip.Prefix{}, errNotNet
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errNotNet
	}
	return prefix.Masked(), nil
}
