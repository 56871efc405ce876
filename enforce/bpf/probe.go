//go:build linux

package bpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Probe says why this backend does not work here, nil if it does: it loads the program with empty maps, which judges nothing,
// gives it packets to see that it reads them, attaches it for a moment for both IP versions, and asks for conntrack. Nothing
// is left of it.
func (a *Applier) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	k, err := load(least(), a.events, a.options)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := k.passes(); err != nil {
		return fmt.Errorf("probe: %w", errors.Join(err, k.Close()))
	}
	// Behind all that a set may take.
	priority := a.options.Priority + priorities
	for _, f := range families() {
		l, err := attach(k.Forward, f.family, priority)
		if err != nil {
			return fmt.Errorf("probe %s: %w", f.pin, errors.Join(err, k.Close()))
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("probe %s: %w", f.pin, errors.Join(err, k.Close()))
		}
	}
	if err := errors.Join(conntrackPossible(), k.Close()); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// passes runs the program on packets that concern nobody. A program that cannot read packets would drop them all.
func (k *kernel) passes() error {
	const forward, ipv4, ipv6 = 2, 2, 10 // NF_INET_FORWARD, NFPROTO_IPV4, NFPROTO_IPV6 (linux/netfilter.h)
	for _, c := range []struct {
		family       byte
		etherType    uint16
		first        byte
		length, next int // of the IP header, and where in it the protocol is
	}{{family: ipv4, etherType: unix.ETH_P_IP, first: 0x45, length: 20, next: 9},
		{family: ipv6, etherType: unix.ETH_P_IPV6, first: 0x60, length: 40, next: 6}} {
		const ethernet, tcp = 14, 20
		data := make([]byte, ethernet+c.length+tcp)
		binary.BigEndian.PutUint16(data[ethernet-2:], c.etherType)
		data[ethernet], data[ethernet+c.next] = c.first, protocolTCP
		state := make([]byte, 48) // struct nf_hook_state
		state[0], state[1] = forward, c.family
		verdict, err := k.Forward.Run(&ebpf.RunOptions{Data: data, Context: state})
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil // programs of this type cannot be tried before Linux 6.5
		}
		if err != nil {
			return fmt.Errorf("run program: %w", err)
		}
		if verdict != 1 { // NF_ACCEPT
			return fmt.Errorf("the program drops a packet of family %d that concerns nobody", c.family)
		}
	}
	return nil
}
