//go:build linux

package bpf

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/internal/ruleset"
)

// flowValue is an element of the map flows, as in layout.h.
type flowValue struct {
	Generation          uint64
	Source, Destination addressKey
	Port                uint16
	Protocol, Flags     uint8
	Turn                uint32
	Rules               [4]uint32
}

// flowsWithVerdict is INGRESS_APPLIES and INGRESS_ALLOWS of layout.h.
const flowsWithVerdict = 4 | 8

// remembered returns the elements of the map that hold something, with their places and processors.
func remembered(t *testing.T, k *kernel) (out []flowValue) {
	t.Helper()
	var place uint32
	var values []flowValue
	it := k.Flows.Iterate()
	for it.Next(&place, &values) {
		for _, v := range values {
			if v.Generation != 0 {
				out = append(out, v)
			}
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// openTo returns rules by which all may reach b, at the ports that row allows.
func openTo(b netip.Addr, row ruleset.Row) *ruleset.Ruleset {
	is := ruleset.New()
	is.Rules[ruleDeny], is.Rules[ruleAllow] = ruleset.Rule{Policy: "deny"}, ruleset.Rule{Policy: "allow"}
	is.Identities[1] = ruleset.Identity{Family: 4}
	is.Addresses[netip.MustParsePrefix("0.0.0.0/0")] = ruleset.Address{Identity: 1}
	is.Rows[rowDeny], is.Rows[rowAllow] = ruleset.Row{whole(0, false, ruleDeny)}, row
	is.Programs[inB] = &ruleset.Program{Default4: rowAllow, Default6: rowDeny, Rows: map[ruleset.IdentityID]ruleset.RowID{}}
	is.Programs[outOpen] = &ruleset.Program{Direction: ruleset.Egress, Default4: rowAllow, Default6: rowDeny}
	is.Subjects[subjectB] = ruleset.Subject{Ingress: inB, Egress: outOpen}
	is.Endpoints[b] = ruleset.Endpoint{Subject: subjectB}
	return is
}

func TestVerdictsAreRememberedForOneGeneration(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	b := netip.MustParseAddr("10.0.1.2")
	is := openTo(b, ruleset.Row{whole(0, true, ruleAllow)})
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	f := ruleset.Flow{Source: netip.MustParseAddr("10.0.0.1"), Destination: b, Protocol: protocolUDP, Port: 53, SourcePort: 1}
	accepts := func(want bool) {
		t.Helper()
		if got := run(t, a.set.kernel, packet(t, f)); got != want {
			t.Errorf("accepted %v, want %v", got, want)
		}
	}
	accepts(true)
	f.SourcePort++
	accepts(true)
	known := remembered(t, a.set.kernel)
	if len(known) == 0 || known[0].Flags != flowsWithVerdict || known[0].Source != keyOf(f.Source) ||
		known[0].Destination != keyOf(b) || known[0].Port != 53 || known[0].Protocol != protocolUDP ||
		known[0].Generation != a.tables.generation || known[0].Turn == 0 || known[0].Turn%2 != 0 {
		t.Fatalf("remembered %+v", known)
	}
	if err := a.Apply(t.Context(), []*ruleset.Delta{{
		Rows:  []ruleset.RowChange{{ID: 99, Row: ruleset.Row{whole(0, false, ruleDeny)}}},
		Cells: []ruleset.Cell{{Program: inB, Identity: 1, Row: 99}},
	}}); err != nil {
		t.Fatal(err)
	}
	accepts(false)
	accepts(false)

	// What is written there is believed, which shows that the map is read at all, until the next Verify.
	forge(t, a.set.kernel, func(v *flowValue) { v.Flags = flowsWithVerdict })
	accepts(true)
	forge(t, a.set.kernel, func(v *flowValue) { v.Turn++ }) // somebody is writing it
	accepts(false)
	forge(t, a.set.kernel, func(v *flowValue) { v.Turn-- })
	accepts(true)
	if err := a.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepts(false)

	// It is of the very same packets.
	for name, change := range map[string]func(*flowValue){
		"nothing":                             func(*flowValue) {},
		"another generation":                  func(v *flowValue) { v.Generation++ },
		"another source":                      func(v *flowValue) { v.Source[15]++ },
		"another source, in its first half":   func(v *flowValue) { v.Source[0]++ },
		"another destination":                 func(v *flowValue) { v.Destination[15]++ },
		"another destination, its first half": func(v *flowValue) { v.Destination[7]++ },
		"another port":                        func(v *flowValue) { v.Port++ },
		"another protocol":                    func(v *flowValue) { v.Protocol = protocolTCP },
	} {
		accepts(false) // which is remembered again
		forge(t, a.set.kernel, func(v *flowValue) {
			v.Flags = flowsWithVerdict
			change(v)
		})
		if got, want := run(t, a.set.kernel, packet(t, f)), name == "nothing"; got != want {
			t.Errorf("%s: accepted %v, want %v", name, got, want)
		}
		if err := a.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// forge changes every element that holds something.
func forge(t *testing.T, k *kernel, change func(*flowValue)) {
	t.Helper()
	for place := range uint32(flowsOfProcessor) {
		var values []flowValue
		if err := k.Flows.Lookup(place, &values); err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if values[i].Generation != 0 {
				change(&values[i])
			}
		}
		if err := k.Flows.Update(place, values, ebpf.UpdateExist); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerdictsBySourcePortAreNotRemembered(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	b := netip.MustParseAddr("10.0.1.2")
	from := func(first, last uint16, allow bool, rule ruleset.RuleID) ruleset.Segment {
		s := whole(protocolTCP, allow, rule)
		s.SourceFirst, s.SourceLast = first, last
		return s
	}
	is := openTo(b, ruleset.Row{whole(0, false, ruleDeny), from(0, 999, false, ruleDeny), from(1000, 65535, true, ruleAllow)})
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, port := range []uint16{999, 1000, 80, 65535} {
			f := ruleset.Flow{Source: netip.MustParseAddr("10.0.0.1"), Destination: b, Protocol: protocolTCP, Port: 80, SourcePort: port}
			if got := run(t, a.set.kernel, packet(t, f)); got != (port >= 1000) {
				t.Errorf("from port %d: accepted %v", port, got)
			}
		}
	}
	if known := remembered(t, a.set.kernel); len(known) != 0 {
		t.Errorf("remembered %+v", known)
	}
}

func TestFlowsThatShareAPlaceAreNotMixedUp(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	b := netip.MustParseAddr("10.0.1.2")
	is := openTo(b, append(ruleset.Row{whole(0, false, ruleDeny)}, one(protocolTCP, 80)...))
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for n := range 2 * flowsOfProcessor {
			for _, port := range []uint16{80, 81} {
				source := netip.AddrFrom4([4]byte{10, 0, byte(2 + n>>8), byte(n)})
				f := ruleset.Flow{Source: source, Destination: b, Protocol: protocolTCP, Port: port}
				if got := run(t, a.set.kernel, packet(t, f)); got != (port == 80) {
					t.Fatalf("%s to port %d: accepted %v", source, port, got)
				}
			}
		}
	}
	if known := remembered(t, a.set.kernel); len(known) < flowsOfProcessor/2 {
		t.Errorf("%d flows are remembered, of %d that could be", len(known), flowsOfProcessor)
	}
}
