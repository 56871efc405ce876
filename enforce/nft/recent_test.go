package nft

import (
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// TestAnAddressLeavesTheDigitsThatItHad: its identity goes in the very change that takes it out of the plain sets. A digit that
// stayed would lead the address to somebody else's identity the next time that it is there.
func TestAnAddressLeavesTheDigitsThatItHad(t *testing.T) {
	pod, first, second, third := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.4")
	l := peerOf(t, pod, first, false, true)
	change := func(d *ruleset.Delta, together bool) {
		t.Helper()
		if l.together = l.changesRules(d); l.together != together {
			t.Fatalf("together %v, want %v", l.together, together)
		}
		if err := l.apply(d); err != nil {
			t.Fatal(err)
		}
		if l.together {
			l.renew()
		}
		l.committed()
		l.settleMoved()
		l.committed()
		l.settle()
		l.committed()
	}
	of := func(a netip.Addr, id ruleset.IdentityID) []ruleset.AddressChange {
		return []ruleset.AddressChange{{Prefix: hostPrefix(a), Address: ruleset.Address{Identity: id}}}
	}
	change(&ruleset.Delta{
		Identities: []ruleset.IdentityChange{{ID: 4, Identity: ruleset.Identity{Family: 4}}},
		Cells:      []ruleset.Cell{{Program: 1, Identity: 4, Row: 3}}, Addresses: of(second, 4),
	}, false)
	change(&ruleset.Delta{Addresses: of(third, 4)}, false)
	if have := l.recents.addresses[third]; have.identity != 4 || have.slot == 0 {
		t.Fatalf("the address is spelled %+v, want identity 4 and another number than 0", have)
	}
	change(&ruleset.Delta{
		Programs:  []ruleset.ProgramChange{{ID: 1, Default4: 3, Default6: 1}},
		Cells:     []ruleset.Cell{{Program: 1, Identity: 4}},
		Addresses: of(third, 3), GoneAddresses: []netip.Prefix{hostPrefix(second)}, GoneIdentities: []ruleset.IdentityID{4},
	}, true)
	// Another takes the number.
	change(&ruleset.Delta{
		Identities: []ruleset.IdentityChange{{ID: 5, Identity: ruleset.Identity{Family: 4}}},
		Cells:      []ruleset.Cell{{Program: 1, Identity: 5, Row: 1}}, Addresses: of(second, 5),
	}, false)
	l.epoch += 2
	l.collectAll()
	for name, s := range l.sets {
		if _, left := s.elements[addressKey(third)]; left && name != (side{ruleset.Ingress, 4}).peers() && name != (side{ruleset.Egress, 4}).peers() {
			t.Errorf("the address is still in %s", name)
		}
	}
}
