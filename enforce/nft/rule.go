package nft

import "fmt"

// field is a part of a packet that a rule compares.
type field uint8

const (
	noField         field = iota
	sourceAddress         // of the network header
	destAddress           // of the network header
	destPort              // bytes 2 and 3 of the transport header
	sourcePort            // bytes 0 and 1 of the transport header
	icmpTypeCode          // bytes 0 and 1 of the transport header
	conntrackState        // a mask of conntrack states
	conntrackReply        // the packet is of the reply direction
	networkProtocol       // IPv4 or IPv6
	transport             // the protocol number of the transport header
)

// span is a closed interval of ports, or of ICMP type*256 + code.
type span struct{ first, last uint16 }

// verdict is what a rule does with a packet that matches, as nftables calls it.
type verdict uint8

const (
	noVerdict verdict = iota // the rule has a verdict map
	accept                   // ends this table's judgement
	drop
	toCaller // "return"
	jump
	goTo
)

// rule is one rule of a chain: conditions that all have to hold, statements, and a verdict. It is a value, so that what the
// kernel has can be compared with what it should have.
type rule struct {
	// family is 4 or 6, 0 for both.
	family uint8
	// states is a mask of conntrack states (uapi/linux/netfilter/nf_conntrack_common.h), 0 for all.
	states uint32
	// reply asks for conntrack's reply direction.
	reply bool
	// hasProtocol says that protocol counts.
	hasProtocol bool
	protocol    uint8
	// ports and sources are conditions if hasPorts and hasSources are set; portField says what ports are compared with.
	hasPorts, hasSources bool
	portField            field
	ports, sources       span
	// set is the set or verdict map in which setField is looked up.
	setField field
	set      string
	isMap    bool
	// counted has an anonymous counter.
	counted bool
	// lost counts in the table's counter for events that were not reported.
	lost bool
	// limited makes what follows wait for the table's limit of events; prefix is that of the report to NFLOG, group NFLOG's.
	limited bool
	prefix  string
	group   uint16

	verdict verdict
	chain   string
}

// String is for people: it is what a Drift shows.
func (r rule) String() string {
	out := ""
	add := func(format string, args ...any) { out += fmt.Sprintf(format, args...) + " " }
	if r.family != 0 {
		add("ipv%d", r.family)
	}
	if r.reply {
		add("ct direction reply")
	}
	if r.states != 0 {
		add("ct state %#x", r.states)
	}
	if r.hasProtocol {
		add("protocol %d", r.protocol)
	}
	if r.hasSources {
		add("sport %d-%d", r.sources.first, r.sources.last)
	}
	if r.hasPorts {
		add("dport %d-%d", r.ports.first, r.ports.last)
	}
	if r.set != "" {
		add("field %d in @%s", r.setField, r.set)
	}
	if r.counted {
		add("counter")
	}
	if r.lost {
		add("counter lost")
	}
	if r.prefix != "" {
		add("log %q group %d", r.prefix, r.group)
	}
	return out + [...]string{"vmap", "accept", "drop", "return", "jump", "goto"}[r.verdict] + " " + r.chain
}
