package reach

import (
	"math"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

func box(protocol uint8, first, last uint16) Box {
	return Box{Protocol: protocol, First: first, Last: last, SourceLast: math.MaxUint16}
}

func TestTextOfBoxes(t *testing.T) {
	from := box(policy.ProtocolTCP, 80, 80)
	from.SourceFirst = 1024
	fromAll := box(policy.ProtocolUDP, 0, math.MaxUint16)
	fromAll.SourceFirst, fromAll.SourceLast = 53, 53
	others := box(0, 0, math.MaxUint16)
	others.Except = []uint8{policy.ProtocolTCP, 47}
	cases := map[string]struct {
		boxes []Box
		want  string
	}{
		"everything":                  {boxes: []Box{box(0, 0, math.MaxUint16)}, want: "any"},
		"everything but":              {boxes: []Box{others}, want: "any but TCP, protocol 47"},
		"a port":                      {boxes: []Box{box(policy.ProtocolTCP, 80, 80)}, want: "TCP 80"},
		"ports of a protocol":         {boxes: []Box{box(policy.ProtocolTCP, 80, 81), box(policy.ProtocolTCP, 443, 443)}, want: "TCP 80-81,443"},
		"two protocols":               {boxes: []Box{box(policy.ProtocolTCP, 80, 80), box(policy.ProtocolSCTP, 0, math.MaxUint16)}, want: "TCP 80; SCTP"},
		"source ports":                {boxes: []Box{from}, want: "TCP 80 from 1024-65535"},
		"source ports to all":         {boxes: []Box{fromAll}, want: "UDP all from 53"},
		"a type of ICMP":              {boxes: []Box{box(policy.ProtocolICMP, 8<<8, 8<<8|255)}, want: "ICMP type 8"},
		"types of ICMP":               {boxes: []Box{box(policy.ProtocolICMPv6, 0, 127<<8|255)}, want: "ICMPv6 type 0-127"},
		"a code":                      {boxes: []Box{box(policy.ProtocolICMP, 3<<8|1, 3<<8|1)}, want: "ICMP type 3 code 1"},
		"from a code to another type": {boxes: []Box{box(policy.ProtocolICMP, 3<<8|2, 5<<8|3)}, want: "ICMP type 3 code 2-255, type 4, type 5 code 0-3"},
		"the last type":               {boxes: []Box{box(policy.ProtocolICMP, 255<<8, math.MaxUint16)}, want: "ICMP type 255"},
		"all types but a code":        {boxes: []Box{box(policy.ProtocolICMP, 0, math.MaxUint16-1)}, want: "ICMP type 0-254, type 255 code 0-254"},
	}
	for name, tc := range cases {
		if got := BoxesText(tc.boxes); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestTextOfRules(t *testing.T) {
	for want, r := range map[string]*ruleset.Rule{
		"-":                   nil,
		"Allow: no policy":    {},
		"Allow: no namespace": {Index: ruleset.EndOfTier},
		"Allow: end of tier t, after NetworkPolicy a/p":                  {Tier: "t", Policy: "NetworkPolicy a/p", Index: ruleset.EndOfTier},
		"Allow: tier t, NetworkPolicy a/p, rule 0":                       {Tier: "t", Policy: "NetworkPolicy a/p"},
		"Allow: tier t, NetworkPolicy a/p, rule 2, which does not parse": {Tier: "t", Policy: "NetworkPolicy a/p", Index: 2, Unparsed: true},
	} {
		if got := RuleText(r, true); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
