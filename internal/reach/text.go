package reach

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// protocolName is the protocol's name as Calico spells it, or its number.
func protocolName(p uint8) string {
	switch p {
	case policy.ProtocolICMP:
		return "ICMP"
	case policy.ProtocolTCP:
		return "TCP"
	case policy.ProtocolUDP:
		return "UDP"
	case policy.ProtocolICMPv6:
		return "ICMPv6"
	case policy.ProtocolSCTP:
		return "SCTP"
	case policy.ProtocolUDPLite:
		return "UDPLite"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// ProtocolText names the box's protocol: "TCP", "protocol 47", "any", "any but TCP, UDP".
func (b Box) ProtocolText() string {
	if b.Protocol != anyProtocol {
		return protocolName(b.Protocol)
	}
	if len(b.Except) == 0 {
		return "any"
	}
	names := make([]string, len(b.Except))
	for i, p := range b.Except {
		names[i] = protocolName(p)
	}
	return "any but " + strings.Join(names, ", ")
}

// PortText is the box without its protocol: "80", "80-90", "type 8", "type 3 code 1", "80 from 1024-65535"; "" for all.
func (b Box) PortText() string {
	text := b.destination()
	if b.SourceFirst == 0 && b.SourceLast == math.MaxUint16 {
		return text
	}
	if text == "" {
		text = "all"
	}
	return text + " from " + numbers(int(b.SourceFirst), int(b.SourceLast))
}

func (b Box) destination() string {
	if b.First == 0 && b.Last == math.MaxUint16 {
		return ""
	}
	if b.Protocol != policy.ProtocolICMP && b.Protocol != policy.ProtocolICMPv6 {
		return numbers(int(b.First), int(b.Last))
	}
	var parts []string
	first, last := int(b.First), int(b.Last)
	for first <= last {
		kind, code := first>>8, first&0xff
		if whole := (last+1)>>8 - 1; code == 0 && whole >= kind {
			parts = append(parts, "type "+numbers(kind, whole))
			first = (whole + 1) << 8
			continue
		}
		to := min(last, kind<<8|0xff)
		parts = append(parts, fmt.Sprintf("type %d code %s", kind, numbers(code, to&0xff)))
		first = to + 1
	}
	return strings.Join(parts, ", ")
}

func numbers(first, last int) string {
	if first == last {
		return strconv.Itoa(first)
	}
	return strconv.Itoa(first) + "-" + strconv.Itoa(last)
}

// String is protocol and ports: "TCP 80-90", "any but TCP".
func (b Box) String() string {
	return strings.TrimSpace(b.ProtocolText() + " " + b.PortText())
}

// BoxesText is boxes in a line, those of a protocol together: "TCP 80,443-445; UDP 53". They have to be sorted.
func BoxesText(all []Box) string {
	var out strings.Builder
	for i, b := range all {
		text := b.PortText()
		switch {
		case i > 0 && all[i-1].Protocol == b.Protocol:
			out.WriteString("," + text)
			continue
		case i > 0:
			out.WriteString("; ")
		}
		out.WriteString(strings.TrimSpace(b.ProtocolText() + " " + text))
	}
	return out.String()
}

// RuleText says in a few words where a verdict came from.
func RuleText(r *ruleset.Rule, allows bool) string {
	verdict := "Deny"
	if allows {
		verdict = "Allow"
	}
	switch {
	case r == nil:
		return "-"
	case r.Tier == "" && r.Index == ruleset.EndOfTier:
		return verdict + ": no namespace"
	case r.Tier == "":
		return verdict + ": no policy"
	case r.Index == ruleset.EndOfTier:
		return fmt.Sprintf("%s: end of tier %s, after %s", verdict, r.Tier, r.Policy)
	case r.Unparsed:
		return fmt.Sprintf("%s: tier %s, %s, rule %d, which does not parse", verdict, r.Tier, r.Policy, r.Index)
	}
	return fmt.Sprintf("%s: tier %s, %s, rule %d", verdict, r.Tier, r.Policy, r.Index)
}
