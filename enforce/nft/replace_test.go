package nft

import (
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// TestAnAddressThatChangesItsIdentityNeverMeetsItsNetworks: everybody may connect, but neither who the address was nor who it is
// now; also where a lookup finds nothing while the kernel replaces an element.
func TestAnAddressThatChangesItsIdentityNeverMeetsItsNetworks(t *testing.T) {
	pod, host := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	l := peerOf(t, pod, host, true, false)
	f := ruleset.Flow{Source: host, Destination: pod, Protocol: 6, Port: 80}
	replaced := 0
	play := func(what string, id ruleset.IdentityID) {
		t.Helper()
		for name, noted := range l.wasElement {
			for key, was := range noted {
				if now, ok := l.sets[name].elements[key]; ok && was != nil && now != *was {
					replaced++
				}
			}
		}
		for phase := range deleted + 1 {
			for _, rules := range []int{phase, max(phase-1, 0)} {
				got, err := answer(moment{model: l.model, rules: rules, elements: phase, torn: true}, f)
				if err != nil || got.Ingress.Allow || !got.Ingress.Applies {
					t.Errorf("identity %d, %s, phase %d, packet of phase %d: %+v, %v", id, what, phase, rules, got, err)
				}
			}
		}
		l.committed()
	}
	for id := ruleset.IdentityID(4); id < 8; id++ {
		d := &ruleset.Delta{
			Identities: []ruleset.IdentityChange{{ID: id, Identity: ruleset.Identity{Family: 4}}},
			Cells:      []ruleset.Cell{{Program: 1, Identity: id, Row: 3}},
			Addresses:  []ruleset.AddressChange{{Prefix: hostPrefix(host), Address: ruleset.Address{Identity: id}}},
		}
		if l.changesRules(d) {
			t.Fatal("the change is one of rules")
		}
		if err := l.apply(d); err != nil {
			t.Fatal(err)
		}
		// As Applier.commitAll does it.
		l.promoteIfDue()
		l.renewIntervals()
		play("elements", id)
		l.settleMoved()
		play("settling moved", id)
		l.settle()
		play("settling", id)
	}
	if replaced == 0 {
		t.Error("no element was replaced")
	}
}
