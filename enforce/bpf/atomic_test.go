//go:build linux

package bpf

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// flip returns a ruleset in which a's packets to b are denied, and two deltas to and fro between it and another in which they
// are denied as well. But every other combination of a's identity with a cell allows them. The identity is that of a prefix of
// so many bits, and without it that of all addresses.
func flip(bits int) (is *ruleset.Ruleset, there, back *ruleset.Delta, flow ruleset.Flow) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.1.2")
	changing := netip.PrefixFrom(a, bits).Masked()
	is = ruleset.New()
	is.Rules[ruleDeny], is.Rules[ruleAllow] = ruleset.Rule{Policy: "deny"}, ruleset.Rule{Policy: "allow"}
	is.Rows[rowDeny], is.Rows[rowAllow] = ruleset.Row{whole(0, false, ruleDeny)}, ruleset.Row{whole(0, true, ruleAllow)}
	for n := ruleset.IdentityID(1); n < 3; n++ {
		is.Identities[n] = ruleset.Identity{Family: 4}
	}
	is.Addresses[netip.MustParsePrefix("0.0.0.0/0")] = ruleset.Address{Identity: 2}
	is.Addresses[changing], is.Addresses[single(b)] = ruleset.Address{Identity: 1}, ruleset.Address{Identity: 1}
	is.Programs[inB] = &ruleset.Program{
		Default4: rowAllow, Default6: rowAllow, Rows: map[ruleset.IdentityID]ruleset.RowID{1: rowDeny},
	}
	is.Programs[outOpen] = &ruleset.Program{Direction: ruleset.Egress, Default4: rowAllow, Default6: rowAllow}
	is.Subjects[subjectB] = ruleset.Subject{Ingress: inB, Egress: outOpen}
	is.Endpoints[b] = ruleset.Endpoint{Subject: subjectB}
	there = &ruleset.Delta{
		Cells: []ruleset.Cell{{Program: inB, Identity: 2, Row: rowDeny}, {Program: inB, Identity: 1, Row: 0}},
		// From then on the identity is 2.
		GoneAddresses: []netip.Prefix{changing},
	}
	back = &ruleset.Delta{
		Cells:     []ruleset.Cell{{Program: inB, Identity: 1, Row: rowDeny}, {Program: inB, Identity: 2, Row: 0}},
		Addresses: []ruleset.AddressChange{{Prefix: changing, Address: ruleset.Address{Identity: 1}}},
	}
	return is, there, back, ruleset.Flow{Source: a, Destination: b, Protocol: protocolTCP, Port: 80}
}

// watchPackets runs the program on f's packet, again and again beside what change does, and counts what it accepts.
func watchPackets(t *testing.T, k *kernel, f ruleset.Flow, change func()) (accepted, seen uint64) {
	t.Helper()
	var done atomic.Bool
	counted := make(chan [2]uint64)
	data := packet(t, f)
	go func() {
		var n [2]uint64
		for !done.Load() {
			if run(t, k, data) {
				n[0]++
			}
			n[1]++
		}
		counted <- n
	}()
	change()
	done.Store(true)
	n := <-counted
	return n[0], n[1]
}

func TestNoPacketIsJudgedByAMixture(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	for _, bits := range []int{24, 32} {
		is, there, back, flow := flip(bits)
		if err := a.Sync(t.Context(), is); err != nil {
			t.Fatal(err)
		}
		accepted, seen := watchPackets(t, a.set.kernel, flow, func() {
			for range 10000 {
				if err := a.Apply(t.Context(), []*ruleset.Delta{there}); err != nil {
					t.Fatal(err)
				}
				if err := a.Apply(t.Context(), []*ruleset.Delta{back}); err != nil {
					t.Fatal(err)
				}
			}
		})
		t.Logf("%d packets beside 20,000 deltas", seen)
		if accepted > 0 {
			t.Errorf("%d of %d packets were accepted, though the rulesets before and after every delta deny them", accepted, seen)
		}
	}

	// That the test sees mixtures is seen by making some: the same elements without generations.
	_, there, back, flow := flip(32)
	accepted, seen := watchPackets(t, a.set.kernel, flow, func() {
		for i := range 2000 {
			delta := there
			if i%2 == 1 {
				delta = back
			}
			c, err := a.tables.plan([]*ruleset.Delta{delta})
			if err != nil {
				t.Fatal(err)
			}
			for _, elements := range []*change{{hosts: c.hosts}, {cells: c.cells}} {
				for i := range elements.hosts {
					elements.hosts[i].Generation = 0
				}
				for i := range elements.cells {
					elements.cells[i].Generation = 0
				}
				elements.generation = c.generation
				if err := a.set.write(elements); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	if accepted == 0 {
		t.Errorf("none of %d packets was accepted where elements changed one by one: the test sees nothing", seen)
	}
}
