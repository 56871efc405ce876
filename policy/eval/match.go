package eval

import (
	"net/netip"
	"slices"

	"github.com/saguard/saguard/policy"
)

// matches asks every condition of a rule.
func matches(s *policy.Snapshot, f *Flow, r *policy.Rule) bool {
	if r.Unparsed {
		return true
	}
	return packet(f, r) && entity(s, f, r, &r.Source, f.Source) && entity(s, f, r, &r.Destination, f.Destination)
}

// packet asks for what is neither an address nor a port.
func packet(f *Flow, r *policy.Rule) bool {
	switch {
	case r.Never:
		return false
	case r.IPVersion != 0 && r.IPVersion != f.version():
		return false
	case r.Protocol != 0 && r.Protocol != f.Protocol:
		return false
	case r.NotProtocol != 0 && r.NotProtocol == f.Protocol:
		return false
	case r.ICMP != nil && !icmp(f, r, r.ICMP, false):
		return false
	case r.NotICMP != nil && !icmp(f, r, r.NotICMP, true):
		return false
	}
	return true
}

// guess is the answer to a condition on something that the flow does not tell: it never helps an Allow.
func guess(r *policy.Rule) bool { return r.Action == policy.ActionDeny }

func icmp(f *Flow, r *policy.Rule, want *policy.ICMP, not bool) bool {
	if f.Protocol != policy.ProtocolICMP && f.Protocol != policy.ProtocolICMPv6 {
		return false
	}
	have, ok := f.ICMP.Get()
	if !ok {
		return guess(r)
	}
	same := have.Type == want.Type && (!want.HasCode || have.HasCode && have.Code == want.Code)
	return same != not
}

// entity asks the conditions on one end.
func entity(s *policy.Snapshot, f *Flow, r *policy.Rule, e *policy.Entity, end End) bool {
	switch {
	case !withinNets(f, e, end):
		return false
	case e.NotSet != nil && s.Contains(e.NotSet, end.Addr):
		return false
	case len(e.Ports) > 0 && !inPorts(s, f, r, e, end):
		return false
	case len(e.NotPorts) > 0 && !outsidePorts(s, f, r, e, end):
		return false
	}
	return e.Set == nil || s.Contains(e.Set, end.Addr)
}

// withinNets asks for prefixes.
func withinNets(f *Flow, e *policy.Entity, end End) bool {
	return inNets(e.Nets, end.Addr) && outsideNets(e.NotNets, end.Addr, f.version())
}

// apartFromSets asks every condition but those on sets and ports.
func apartFromSets(f *Flow, r *policy.Rule) bool {
	return packet(f, r) && withinNets(f, &r.Source, f.Source) && withinNets(f, &r.Destination, f.Destination)
}

// inNets is true without nets. Nets of the other IP version alone match nothing, as they contain no such address.
func inNets(nets []netip.Prefix, a netip.Addr) bool {
	return len(nets) == 0 || slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// outsideNets is true without nets. If all of them are of the other IP version, the rule does not match the packet
// (felix/rules/policy.go, FilterRuleToIPVersion).
func outsideNets(nets []netip.Prefix, a netip.Addr, version uint8) bool {
	if len(nets) == 0 {
		return true
	}
	other := true
	for _, p := range nets {
		if p.Addr().Is4() == (version == 4) {
			other = false
		}
		if p.Contains(a.Unmap()) {
			return false
		}
	}
	return !other
}

func inPorts(s *policy.Snapshot, f *Flow, r *policy.Rule, e *policy.Entity, end End) bool {
	if end.Port.IsAbsent() {
		return false
	}
	port, ok := end.Port.Get()
	if !ok {
		return guess(r)
	}
	return slices.ContainsFunc(e.Ports, func(p policy.Port) bool {
		return onPort(s, f, e, reading(r), p, end.Addr, port)
	})
}

func outsidePorts(s *policy.Snapshot, f *Flow, r *policy.Rule, e *policy.Entity, end End) bool {
	if end.Port.IsAbsent() {
		return true
	}
	port, ok := end.Port.Get()
	if !ok {
		return guess(r)
	}
	return !slices.ContainsFunc(e.NotPorts, func(p policy.Port) bool {
		return onPort(s, f, e, opposite(reading(r)), p, end.Addr, port)
	})
}

// onPort asks for a port number, or for a pod with that named port; it has to be one that the positive selector selects,
// for notPorts as well.
func onPort(s *policy.Snapshot, f *Flow, e *policy.Entity, how policy.Reading, p policy.Port, a netip.Addr, port uint16) bool {
	if p.Name == "" {
		return p.First <= port && port <= p.Last
	}
	return s.ContainsPort(e.Set, how, policy.NamedPort{Name: p.Name, Protocol: f.Protocol, Port: port}, a)
}

// reading of an address that several pods claim: certain for what an Allow may rely on, possible for what a Deny goes by.
func reading(r *policy.Rule) policy.Reading {
	if r.Action == policy.ActionAllow || r.Action == policy.ActionPass {
		return policy.ReadingCertain
	}
	return policy.ReadingPossible
}

func opposite(r policy.Reading) policy.Reading {
	if r == policy.ReadingCertain {
		return policy.ReadingPossible
	}
	return policy.ReadingCertain
}
