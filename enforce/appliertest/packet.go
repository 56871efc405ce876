package appliertest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// shape is how a packet is packed.
type shape uint8

const (
	plain shape = iota
	// fragmented is 2,600 bytes in fragments of 1,200.
	fragmented
	// tiny is a first fragment with the first 8 bytes of the transport header only: of TCP no flags.
	tiny
	// options is an IPv4 header of 24 bytes; in IPv6 a destination options header.
	options
	// hopByHop is an IPv6 hop-by-hop options header and a routing header with nothing left; in IPv4 a header of 60 bytes.
	hopByHop
)

// packet is a packet to be made by hand.
type packet struct {
	ruleset.Flow

	shape shape
	// flags of TCP; 0 is SYN.
	flags byte
	// size of the payload; at least the marker's.
	size int
	// hops is the TTL or hop limit; 0 is 64.
	hops byte
	// whole sets IPv4's don't-fragment bit.
	whole bool
	// id marks the packet: it is found again by it, in whole packets, in every fragment and in quotes of ICMP errors.
	id uint64
}

const markerLength = 16

func marker(id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("SAGUARD:"), id)
}

// payload repeats the marker.
func (p packet) payload() []byte {
	size := max(p.size, markerLength)
	if p.shape == fragmented {
		size = max(size, 2600)
	}
	if p.shape == tiny {
		size = max(size, 64)
	}
	out := make([]byte, 0, size+markerLength)
	for len(out) < size {
		out = append(out, marker(p.id)...)
	}
	return out[:size]
}

func (p packet) family() uint8 {
	if p.Source.Is4() {
		return 4
	}
	return 6
}

