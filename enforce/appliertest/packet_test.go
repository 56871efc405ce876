package appliertest

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// Every packet that can be built is read back as what it was meant to be, in the fragment that has its transport header.
func TestPacketsAreReadBackAsBuilt(t *testing.T) {
	for _, ends := range [][2]string{{"10.0.0.1", "203.0.113.9"}, {"fd00::1", "2001:db8::9"}} {
		for _, protocol := range []uint8{1, 6, 17, 47, 58, 132, 136, 253} {
			for _, s := range []shape{plain, fragmented, tiny, options, hopByHop} {
				f := ruleset.Flow{Source: netip.MustParseAddr(ends[0]), Destination: netip.MustParseAddr(ends[1]), Protocol: protocol}
				if ported(protocol) {
					f.SourcePort, f.Port = 40000, 53
				} else if protocol == 1 || protocol == 58 {
					f.ICMPType, f.ICMPCode = 8, 1
				}
				p := packet{Flow: f, shape: s, id: 0x0102030405060708}
				pieces := p.build()
				if many := s == fragmented || s == tiny; many != (len(pieces) > 1) {
					t.Errorf("%s: %d pieces", p, len(pieces))
				}
				c, ok := dissect(pieces[0])
				if !ok || c.source != f.Source || c.destination != f.Destination || c.protocol != protocol {
					t.Errorf("%s: read back as %+v, %v", p, c, ok)
				}
				if ported(protocol) && (c.sourcePort != 40000 || c.port != 53) {
					t.Errorf("%s: read back with ports %d, %d", p, c.sourcePort, c.port)
				}
				if (protocol == 1 || protocol == 58) && (c.icmpType != 8 || c.icmpCode != 1) {
					t.Errorf("%s: read back with type and code %d, %d", p, c.icmpType, c.icmpCode)
				}
				for _, piece := range pieces[1:] {
					if c, ok := dissect(piece); !ok || c.port != 0 {
						t.Errorf("%s: a later fragment is read as %+v, %v", p, c, ok)
					}
				}
			}
		}
	}
}

// The checksum of what is checksummed correctly is 0.
func TestChecksumsHold(t *testing.T) {
	for _, ends := range [][2]string{{"10.0.0.1", "203.0.113.9"}, {"fd00::1", "2001:db8::9"}} {
		for _, protocol := range []uint8{1, 6, 17, 58, 136} {
			for id := range uint64(1000) {
				p := packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(ends[0]), Destination: netip.MustParseAddr(ends[1]), Protocol: protocol, Port: uint16(id)}, id: id * 7919}
				segment := p.transport()
				if got := p.checksum(segment); got != 0 {
					t.Fatalf("%s: the sum over everything is %#x", p, got)
				}
				if protocol == 17 && binary.BigEndian.Uint16(segment[6:]) == 0 {
					t.Fatalf("%s: no checksum", p)
				}
			}
		}
	}
}

func TestRowsAreRead(t *testing.T) {
	for text, want := range map[string]func(row) bool{
		"a/b -> c/d tcp 80 allow": func(r row) bool { return r.allow && r.family == 0 && r.packet.Protocol == 6 && r.packet.Port == 80 },
		"a/b -> 10.0.0.1 udp 53>80 fragmented deny": func(r row) bool {
			return !r.allow && r.family == 4 && r.packet.SourcePort == 53 && r.packet.shape == fragmented
		},
		"2001:db8::1 -> c/d icmpv6 1/4 hop-by-hop allow": func(r row) bool {
			return r.family == 6 && r.packet.ICMPType == 1 && r.packet.ICMPCode == 4 && r.packet.shape == hopByHop
		},
		"a/b -> c/d echo v6 deny":      func(r row) bool { return r.echo && r.family == 6 },
		"a/b -> c/d protocol 47 allow": func(r row) bool { return r.packet.Protocol == 47 },
	} {
		r, err := parseRow(text)
		if err != nil || !want(r) {
			t.Errorf("%q: got %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{
		"", "a/b -> c/d allow", "a/b c/d tcp 80 allow", "a/b -> c/d tcp 80", "a/b -> c/d tcp 80 perhaps", "a/b -> c/d tcp 65536 allow",
		"a/b -> c/d quic 80 allow", "a/b -> c/d tcp 80 large allow", "a/b -> c/d icmp 256/0 deny",
	} {
		if r, err := parseRow(text); err == nil {
			t.Errorf("%q is read as %+v", text, r)
		} else if !strings.Contains(err.Error(), "read") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
