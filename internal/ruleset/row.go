package ruleset

import "math"

// IP protocol numbers whose packets have ports, or a type and code (IANA).
const (
	protocolICMP    = 1
	protocolTCP     = 6
	protocolUDP     = 17
	protocolICMPv6  = 58
	protocolSCTP    = 132
	protocolUDPLite = 136
)

// AnyProtocol is the protocol of the segments for every protocol that does not occur in the row.
const AnyProtocol = 0

// Row is the verdicts for one identity: disjoint segments, sorted, that cover every packet. A protocol that occurs is
// covered whole by its own segments, all others by those of [AnyProtocol].
type Row []Segment

// Segment is a block of packets of one protocol. The zero value denies.
type Segment struct {
	Protocol uint8
	// First to Last are destination ports; for ICMP and ICMPv6 type*256 + code; 0 to 65535 for what has neither.
	First, Last uint16
	// SourceFirst to SourceLast are source ports, in nearly every segment all of them.
	SourceFirst, SourceLast uint16
	Allow                   bool
	// Rule decided.
	Rule RuleID
	// Log is the first rule with action Log that matched on the way, 0 if there is none.
	Log RuleID
}

// Whole reports whether the segment is for every packet of its protocol.
func (s Segment) Whole() bool {
	return s.First == 0 && s.Last == math.MaxUint16 && s.AnySource()
}

// AnySource reports whether the segment is for every source port.
func (s Segment) AnySource() bool { return s.SourceFirst == 0 && s.SourceLast == math.MaxUint16 }

// Find returns the segment for a packet: port and source as in [Segment]. ok is false only for a row that does not
// cover everything, which is not a row; the packet is to be denied.
func (r Row) Find(protocol uint8, port, source uint16) (found Segment, ok bool) {
	own := false
	for _, s := range r {
		if s.Protocol != protocol && s.Protocol != AnyProtocol {
			continue
		}
		if s.Protocol == protocol {
			own = true
		}
		if port < s.First || port > s.Last || source < s.SourceFirst || source > s.SourceLast {
			continue
		}
		if s.Protocol == protocol {
			return s, true
		}
		found, ok = s, true
	}
	if own && protocol != AnyProtocol {
		return Segment{}, false
	}
	return found, ok
}