// transport is everything after the IP header.
func (p packet) transport() []byte {
	be := binary.BigEndian
	body := p.payload()
	switch p.Protocol {
	case policy.ProtocolTCP:
		flags := p.flags
		if flags == 0 {
			flags = 0x02
		}
		out := be.AppendUint16(nil, p.SourcePort)
		out = be.AppendUint16(out, p.Port)
		out = be.AppendUint32(out, 0x1000+uint32(p.id))
		out = be.AppendUint32(out, 0)
		out = append(out, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
		out = append(out, body...)
		be.PutUint16(out[16:], p.checksum(out))
		return out
	case policy.ProtocolUDP, policy.ProtocolUDPLite:
		out := be.AppendUint16(nil, p.SourcePort)
		out = be.AppendUint16(out, p.Port)
		if p.Protocol == policy.ProtocolUDP {
			out = be.AppendUint16(out, uint16(8+len(body)))
		} else {
			out = be.AppendUint16(out, 0) // the checksum covers everything
		}
		out = append(out, 0, 0)
		out = append(out, body...)
		sum := p.checksum(out)
		if sum == 0 {
			sum = 0xffff
		}
		be.PutUint16(out[6:], sum)
		return out
	case policy.ProtocolSCTP:
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		out := be.AppendUint16(nil, p.SourcePort)
		out = be.AppendUint16(out, p.Port)
		out = append(out, 0, 0, 0, 0, 0, 0, 0, 0) // verification tag 0, as INIT has; checksum
		out = append(out, 1, 0)                   // INIT
		out = be.AppendUint16(out, uint16(20+4+len(body)))
		out = be.AppendUint32(out, 0x5a6b0000|uint32(p.id)&0xffff|1)
		out = be.AppendUint32(out, 65536)
		out = append(out, 0, 1, 0, 1)
		out = be.AppendUint32(out, 1)
		out = be.AppendUint16(out, 0xc0ff) // a parameter that is to be skipped, with the payload
		out = be.AppendUint16(out, uint16(4+len(body)))
		out = append(out, body...)
		binary.LittleEndian.PutUint32(out[8:], crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
		return out
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		out := []byte{p.ICMPType, p.ICMPCode, 0, 0}
		out = be.AppendUint16(out, p.SourcePort) // an echo's identifier
		out = be.AppendUint16(out, 1)
		out = append(out, body...)
		be.PutUint16(out[2:], p.checksum(out))
		return out
	case 47: // GRE without key, so that conntrack knows it by its addresses alone
		return append([]byte{0, 0, 0x65, 0x58}, body...)
	}
	return body
}

// checksum is the Internet checksum; with the pseudo header for all but ICMP.
func (p packet) checksum(segment []byte) uint16 {
	var sum uint32
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	if p.Protocol != policy.ProtocolICMP {
		add(p.Source.AsSlice())
		add(p.Destination.AsSlice())
		sum += uint32(p.Protocol) + uint32(len(segment))
	}
	add(segment)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// build returns the IP packets, one for each fragment.
func (p packet) build() [][]byte {
	segment := p.transport()
	cuts := []int{len(segment)}
	if p.shape == fragmented {
		cuts = []int{1200, 2400, len(segment)}
	}
	if p.shape == tiny {
		cuts = []int{8, len(segment)}
	}
	var out [][]byte
	from := 0
	for i, to := range cuts {
		more := i < len(cuts)-1
		if p.family() == 4 {
			out = append(out, p.ip4(segment[from:to], from, more))
		} else {
			out = append(out, p.ip6(segment[from:to], from, more, len(cuts) > 1))
		}
		from = to
	}
	return out
}

func (p packet) hopLimit() byte {
	if p.hops == 0 {
		return 64
	}
	return p.hops
}

func (p packet) ip4(data []byte, offset int, more bool) []byte {
	be := binary.BigEndian
	length := 20
	if p.shape == options {
		length = 24
	}
	if p.shape == hopByHop {
		length = 60
	}
	out := make([]byte, length, length+len(data))
	for i := 20; i < length; i++ {
		out[i] = 1 // no operation
	}
	out[0] = 4<<4 | byte(length/4)
	be.PutUint16(out[2:], uint16(length+len(data)))
	be.PutUint16(out[4:], uint16(p.id)|1)
	fragment := uint16(offset / 8)
	if more {
		fragment |= 0x2000
	}
	if p.whole {
		fragment |= 0x4000
	}
	be.PutUint16(out[6:], fragment)
	out[8], out[9] = p.hopLimit(), p.Protocol
	copy(out[12:], p.Source.AsSlice())
	copy(out[16:], p.Destination.AsSlice())
	header := packet{Flow: ruleset.Flow{Protocol: policy.ProtocolICMP}} // no pseudo header
	be.PutUint16(out[10:], header.checksum(out[:length]))
	return append(out, data...)
}

func (p packet) ip6(data []byte, offset int, more, fragment bool) []byte {
	be := binary.BigEndian
	type header struct {
		number byte
		bytes  []byte
	}
	var chain []header
	if p.shape == options {
		chain = append(chain, header{60, []byte{0, 0, 1, 4, 0, 0, 0, 0}})
	}
	if p.shape == hopByHop {
		chain = append(chain, header{0, []byte{0, 0, 1, 4, 0, 0, 0, 0}}, header{43, []byte{0, 0, 253, 0, 0, 0, 0, 0}})
	}
	if fragment {
		f := make([]byte, 8)
		low := uint16(offset)
		if more {
			low |= 1
		}
		be.PutUint16(f[2:], low)
		be.PutUint32(f[4:], uint32(p.id)|1)
		chain = append(chain, header{44, f})
	}
	next := p.Protocol
	var extensions []byte
	for i := len(chain) - 1; i >= 0; i-- {
		chain[i].bytes[0] = next
		next = chain[i].number
	}
	for _, h := range chain {
		extensions = append(extensions, h.bytes...)
	}
	out := make([]byte, 40, 40+len(extensions)+len(data))
	out[0] = 6 << 4
	be.PutUint16(out[4:], uint16(len(extensions)+len(data)))
	out[6], out[7] = next, p.hopLimit()
	copy(out[8:], p.Source.AsSlice())
	copy(out[24:], p.Destination.AsSlice())
	return append(append(out, extensions...), data...)
}

// String is for failure texts.
func (p packet) String() string {
	out := fmt.Sprintf("%s -> %s protocol %d", p.Source, p.Destination, p.Protocol)
	switch p.Protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		out += fmt.Sprintf(" %d>%d", p.SourcePort, p.Port)
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		out += fmt.Sprintf(" %d/%d", p.ICMPType, p.ICMPCode)
	}
	return out + [...]string{"", " fragmented", " tiny", " options", " hop-by-hop"}[p.shape]
}

// capture is a packet that came in.
type capture struct {
	source, destination netip.Addr
	protocol            uint8
	// ICMP's type and code, or the ports.
	icmpType, icmpCode byte
	sourcePort, port   uint16
	ids                uint64
}

// dissect reads an IP packet as far as capture goes; ok is false for anything else.
func dissect(b []byte) (c capture, ok bool) {
	if len(b) < 20 {
		return c, false
	}
	var rest []byte
	first := true
	switch b[0] >> 4 {
	case 4:
		length := int(b[0]&15) * 4
		if length < 20 || len(b) < length {
			return c, false
		}
		c.source, c.destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		c.protocol, rest = b[9], b[length:]
		first = binary.BigEndian.Uint16(b[6:])&0x1fff == 0
	case 6:
		if len(b) < 40 {
			return c, false
		}
		c.source, c.destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		c.protocol, rest = b[6], b[40:]
		for len(rest) >= 8 {
			skip := 8 + int(rest[1])*8
			switch c.protocol {
			case 44:
				first = binary.BigEndian.Uint16(rest[2:])&^7 == 0
				skip = 8
			case 0, 43, 60:
			default:
				skip = 0
			}
			if skip == 0 || len(rest) < skip {
				break
			}
			c.protocol, rest = rest[0], rest[skip:]
		}
	default:
		return c, false
	}
	if !first || len(rest) < 4 {
		return c, true
	}
	switch c.protocol {
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		c.icmpType, c.icmpCode = rest[0], rest[1]
	default:
		c.sourcePort, c.port = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	}
	return c, true
}
