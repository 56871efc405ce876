package nft

import (
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// sample is a ruleset that needs one of everything that a table of ours can have.
func sample() *ruleset.Ruleset {
	const everything = 65535
	whole := func(allow bool, log ruleset.RuleID) ruleset.Segment {
		return ruleset.Segment{Last: everything, SourceLast: everything, Allow: allow, Rule: 1, Log: log}
	}
	tcp := ruleset.Row{whole(false, 0)}
	for port := range uint16(maxPortRules + 1) {
		tcp = append(tcp, ruleset.Segment{Protocol: 6, First: port, Last: port, SourceLast: everything, Allow: true, Rule: 1})
	}
	tcp = append(tcp,
		ruleset.Segment{Protocol: 6, First: maxPortRules + 1, Last: everything, SourceLast: 53, Allow: true, Rule: 1},
		ruleset.Segment{Protocol: 6, First: maxPortRules + 1, Last: everything, SourceFirst: 54, SourceLast: everything, Rule: 1})
	r := ruleset.New()
	r.Rows = map[ruleset.RowID]ruleset.Row{1: {whole(true, 1)}, 2: tcp}
	r.Programs = map[ruleset.ProgramID]*ruleset.Program{
		1: {Direction: ruleset.Ingress, Default4: 1, Default6: 1, Rows: map[ruleset.IdentityID]ruleset.RowID{3: 2}},
		2: {Direction: ruleset.Egress, Default4: 1, Default6: 1},
	}
	r.Identities = map[ruleset.IdentityID]ruleset.Identity{1: {Family: 4}, 2: {Family: 6}, 3: {Family: 4}}
	r.Subjects = map[ruleset.SubjectID]ruleset.Subject{1: {Ingress: 1, Egress: 2}}
	pod := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737
	r.Addresses = map[netip.Prefix]ruleset.Address{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0): {Identity: 1},
		netip.PrefixFrom(netip.IPv6Unspecified(), 0): {Identity: 2},
		netip.PrefixFrom(pod, 24).Masked():           {Identity: 3},
		netip.PrefixFrom(pod, 32):                    {Identity: 3},
	}
	r.Endpoints = map[netip.Addr]ruleset.Endpoint{pod: {Subject: 1}}
	return r
}
