package ruleset

import "net/netip"

// Flow is the first packet of a connection.
type Flow struct {
	Source, Destination netip.Addr // of one IP version
	Protocol            uint8
	// SourcePort and Port are of TCP, UDP, SCTP and UDPLite.
	SourcePort, Port uint16
	// ICMPType and ICMPCode are of ICMP and ICMPv6.
	ICMPType, ICMPCode uint8
}

// Decision is the outcome at one end of a flow. The zero value denies.
type Decision struct {
	// Applies is false if the end is not an endpoint of the node.
	Applies bool
	Allow   bool
	ID      RuleID
	Rule    Rule
	Log     RuleID
}

// Eval interprets the ruleset as a dataplane does.
func (r *Ruleset) Eval(f Flow) (egress, ingress Decision) {
	return r.judge(Egress, f, f.Source, f.Destination), r.judge(Ingress, f, f.Destination, f.Source)
}

func (r *Ruleset) judge(d Direction, f Flow, own, peer netip.Addr) Decision {
	endpoint, ok := r.Endpoints[own.Unmap()]
	if !ok {
		return Decision{}
	}
	out := Decision{Applies: true}
	subject := r.Subjects[endpoint.Subject]
	program := r.Programs[subject.Ingress]
	if d == Egress {
		program = r.Programs[subject.Egress]
	}
	if program == nil {
		return out
	}
	row, ok := program.Rows[r.IdentityOf(peer)]
	if !ok {
		row = program.Default(family(peer))
	}
	port, source := f.axes()
	segment, ok := r.Rows[row].Find(f.Protocol, port, source)
	if !ok {
		return out
	}
	out.Allow, out.ID, out.Rule, out.Log = segment.Allow, segment.Rule, r.Rules[segment.Rule], segment.Log
	return out
}

// axes returns what a segment compares.
func (f Flow) axes() (port, source uint16) {
	switch f.Protocol {
	case protocolICMP, protocolICMPv6:
		return uint16(f.ICMPType)<<8 | uint16(f.ICMPCode), 0
	case protocolTCP, protocolUDP, protocolSCTP, protocolUDPLite:
		return f.Port, f.SourcePort
	}
	return 0, 0
}

// IdentityOf returns the identity of an address: that of the longest prefix.
func (r *Ruleset) IdentityOf(a netip.Addr) IdentityID {
	a = a.Unmap()
	for bits := a.BitLen(); bits >= 0; bits-- {
		prefix, err := a.Prefix(bits)
		if err != nil {
			return 0
		}
		if found, ok := r.Addresses[prefix]; ok {
			return found.Identity
		}
	}
	return 0
}

func family(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}
