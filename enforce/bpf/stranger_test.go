//go:build linux

package bpf

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/internal/ruleset"
)

// What strangers are judged as belongs to a generation as all else does: until it is raised, readers take what was before.
func TestStrangersAreJudgedByTheGeneration(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	b, own := netip.MustParseAddr("10.0.1.2"), netip.MustParsePrefix("10.0.1.0/24")
	is := openTo(b, ruleset.Row{whole(0, true, ruleAllow)})
	is.Programs[8] = &ruleset.Program{Default4: rowDeny, Default6: rowDeny}
	is.Subjects[9] = ruleset.Subject{Ingress: 8, Egress: outOpen}
	is.Addresses[own] = ruleset.Address{Identity: 1, Strangers: 9}
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	f := ruleset.Flow{Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("10.0.1.77"), Protocol: protocolUDP, SourcePort: 1}
	reached := func(want bool) {
		t.Helper()
		f.Port++ // what is remembered is of the same port
		if got := run(t, a.set.kernel, packet(t, f)); got != want {
			t.Errorf("a stranger is reached: %v, want %v", got, want)
		}
	}
	reached(false)
	key := keyOfPrefix(own)
	var v prefixValue
	if err := a.set.Prefixes.Lookup(key, &v); err != nil {
		t.Fatal(err)
	}
	if v.Subject == 0 {
		t.Fatalf("%+v", v)
	}
	write := func(v prefixValue) {
		t.Helper()
		if err := a.set.Prefixes.Update(key, v, ebpf.UpdateExist); err != nil {
			t.Fatal(err)
		}
	}
	opened := prefixValue{Identity: v.Identity, WasIdentity: v.Identity, WasSubject: v.Subject, Generation: a.tables.generation + 1}
	write(opened)
	reached(false)
	opened.Generation--
	write(opened)
	reached(true)
	if err := a.Verify(t.Context()); err == nil {
		t.Error("Verify does not see that the prefix was changed")
	}
}
