//go:build linux

package bpf

import (
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

func TestWhatCannotBeReadIsDeniedToEndpointsOnly(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	is := plainRulesetOf(podsOfRig())
	// Everything is allowed: what is dropped is dropped because it cannot be read.
	is.Programs[inB].Default4, is.Programs[inB].Default6, is.Programs[inB].Rows = rowAllow, rowAllow, map[ruleset.IdentityID]ruleset.RowID{}
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	pod4, pod6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	far4, far6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	other4, other6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	tcp := make([]byte, 20)
	// extension makes a header of eight bytes that says what follows, before the rest.
	extension := func(next uint8, rest []byte) []byte { return append([]byte{next, 0, 0, 0, 0, 0, 0, 0}, rest...) }
	many := tcp
	next := uint8(protocolTCP)
	for range 9 {
		many, next = extension(next, many), 60
	}
	fragment := func(offset byte, more byte) []byte {
		return append([]byte{protocolTCP, 0, 0, offset<<3 | more, 0, 0, 0, 1}, tcp...)
	}
	type header func(source, destination netip.Addr) []byte
	v4 := func(protocol uint8, upper []byte, edit func(h []byte)) header {
		return func(source, destination netip.Addr) []byte {
			p := ipPacket(source, destination, protocol, upper)
			if edit != nil {
				edit(p)
			}
			return p
		}
	}
	v6 := func(protocol uint8, upper []byte) header { return v4(protocol, upper, nil) }
	for _, c := range []struct {
		name     string
		six      bool
		make     header
		readable bool
	}{
		{name: "TCP", make: v4(protocolTCP, tcp, nil), readable: true},
		{name: "TCP cut short", make: v4(protocolTCP, tcp[:19], nil)},
		{name: "UDP", make: v4(protocolUDP, tcp[:8], nil), readable: true},
		{name: "UDP cut short", make: v4(protocolUDP, tcp[:7], nil)},
		{name: "SCTP", make: v4(protocolSCTP, tcp[:12], nil), readable: true},
		{name: "SCTP cut short", make: v4(protocolSCTP, tcp[:11], nil)},
		{name: "ICMP", make: v4(protocolICMP, tcp[:8], nil), readable: true},
		{name: "ICMP cut short", make: v4(protocolICMP, tcp[:3], nil)},
		{name: "another protocol without a byte", make: v4(50, nil, nil), readable: true},
		{name: "IPv4 options", make: v4(protocolTCP, append([]byte{1, 1, 1, 1}, tcp...), func(h []byte) { h[0] = 0x46 }), readable: true},
		{name: "IPv4 options in place of the header", make: v4(protocolTCP, tcp, func(h []byte) { h[0] = 0x4f })},
		{name: "IPv4 header without an address", make: v4(protocolTCP, tcp, func(h []byte) { h[0] = 0x44 })},
		{name: "first IPv4 fragment", make: v4(protocolTCP, tcp, func(h []byte) { h[6] = 0x20 })},
		{name: "later IPv4 fragment", make: v4(protocolTCP, tcp, func(h []byte) { h[7] = 1 })},
		{name: "IPv4 that may not be fragmented", make: v4(protocolTCP, tcp, func(h []byte) { h[6] = 0x40 }), readable: true},
		{name: "TCP over IPv6", six: true, make: v6(protocolTCP, tcp), readable: true},
		{name: "TCP over IPv6 cut short", six: true, make: v6(protocolTCP, tcp[:19])},
		{name: "no next header", six: true, make: v6(59, nil), readable: true},
		{name: "destination options", six: true, make: v6(60, extension(protocolTCP, tcp)), readable: true},
		{name: "hop-by-hop, routing and destination options", six: true, make: v6(0, extension(43, extension(60, extension(protocolTCP, tcp)))), readable: true},
		{name: "authentication header", six: true, make: v6(51, append([]byte{protocolTCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, tcp...)), readable: true},
		{name: "too many extension headers", six: true, make: v6(next, many)},
		{name: "extension header cut short", six: true, make: v6(60, []byte{protocolTCP, 0, 0})},
		{name: "extension header longer than the packet", six: true, make: v6(60, append([]byte{protocolTCP, 200, 0, 0, 0, 0, 0, 0}, tcp...))},
		{name: "atomic fragment", six: true, make: v6(44, fragment(0, 0)), readable: true},
		{name: "first IPv6 fragment", six: true, make: v6(44, fragment(0, 1))},
		{name: "later IPv6 fragment", six: true, make: v6(44, fragment(1, 0))},
	} {
		pod, far, other := pod4, far4, other4
		if c.six {
			pod, far, other = pod6, far6, other6
		}
		for _, way := range []struct {
			name                string
			source, destination netip.Addr
			want                bool
		}{
			{name: "to a pod", source: far, destination: pod, want: c.readable},
			{name: "from a pod", source: pod, destination: far, want: c.readable},
			{name: "past all pods", source: far, destination: other, want: true},
		} {
			if got := run(t, a.set.kernel, c.make(way.source, way.destination)); got != way.want {
				t.Errorf("%s %s: accepted: %v, want %v", c.name, way.name, got, way.want)
			}
		}
	}
	mapped := netip.AddrFrom16(pod4.As16())
	if run(t, a.set.kernel, ipPacket(far6, mapped, protocolTCP, tcp)) || run(t, a.set.kernel, ipPacket(mapped, pod6, protocolTCP, tcp)) {
		t.Error("an IPv4 address in an IPv6 header has the rights of the IPv4 pod")
	}
}
