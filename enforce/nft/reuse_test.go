package nft

import (
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// TestReusedIDsDoNotLeadToWhatHadThemBefore: an identity that is gone leaves its ID to another one, and a row too, while a
// packet may be on its way through the chains of the first.
func TestReusedIDsDoNotLeadToWhatHadThemBefore(t *testing.T) {
	pod, first, second := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	l := peerOf(t, pod, first, false, true)
	names := map[string]bool{l.names.rows[rowName{ruleset.Ingress, 3}]: true, l.names.identities[identityName{side{ruleset.Ingress, 4}, 3}]: true}
	for _, step := range []struct {
		name  string
		delta *ruleset.Delta
	}{
		{"the first goes", &ruleset.Delta{
			Cells:         []ruleset.Cell{{Program: 1, Identity: 3}},
			GoneAddresses: []netip.Prefix{hostPrefix(first)}, GoneIdentities: []ruleset.IdentityID{3}, GoneRows: []ruleset.RowID{3},
		}},
		{"another takes its ID", &ruleset.Delta{
			Rows:       []ruleset.RowChange{{ID: 3, Row: wholeRow(false)}},
			Identities: []ruleset.IdentityChange{{ID: 3, Identity: ruleset.Identity{Family: 4}}},
			Cells:      []ruleset.Cell{{Program: 1, Identity: 3, Row: 3}},
			Addresses:  []ruleset.AddressChange{{Prefix: hostPrefix(second), Address: ruleset.Address{Identity: 3}}},
		}},
	} {
		l.together = l.changesRules(step.delta)
		if err := l.apply(step.delta); err != nil {
			t.Fatal(err)
		}
		if l.together {
			l.renew()
		} else {
			l.renewIntervals()
		}
		f := ruleset.Flow{Source: second, Destination: pod, Protocol: 6, Port: 80}
		for phase := range deleted + 1 {
			for _, rules := range []int{phase, max(phase-1, 0)} {
				got, err := answer(moment{model: l.model, together: l.together, rules: rules, elements: phase}, f)
				if err != nil || got.Ingress.Allow || !got.Ingress.Applies {
					t.Errorf("%s, phase %d, packet of phase %d: %+v, %v", step.name, phase, rules, got, err)
				}
			}
		}
		l.committed()
		l.settleMoved()
		l.committed()
		l.settle()
		l.committed()
	}
	for _, name := range []string{l.names.rows[rowName{ruleset.Ingress, 3}], l.names.identities[identityName{side{ruleset.Ingress, 4}, 3}]} {
		if names[name] || l.chains[name] == nil {
			t.Errorf("chain %q is what it was before, or missing", name)
		}
	}
	l.epoch += 2
	l.collectAll()
	for name := range names {
		if l.chains[name] != nil {
			t.Errorf("chain %q is still there", name)
		}
	}
}

// TestRowsFailClosed covers what no compiler makes, and packets that have no ports.
func TestRowsFailClosed(t *testing.T) {
	tcp := func(first, last uint16, allow bool) ruleset.Segment {
		return ruleset.Segment{Protocol: 6, First: first, Last: last, SourceLast: everyPort, Allow: allow, Rule: 2}
	}
	allow := ruleset.Segment{Last: everyPort, SourceLast: everyPort, Allow: true, Rule: 1}
	for name, tt := range map[string]struct {
		row  ruleset.Row
		last string // where TCP packets end that match no segment's rule
	}{
		"nothing at all":                           {row: nil, last: "ingress_deny_0"},
		"a protocol with a hole":                   {row: ruleset.Row{allow, tcp(0, 79, true)}, last: "ingress_deny_0"},
		"all allowed but one port":                 {row: ruleset.Row{allow, tcp(0, 79, true), tcp(80, 80, false), tcp(81, everyPort, true)}, last: "ingress_deny_2"},
		"all allowed":                              {row: ruleset.Row{allow, tcp(0, everyPort, true)}, last: "ingress_allow_2"},
		"a protocol that does not occur, the rest": {row: ruleset.Row{allow}, last: "ingress_allow_1"},
	} {
		t.Run(name, func(t *testing.T) {
			lowered := lowerRow("row", tt.row, func(o outcome) string { return o.String() })
			for _, r := range lowered.rules {
				if !r.hasPorts && r.set == "" && (!r.hasProtocol || r.protocol == 6) {
					if r.chain != tt.last {
						t.Errorf("a TCP packet without ports goes to %s, want %s", r.chain, tt.last)
					}
					return
				}
			}
			t.Error("the row has an end")
		})
	}
}

func wholeRow(allow bool) ruleset.Row {
	return ruleset.Row{{Last: everyPort, SourceLast: everyPort, Allow: allow, Rule: 1}}
}

// peerOf is a pod into which all are let by row 1, or not, and one peer, identity 3, by row 3.
func peerOf(t *testing.T, pod, peer netip.Addr, all, one bool) *lowering {
	t.Helper()
	r := ruleset.New()
	r.Rules[1] = ruleset.Rule{}
	r.Rows[1], r.Rows[2], r.Rows[3] = wholeRow(all), wholeRow(true), wholeRow(one)
	r.Identities[1], r.Identities[2], r.Identities[3] = ruleset.Identity{Family: 4}, ruleset.Identity{Family: 6}, ruleset.Identity{Family: 4}
	r.Addresses[netip.MustParsePrefix("0.0.0.0/0")] = ruleset.Address{Identity: 1}
	r.Addresses[netip.MustParsePrefix("::/0")] = ruleset.Address{Identity: 2}
	r.Addresses[hostPrefix(pod)], r.Addresses[hostPrefix(peer)] = ruleset.Address{Identity: 1}, ruleset.Address{Identity: 3}
	r.Programs[1] = &ruleset.Program{Direction: ruleset.Ingress, Default4: 1, Default6: 1, Rows: map[ruleset.IdentityID]ruleset.RowID{3: 3}}
	r.Programs[2] = &ruleset.Program{Direction: ruleset.Egress, Default4: 2, Default6: 2}
	r.Subjects[1] = ruleset.Subject{Ingress: 1, Egress: 2}
	r.Endpoints[pod] = ruleset.Endpoint{Subject: 1}
	l := newLowering(1)
	if err := l.load(r); err != nil {
		t.Fatal(err)
	}
	l.committed()
	return l
}
