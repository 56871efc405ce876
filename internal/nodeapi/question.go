package nodeapi

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Question is a new connection.
type Question struct {
	// From and To are "namespace/name" of a pod, or an address.
	From string `json:"from"`
	To   string `json:"to"`
	// Protocol is a name that Calico knows (TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite) or a number.
	Protocol string `json:"protocol"`
	// Port and SourcePort are of TCP, UDP, SCTP and UDPLite; without a source port it is 0.
	Port       uint16 `json:"port,omitempty"`
	SourcePort uint16 `json:"sourcePort,omitempty"`
	// ICMPType and ICMPCode are of ICMP and ICMPv6.
	ICMPType uint8 `json:"icmpType,omitempty"`
	ICMPCode uint8 `json:"icmpCode,omitempty"`
	// IPVersion, 4 or 6, chooses among the addresses of pods; 0 takes the first that both ends have.
	IPVersion uint8 `json:"ipVersion,omitempty"`
}

// resolved is a question in the terms of those who answer it.
type resolved struct {
	kernel ruleset.Flow
	policy eval.Flow
}

// resolve finds the addresses and pods that the question names.
func (q *Question) resolve(s *policy.Snapshot) (resolved, error) {
	protocol, err := q.protocol()
	if err != nil {
		return resolved{}, err
	}
	from, err := candidates("from", q.From, s)
	if err != nil {
		return resolved{}, err
	}
	to, err := candidates("to", q.To, s)
	if err != nil {
		return resolved{}, err
	}
	source, destination, ok := q.pair(from, to)
	if !ok {
		return resolved{}, fmt.Errorf("%s and %s have no address of one IP version", q.From, q.To)
	}
	r := resolved{
		kernel: ruleset.Flow{
			Source: source, Destination: destination, Protocol: protocol,
			SourcePort: q.SourcePort, Port: q.Port, ICMPType: q.ICMPType, ICMPCode: q.ICMPCode,
		},
		policy: eval.Flow{
			Source: eval.End{Addr: source, Workload: owner(s, q.From, source)}, Destination: eval.End{Addr: destination, Workload: owner(s, q.To, destination)},
			Protocol: protocol, ICMP: decision.Absent[policy.ICMP](),
		},
	}
	switch protocol {
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		r.policy.ICMP = decision.Known(policy.ICMP{Type: q.ICMPType, Code: q.ICMPCode, HasCode: true})
		fallthrough
	default:
		r.policy.Source.Port, r.policy.Destination.Port = decision.Absent[uint16](), decision.Absent[uint16]()
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		if q.Port == 0 {
			return resolved{}, fmt.Errorf("protocol %s needs a port", q.Protocol)
		}
		r.policy.Source.Port, r.policy.Destination.Port = decision.Known(q.SourcePort), decision.Known(q.Port)
	}
	return r, nil
}

func (q *Question) protocol() (uint8, error) {
	if n, ok := policy.ProtocolNumber(q.Protocol); ok {
		return n, nil
	}
	n, err := strconv.ParseUint(q.Protocol, 10, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("protocol %q: want a name such as TCP, or 1 to 255", q.Protocol)
	}
	return uint8(n), nil
}

// candidates are the addresses of one end.
func candidates(field, text string, s *policy.Snapshot) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		return nil, fmt.Errorf("%s %q: want an address or namespace/pod", field, text)
	}
	w := s.Workload(namespace, name)
	if w == nil {
		return nil, fmt.Errorf("%s %q: no such pod with an address of its own", field, text)
	}
	return w.Addresses, nil
}

// pair takes the first two addresses of one IP version.
func (q *Question) pair(from, to []netip.Addr) (source, destination netip.Addr, ok bool) {
	for _, a := range from {
		for _, b := range to {
			if a.Is4() == b.Is4() && (q.IPVersion == 0 || a.Is4() == (q.IPVersion == 4)) {
				return a, b, true
			}
		}
	}
	return netip.Addr{}, netip.Addr{}, false
}

// owner is the pod whose policies are asked: the one named, or the first that claims the address.
func owner(s *policy.Snapshot, text string, a netip.Addr) *policy.Workload {
	if namespace, name, ok := strings.Cut(text, "/"); ok {
		return s.Workload(namespace, name)
	}
	if pods := s.At(a); len(pods) > 0 {
		return pods[0]
	}
	return nil
}
