package reach

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// packet is one of a class that no rule of a world divides.
type packet struct {
	protocol     uint8
	port, source uint16 // port is type*256 + code of ICMP
}

// packets are one of every class: of the worlds' generator every number that a rule can name, and its neighbours.
func packets() []packet {
	var out []packet
	ports := []uint16{0, 49, 50, 53, 54, 55, 60, 61, 79, 80, 81, 90, 91, 399, 400, 442, 443, 444, 500, 501, 65535}
	for _, protocol := range []uint8{policy.ProtocolTCP, policy.ProtocolUDP} {
		for _, port := range ports {
			for _, source := range ports {
				out = append(out, packet{protocol, port, source})
			}
		}
	}
	for kind := range uint16(4) {
		for code := range uint16(3) {
			out = append(out, packet{policy.ProtocolICMP, kind<<8 | code, 0}, packet{policy.ProtocolICMPv6, kind<<8 | code, 0})
		}
	}
	return append(out, packet{protocol: 47}, packet{protocol: 50}, packet{policy.ProtocolSCTP, 80, 80})
}

func (b Box) has(p packet) bool {
	if b.Protocol == anyProtocol && slices.Contains(b.Except, p.protocol) || b.Protocol != anyProtocol && b.Protocol != p.protocol {
		return false
	}
	return b.First <= p.port && p.port <= b.Last && b.SourceFirst <= p.source && p.source <= b.SourceLast
}

// judge asks the evaluator.
func judge(s *policy.Snapshot, from, to netip.Addr, source, destination *policy.Workload, p packet) eval.Result {
	f := eval.Flow{Protocol: p.protocol}
	f.Source = eval.End{Addr: from, Port: decision.Absent[uint16](), Workload: source}
	f.Destination = eval.End{Addr: to, Port: decision.Absent[uint16](), Workload: destination}
	switch p.protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		f.Source.Port, f.Destination.Port = decision.Known(p.source), decision.Known(p.port)
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		f.ICMP = decision.Known(policy.ICMP{Type: uint8(p.port >> 8), Code: uint8(p.port), HasCode: true})
	}
	return eval.Evaluate(s, f)
}

// address is one that is asked about: of a pod, or of the outside.
type address struct {
	party int
	addr  netip.Addr
	pod   *policy.Workload
}

// addresses are all addresses of pods of the world, and some of every party outside.
func addresses(a *analysis, w *world) []address {
	var out []address
	for n, p := range a.parties {
		if p.Outside {
			for _, text := range []string{"10.0.0.0", "10.0.0.2", "10.0.1.9", "10.9.9.9", "192.0.2.1", "192.0.2.200", "203.0.113.1", "fd00::9", "2001:db8::1"} {
				addr := netip.MustParseAddr(text)
				var longest netip.Prefix
				of := -1
				for k, q := range a.parties {
					for _, net := range q.Nets {
						if net.Contains(addr) && (of < 0 || net.Bits() > longest.Bits()) {
							longest, of = net, k
						}
					}
				}
				if of == n && len(w.snapshot.At(addr)) == 0 {
					out = append(out, address{party: n, addr: addr})
				}
			}
			continue
		}
		for _, pod := range w.snapshot.Workloads {
			if pod.Namespace == p.Namespace && pod.Account.Name() == p.Account {
				for _, addr := range pod.Addresses {
					out = append(out, address{n, addr, pod})
				}
			}
		}
	}
	return out
}

// expectRule compares a rule with the evaluator's decision.
func expectRule(r *ruleset.Rule, d eval.Decision) error {
	if r == nil || !d.Applies {
		if r != nil || d.Applies {
			return fmt.Errorf("rule %v, decision %+v", r, d)
		}
		return nil
	}
	name := ""
	if d.Policy != (policy.Ref{}) {
		name = d.Policy.String()
	}
	if r.Tier != d.Tier || r.Policy != name || r.Index != d.Rule {
		return fmt.Errorf("rule %v, decision %+v", r, d)
	}
	return nil
}

// expected is what the evaluator says of all pairs of addresses of two parties, for one packet.
type expected struct {
	allowed, all int
	ways         map[string]bool
}

