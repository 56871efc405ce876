//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Lookup implements [enforce.Applier]: it walks the maps in the kernel as the program does. Before the first Sync it reads what
// an earlier process left.
func (a *Applier) Lookup(ctx context.Context, f ruleset.Flow) (enforce.Answer, error) {
	if a.set == nil {
		return enforce.Answer{}, a.unreadable
	}
	for {
		if err := ctx.Err(); err != nil {
			return enforce.Answer{}, fmt.Errorf("look up: %w", err)
		}
		before, err := a.set.now()
		if err != nil {
			return enforce.Answer{}, err
		}
		out, err := a.set.judge(f, before)
		if err != nil {
			return enforce.Answer{}, fmt.Errorf("look up: %w", err)
		}
		after, err := a.set.now()
		if err != nil {
			return enforce.Answer{}, err
		}
		if before == after {
			return out, nil
		}
	}
}

// get reads an element; ok is false if there is none.
func get[K, V any](m *ebpf.Map, key K) (value V, ok bool, err error) {
	err = m.Lookup(&key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return value, false, nil
	}
	if err != nil {
		return value, false, fmt.Errorf("read %s: %w", m, err)
	}
	return value, true, nil
}

func (k *kernel) now() (uint64, error) {
	now, _, err := get[uint32, uint64](k.Generation, 0)
	return now, err
}

func (k *kernel) judge(f ruleset.Flow, now uint64) (enforce.Answer, error) {
	var out enforce.Answer
	source, sourceSubject, err := k.end(f.Source, now)
	if err != nil {
		return out, err
	}
	destination, destinationSubject, err := k.end(f.Destination, now)
	if err != nil {
		return out, err
	}
	out.Source, out.Destination = source, destination
	if sourceSubject != 0 {
		subject, _, err := get[uint32, subjectValue](k.Subjects, sourceSubject)
		if err != nil {
			return out, err
		}
		if out.Egress, err = k.decide(f, subject.Egress, destination, now); err != nil {
			return out, err
		}
	}
	if destinationSubject != 0 {
		subject, _, err := get[uint32, subjectValue](k.Subjects, destinationSubject)
		if err != nil {
			return out, err
		}
		if out.Ingress, err = k.decide(f, subject.Ingress, source, now); err != nil {
			return out, err
		}
	}
	return out, nil
}

// end returns the identity and the subject of an address.
func (k *kernel) end(a netip.Addr, now uint64) (ruleset.IdentityID, uint32, error) {
	h, ok, err := get[addressKey, hostValue](k.Hosts, keyOf(a))
	if err != nil {
		return 0, 0, err
	}
	identity, subject := ruleset.IdentityID(0), uint32(0)
	if ok {
		identity, subject = h.current(now)
	}
	if known := identity != 0 || subject != 0; identity == 0 {
		p, ok, err := get[prefixKey, prefixValue](k.Prefixes, prefixKey{Bits: 128, Address: keyOf(a)})
		if err != nil {
			return 0, 0, err
		}
		if ok {
			of, strangers := p.current(now)
			identity = of
			if !known {
				subject = strangers
			}
		}
	}
	return identity, subject, nil
}

func (k *kernel) decide(f ruleset.Flow, side sideValue, peer ruleset.IdentityID, now uint64) (enforce.KernelDecision, error) {
	out := enforce.KernelDecision{Applies: true}
	row := side.Fallback
	c, ok, err := get[cellKey, cellValue](k.Cells, cellKey{Program: side.Program, Identity: uint32(peer)})
	if err != nil {
		return out, err
	}
	if own := c.current(now); ok && own.Count > 0 {
		row = own
	}
	port, source := axes(f)
	s, err := k.find(row, f.Protocol, port, source)
	if err != nil {
		return out, err
	}
	out.Allow, out.Rule = s.Flags&flagAllow != 0, ruleset.RuleID(s.Rule)
	return out, nil
}

// find returns the segment for a packet; the zero value, which denies, if there is none.
func (k *kernel) find(row rowRef, protocol uint8, port, source uint16) (segment, error) {
	s, err := k.lastBefore(row, uint32(protocol)<<16|uint32(port))
	if err == nil && s.Start>>16 != uint32(protocol) {
		s, err = k.lastBefore(row, uint32(port))
	}
	if err == nil && s.Flags&flagSplit != 0 {
		s, err = k.lastBefore(rowRef{First: s.Rule, Count: s.Log}, uint32(source))
	}
	if err != nil || s.Flags&flagSplit != 0 {
		return segment{}, err
	}
	return s, nil
}

func (k *kernel) lastBefore(list rowRef, start uint32) (segment, error) {
	var found segment
	low, high := list.First, list.First+list.Count
	for low < high {
		middle := low + (high-low)/2
		s, ok, err := get[uint32, segment](k.Segments, middle)
		if err != nil {
			return segment{}, err
		}
		if !ok {
			return segment{}, nil
		}
		if s.Start <= start {
			found, low = s, middle+1
		} else {
			high = middle
		}
	}
	return found, nil
}

// IP protocols with ports, or with type and code (IANA).
const (
	protocolICMP    = 1
	protocolTCP     = 6
	protocolUDP     = 17
	protocolICMPv6  = 58
	protocolSCTP    = 132
	protocolUDPLite = 136
)

// axes returns what segments compare.
func axes(f ruleset.Flow) (port, source uint16) {
	switch f.Protocol {
	case protocolICMP, protocolICMPv6:
		return uint16(f.ICMPType)<<8 | uint16(f.ICMPCode), 0
	case protocolTCP, protocolUDP, protocolSCTP, protocolUDPLite:
		return f.Port, f.SourcePort
	}
	return 0, 0
}
