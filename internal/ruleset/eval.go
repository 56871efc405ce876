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
	id := r.SubjectOf(own)
	if id == 0 {
		return Decision{}
	}
	out := Decision{Applies: true}
	subject := r.Subjects[id]
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

// SubjectOf returns what an address is judged as; 0 is no endpoint.
func (r *Ruleset) SubjectOf(a netip.Addr) SubjectID {
	if e, ok := r.Endpoints[a.Unmap()]; ok {
		return e.Subject
	}
	return r.addressOf(a).Strangers
}

// IdentityOf returns the identity of an address: that of the longest prefix.
func (r *Ruleset) IdentityOf(a netip.Addr) IdentityID { return r.addressOf(a).Identity }

func (r *Ruleset) addressOf(a netip.Addr) Address {
	a = a.Unmap()
	for bits := a.BitLen(); bits >= 0; bits-- {
		prefix, err := a.Prefix(bits)
		if err != nil {
			return Address{}
		}
		if found, ok := r.Addresses[prefix]; ok {
			return found
		}
	}
	return Address{}
}

func family(a netip.Addr) uint8 {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}