// TestCellsAreWhatTheEvaluatorSays asks about every pair of addresses and one packet of every class, in random worlds: the
// cell has to allow for all, some or none of the pairs exactly as the evaluator does, by the same rules.
func TestCellsAreWhatTheEvaluatorSays(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 10
	}
	all := packets()
	var asked, allowed, some, sheets int
	for seed := range uint64(worlds) {
		r := random{rand.New(rand.NewPCG(seed, 7))}
		sem := pick(r, policy.Strict, policy.Strict, policy.Calico)
		s := r.world(10+r.IntN(25)).snapshot(t, sem)
		m := New(s)
		sheets += len(m.a.worlds[0].sheets) - 1
		ends := addresses(m.a, m.a.worlds[0])
		for _, p := range sample(r, all, seed) {
			want := map[[2]int]*expected{}
			for _, from := range ends {
				for _, to := range ends {
					if from.addr.Is4() != to.addr.Is4() || from.pod == nil && to.pod == nil {
						continue
					}
					result := judge(s, from.addr, to.addr, from.pod, to.pod, p)
					asked++
					block := find(t, m.Cell(from.party, to.party), p)
					e := want[[2]int{from.party, to.party}]
					if e == nil {
						e = &expected{ways: map[string]bool{}}
						want[[2]int{from.party, to.party}] = e
					}
					e.all++
					if result.Verdict() == decision.Allow {
						e.allowed++
						allowed++
					}
					way := m.wayOf(from, to, block)
					if way == nil || way.Allow != (result.Verdict() == decision.Allow) {
						t.Fatalf("seed %d, %s -> %s, %+v: got %+v, want %+v\n%s", seed, from.addr, to.addr, p, way, result, s)
					}
					if err := cmp.Or(expectRule(way.Egress, result.Egress), expectRule(way.Ingress, result.Ingress)); err != nil {
						t.Fatalf("seed %d, %s -> %s, %+v: %v\n%s", seed, from.addr, to.addr, p, err, s)
					}
				}
			}
			for at, e := range want {
				block := find(t, m.Cell(at[0], at[1]), p)
				if m.a.parties[at[0]].Outside || m.a.parties[at[1]].Outside {
					continue // not all groups outside have been asked
				}
				if got := extentOf(e.allowed, e.all); block.Allowed != got {
					t.Fatalf("seed %d, %s -> %s, %+v: got %s, want %s", seed, m.a.parties[at[0]].Name, m.a.parties[at[1]].Name, p, block.Allowed, got)
				}
				if block.Allowed == ExtentSome {
					some++
				}
			}
		}
	}
	t.Logf("%d flows, %d allowed, %d cells for some, %d further sheets", asked, allowed, some, sheets)
	if asked < 1000 || allowed < asked/50 || some == 0 || sheets == 0 {
		t.Errorf("the worlds are too poor: %d flows, %d allowed, %d cells for some, %d further sheets", asked, allowed, some, sheets)
	}
}

// sample is some packets, or, in some of the worlds, all of them.
func sample(r random, all []packet, seed uint64) []packet {
	if seed%30 == 0 {
		return all
	}
	var out []packet
	for range 40 {
		out = append(out, pick(r, all...))
	}
	return out
}

// find returns the only block with the packet.
func find(t testing.TB, blocks []Block, p packet) Block {
	t.Helper()
	var out []Block
	for _, b := range blocks {
		if b.has(p) {
			out = append(out, b)
		}
	}
	if len(out) != 1 {
		t.Fatalf("%+v is in %d blocks of %v", p, len(out), blocks)
	}
	return out[0]
}

// wayOf is the way of two addresses in a block.
func (m *Map) wayOf(from, to address, b Block) *Way {
	i, k := m.a.groupOf(0, from), m.a.groupOf(0, to)
	for n := range b.Ways {
		w := &b.Ways[n]
		if len(w.Pairs) == 0 || slices.ContainsFunc(w.Pairs, func(p Pairs) bool { return slices.Contains(p.From, i) && slices.Contains(p.To, k) }) {
			return &w.Way
		}
	}
	return nil
}

// groupOf finds the group of an address by its kind in a world, -1 if the party has none.
func (a *analysis) groupOf(at int, x address) int {
	w := a.worlds[at]
	var k *kind
	if x.pod != nil {
		k = a.podKind(w, x.pod, x.addr)
	} else {
		for bits := x.addr.BitLen(); bits >= 0 && k == nil; bits-- {
			prefix := netip.PrefixFrom(x.addr, bits).Masked()
			if slices.Contains(a.parties[x.party].Nets, prefix) {
				k = a.outsideKind(w, prefix)
			}
		}
	}
	return slices.IndexFunc(a.parties[x.party].groups, func(g []*kind) bool { return g[at] == k })
}
