package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// shape is a cluster as one node sees it: every program has rows of its own for as many identities as there are policies for
// each program, each of which lets one port in.
type shape struct {
	pods, identities, policies, endpoints, programs int
	dual                                            bool
}

const everyPort = 65535

func shapeAddr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(n))))
}

func shapeAddr6(n int) netip.Addr {
	a := [16]byte{0: 0xfd}
	binary.BigEndian.PutUint32(a[12:], uint32(n))
	return netip.AddrFrom16(a)
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// identity4 and identity6 are the identities of a class of pods.
func (s shape) identity4(n int) ruleset.IdentityID { return ruleset.IdentityID(3 + 2*(n%s.identities)) }
func (s shape) identity6(n int) ruleset.IdentityID { return s.identity4(n) + 1 }

func (s shape) ruleset() *ruleset.Ruleset {
	r := ruleset.New()
	r.Identities[1], r.Identities[2] = ruleset.Identity{Family: 4}, ruleset.Identity{Family: 6}
	r.Addresses[netip.MustParsePrefix("0.0.0.0/0")] = ruleset.Address{Identity: 1}
	r.Addresses[netip.MustParsePrefix("::/0")] = ruleset.Address{Identity: 2}
	for n := range s.identities {
		r.Identities[s.identity4(n)], r.Identities[s.identity6(n)] = ruleset.Identity{Family: 4}, ruleset.Identity{Family: 6}
	}
	for n := range s.pods {
		r.Addresses[hostPrefix(shapeAddr(n))] = ruleset.Address{Identity: s.identity4(n)}
		if s.dual {
			r.Addresses[hostPrefix(shapeAddr6(n))] = ruleset.Address{Identity: s.identity6(n)}
		}
	}
	r.Rules[1] = ruleset.Rule{Tier: "default", Policy: "end", Index: ruleset.EndOfTier}
	r.Rules[2] = ruleset.Rule{Direction: ruleset.Egress}
	r.Rows[1] = ruleset.Row{{Last: everyPort, SourceLast: everyPort, Rule: 1}}
	r.Rows[2] = ruleset.Row{{Last: everyPort, SourceLast: everyPort, Allow: true, Rule: 2}}
	r.Programs[1] = &ruleset.Program{Direction: ruleset.Egress, Default4: 2, Default6: 2}
	for n := range s.programs {
		p := &ruleset.Program{Direction: ruleset.Ingress, Default4: 1, Default6: 1, Rows: map[ruleset.IdentityID]ruleset.RowID{}}
		r.Programs[ruleset.ProgramID(2+n)] = p
		r.Subjects[ruleset.SubjectID(1+n)] = ruleset.Subject{Ingress: ruleset.ProgramID(2 + n), Egress: 1}
		for k := range s.policies / s.programs {
			number := n*(s.policies/s.programs) + k
			id := 3 + number
			r.Rules[ruleset.RuleID(id)] = ruleset.Rule{Tier: "default", Policy: "p", Index: id}
			port := uint16(1024 + number%50000)
			r.Rows[ruleset.RowID(id)] = ruleset.Row{
				{Last: everyPort, SourceLast: everyPort, Rule: 1},
				{Protocol: 6, Last: port - 1, SourceLast: everyPort, Rule: 1},
				{Protocol: 6, First: port, Last: port, SourceLast: everyPort, Allow: true, Rule: ruleset.RuleID(id)},
				{Protocol: 6, First: port + 1, Last: everyPort, SourceLast: everyPort, Rule: 1},
			}
			p.Rows[s.identity4(number)], p.Rows[s.identity6(number)] = ruleset.RowID(id), ruleset.RowID(id)
		}
	}
	for n := range s.endpoints {
		subject := ruleset.Endpoint{Subject: ruleset.SubjectID(1 + n%s.programs)}
		r.Endpoints[shapeAddr(n)] = subject
		if s.dual {
			r.Endpoints[shapeAddr6(n)] = subject
		}
	}
	return r
}

// come and go are the deltas of one pod on another node.
func (s shape) come(n int) *ruleset.Delta {
	d := &ruleset.Delta{Addresses: []ruleset.AddressChange{{Prefix: hostPrefix(shapeAddr(n)), Address: ruleset.Address{Identity: s.identity4(n)}}}}
	if s.dual {
		d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: hostPrefix(shapeAddr6(n)), Address: ruleset.Address{Identity: s.identity6(n)}})
	}
	return d
}

func (s shape) goAway(n int) *ruleset.Delta {
	d := &ruleset.Delta{GoneAddresses: []netip.Prefix{hostPrefix(shapeAddr(n))}}
	if s.dual {
		d.GoneAddresses = append(d.GoneAddresses, hostPrefix(shapeAddr6(n)))
	}
	return d
}

// relabel moves the pods of an identity to another one.
func (s shape) relabel(from, to int) *ruleset.Delta {
	d := &ruleset.Delta{}
	for n := from; n < s.pods; n += s.identities {
		d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: hostPrefix(shapeAddr(n)), Address: ruleset.Address{Identity: s.identity4(to)}})
		if s.dual {
			d.Addresses = append(d.Addresses, ruleset.AddressChange{Prefix: hostPrefix(shapeAddr6(n)), Address: ruleset.Address{Identity: s.identity6(to)}})
		}
	}
	return d
}
