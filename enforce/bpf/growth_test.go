//go:build linux

package bpf

import (
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/internal/ruleset"
)

func TestFullMapIsSaidToBeFullAndASyncMakesRoom(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	denied := ruleset.Flow{
		Source: netip.MustParseAddr("10.0.0.3"), Destination: netip.MustParseAddr("10.0.0.2"), Protocol: protocolTCP, Port: 5000,
	}
	long := func() ruleset.Row {
		row := ruleset.Row{whole(0, false, ruleDeny)}
		for port := range 1 << 16 {
			s := whole(protocolTCP, port%2 == 0, ruleAllow)
			s.First, s.Last = uint16(port), uint16(port)
			row = append(row, s)
		}
		return row
	}
	for _, c := range []struct {
		name  string
		delta func(*ruleset.Delta)
	}{
		{name: "addresses", delta: func(d *ruleset.Delta) {
			for n := range least().hosts + 1 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
				d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: p, Address: ruleset.Address{Identity: world4}})
			}
		}},
		{name: "prefixes", delta: func(d *ruleset.Delta) {
			for n := range least().prefixes + 1 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{12 + byte(n>>16), byte(n >> 8), byte(n), 0}), 24)
				d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: p, Address: ruleset.Address{Identity: world4}})
			}
		}},
		{name: "cells", delta: func(d *ruleset.Delta) {
			for n := range least().cells + 1 {
				i := ruleset.IdentityID(n + 1000)
				d.Identities = append(d.Identities, ruleset.IdentityChange{ID: i, Identity: ruleset.Identity{Family: 4}})
				d.Cells = append(d.Cells, ruleset.Cell{Program: inB, Identity: i, Row: rowSome})
			}
		}},
		{name: "segments", delta: func(d *ruleset.Delta) { d.Rows = append(d.Rows, ruleset.RowChange{ID: 1000, Row: long()}) }},
		{name: "rules", delta: func(d *ruleset.Delta) {
			d.Rules = append(d.Rules, ruleset.RuleChange{ID: ruleset.RuleID(least().rules), Rule: ruleset.Rule{Policy: "far"}})
		}},
	} {
		is := plainRulesetOf(podsOfRig())
		if err := a.Sync(t.Context(), is); err != nil {
			t.Fatal(err)
		}
		d := &ruleset.Delta{}
		c.delta(d)
		if err := a.Apply(t.Context(), []*ruleset.Delta{d}); !errors.Is(err, errFull) {
			t.Errorf("%s: %v, want %v", c.name, err, errFull)
		}
		if run(t, a.set.kernel, packet(t, denied)) {
			t.Errorf("%s: while the map is full, denied packets pass", c.name)
		}
		if err := a.Apply(t.Context(), []*ruleset.Delta{{}}); !errors.Is(err, errNotSynced) {
			t.Errorf("%s: the next delta: %v, want %v", c.name, err, errNotSynced)
		}
		is.Apply(d)
		if err := a.Sync(t.Context(), is); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := a.Verify(t.Context()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if run(t, a.set.kernel, packet(t, denied)) {
			t.Errorf("%s: in the larger map, denied packets pass", c.name)
		}
	}
	// The longest row that there is, searched to both ends.
	is := plainRulesetOf(podsOfRig())
	is.Rows[1000] = long()
	is.Programs[inB].Default4 = 1000
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	for _, port := range []uint16{0, 1, 2, 5000, 5001, math.MaxUint16 - 1, math.MaxUint16} {
		f := denied
		f.Port = port
		if got := run(t, a.set.kernel, packet(t, f)); got != (port%2 == 0) {
			t.Errorf("port %d of a row of 65,537 segments: accepted: %v", port, got)
		}
	}
}

func TestChurnLeavesNothingBehind(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	w := newWorld(3)
	w.step(20)
	if err := a.Sync(t.Context(), w.is); err != nil {
		t.Fatal(err)
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	var old []ebpf.MapID
	before := descriptors()
	most := uint32(0)
	for i := range 4000 {
		if err := a.Apply(t.Context(), []*ruleset.Delta{w.step(3)}); err != nil {
			t.Fatal(err)
		}
		if i == 1000 {
			most = a.tables.segments.next + a.tables.places.next
		}
		if i%200 == 0 {
			for _, m := range []*ebpf.Map{a.set.Hosts, a.set.Cells, a.set.Segments, a.set.Generation} {
				info, err := m.Info()
				if err != nil {
					t.Fatal(err)
				}
				id, ok := info.ID()
				if !ok {
					t.Fatal("a map has no ID")
				}
				old = append(old, id)
			}
		}
		if i%200 == 100 {
			if err := a.Sync(t.Context(), w.is); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
	if now := a.tables.segments.next + a.tables.places.next; now > 4*most {
		t.Errorf("%d places are taken, after 1000 deltas it was %d", now, most)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, id := range old {
		for {
			m, err := ebpf.NewMapFromID(id)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
			if time.Now().After(deadline) {
				t.Fatalf("map %d of an old set is still there", id)
			}
		}
	}
}
