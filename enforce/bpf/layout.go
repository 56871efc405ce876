//go:build linux

package bpf

import (
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// The keys and values of the maps, as in layout.h, field by field.
type (
	// addressKey is in network byte order; IPv4 as ::ffff:a.b.c.d.
	addressKey [16]byte

	hostValue struct {
		Key                   addressKey
		Identity, WasIdentity uint32
		Subject, WasSubject   uint32
		Generation            uint64
	}

	prefixKey struct {
		Bits    uint32
		Address addressKey
	}

	prefixValue struct {
		Identity, WasIdentity uint32
		Subject, WasSubject   uint32
		Generation            uint64
	}

	// rowRef is a range of segments; the zero value is no row.
	rowRef struct{ First, Count uint32 }

	sideValue struct {
		Program  uint32
		Fallback rowRef
	}

	subjectValue struct{ Ingress, Egress sideValue }

	cellKey struct{ Program, Identity uint32 }

	cellValue struct {
		Key        cellKey
		Row, Was   rowRef
		Generation uint64
	}

	segment struct{ Start, Rule, Log, Flags uint32 }

	eventValue struct {
		Time, Lost                uint64
		Source, Destination       addressKey
		Rule                      uint32
		Port, SourcePort          uint16
		Protocol, Egress, Allowed uint8
		_                         [5]uint8
	}
)

// Flags of a segment.
const (
	flagAllow = 1
	// flagSplit says that Rule and Log are the range of a list by source port.
	flagSplit = 2
)

// layoutVersion names the layout of the maps in the names of pinned sets. Whoever changes it raises it.
const layoutVersion = 2

func keyOf(a netip.Addr) addressKey { return a.As16() }

func (k addressKey) addr() netip.Addr { return netip.AddrFrom16(k).Unmap() }

func keyOfPrefix(p netip.Prefix) prefixKey {
	return prefixKey{Bits: uint32(p.Bits() + 128 - p.Addr().BitLen()), Address: keyOf(p.Addr())}
}

// prefix is the reverse of keyOfPrefix, but for ::ffff:0:0/n with n >= 96, which are IPv4.
func (k prefixKey) prefix() netip.Prefix {
	a := netip.AddrFrom16(k.Address)
	if a.Is4In6() && k.Bits >= 96 {
		return netip.PrefixFrom(a.Unmap(), int(k.Bits)-96)
	}
	return netip.PrefixFrom(a, int(k.Bits))
}

// isHost reports whether the prefix is an element of hosts and not of prefixes.
func isHost(p netip.Prefix) bool { return p.IsSingleIP() }

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

// current is what an element says at a generation; the program reads elements the same way.
func (v hostValue) current(now uint64) (ruleset.IdentityID, uint32) {
	if v.Generation <= now {
		return ruleset.IdentityID(v.Identity), v.Subject
	}
	return ruleset.IdentityID(v.WasIdentity), v.WasSubject
}

func (v prefixValue) current(now uint64) (ruleset.IdentityID, uint32) {
	if v.Generation <= now {
		return ruleset.IdentityID(v.Identity), v.Subject
	}
	return ruleset.IdentityID(v.WasIdentity), v.WasSubject
}

func (v cellValue) current(now uint64) rowRef {
	if v.Generation <= now {
		return v.Row
	}
	return v.Was
}
