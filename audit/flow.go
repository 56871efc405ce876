package audit

import "go.uber.org/zap/zapcore"

// Flow is a packet between two addresses.
type Flow struct {
	// Direction is "egress" or "ingress": the end whose policies decided.
	Direction string `json:"direction"`
	// Source is where the packet comes from.
	Source End `json:"source"`
	// Destination is where it goes.
	Destination End `json:"destination"`
	// Protocol is the IP protocol number.
	Protocol uint8 `json:"protocol"`
	// ICMPType is of protocols 1 and 58.
	ICMPType *uint8 `json:"icmpType,omitempty"`
	// ICMPCode is of protocols 1 and 58.
	ICMPCode *uint8 `json:"icmpCode,omitempty"`
	// Tier is that of the policy that decided.
	Tier string `json:"tier,omitempty"`
	// Policy is the one that decided.
	Policy string `json:"policy,omitempty"`
	// Rule is the index in the policy's list, -1 at the end of a tier.
	Rule int `json:"rule"`
	// Lost is the number of packets that were not recorded before this one since the last.
	Lost uint64 `json:"lost,omitempty"`
}

// End is one end of a Flow.
type End struct {
	// Address is that in the packet.
	Address string `json:"address"`
	// Port is of TCP, UDP, SCTP and UDPLite.
	Port *uint16 `json:"port,omitempty"`
	// Namespace is that of Pod and Account.
	Namespace string `json:"namespace,omitempty"`
	// Pod is the one with that address.
	Pod string `json:"pod,omitempty"`
	// Account is the service account that the pod runs as.
	Account string `json:"account,omitempty"`
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (f *Flow) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("direction", f.Direction)
	if err := e.AddObject("source", &f.Source); err != nil {
		return err
	}
	if err := e.AddObject("destination", &f.Destination); err != nil {
		return err
	}
	e.AddUint8("protocol", f.Protocol)
	if f.ICMPType != nil {
		e.AddUint8("icmpType", *f.ICMPType)
	}
	if f.ICMPCode != nil {
		e.AddUint8("icmpCode", *f.ICMPCode)
	}
	addString(e, "tier", f.Tier)
	addString(e, "policy", f.Policy)
	e.AddInt("rule", f.Rule)
	if f.Lost > 0 {
		e.AddUint64("lost", f.Lost)
	}
	return nil
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (n *End) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("address", n.Address)
	if n.Port != nil {
		e.AddUint16("port", *n.Port)
	}
	addString(e, "namespace", n.Namespace)
	addString(e, "pod", n.Pod)
	addString(e, "account", n.Account)
	return nil
}
