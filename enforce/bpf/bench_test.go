//go:build linux

package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/internal/ruleset"
)

// large returns the rules of a node: that many pods of the cluster, each with an identity of its own, and 100 pods of the node,
// whose programs have rows for some of them: policies in all.
func large(pods, policies int) *ruleset.Ruleset {
	out := plainRulesetOf(podsOfRig())
	for n := range pods {
		i := ruleset.IdentityID(100 + n)
		out.Identities[i] = ruleset.Identity{Family: 4}
		out.Addresses[single(netip.AddrFrom4([4]byte{10, 1 + byte(n>>16), byte(n >> 8), byte(n)}))] = ruleset.Address{Identity: i}
	}
	for n := range policies {
		rule, row := ruleset.RuleID(10+n), ruleset.RowID(10+n)
		out.Rules[rule] = ruleset.Rule{Tier: "default", Index: n}
		segments := one(protocolTCP, uint16(1000+n%1000))
		segments[1].Rule = rule
		out.Rows[row] = append(ruleset.Row{whole(0, false, ruleDeny)}, segments...)
		program := ruleset.ProgramID(10 + n%100)
		if out.Programs[program] == nil {
			out.Programs[program] = &ruleset.Program{
				Default4: rowDeny, Default6: rowDeny, Rows: map[ruleset.IdentityID]ruleset.RowID{},
			}
			subject := ruleset.SubjectID(program)
			out.Subjects[subject] = ruleset.Subject{Ingress: program, Egress: outOpen}
			a := netip.AddrFrom4([4]byte{10, 0, 1, byte(n)})
			out.Addresses[single(a)] = ruleset.Address{Identity: world4}
			out.Endpoints[a] = ruleset.Endpoint{Subject: subject}
		}
		// Five identities for each policy.
		for k := range 5 {
			out.Programs[program].Rows[ruleset.IdentityID(100+(n*5+k)%pods)] = row
		}
	}
	return out
}

func BenchmarkApply(b *testing.B) {
	requireNetns(b)
	for _, c := range []struct {
		name string
		pods int
	}{{name: "pods=100", pods: 100}, {name: "pods=10000", pods: 10000}} {
		a := newApplier(b, pinDir(b))
		if err := a.Sync(b.Context(), large(c.pods, c.pods)); err != nil {
			b.Fatal(err)
		}
		for _, change := range []struct {
			name  string
			delta func(n int) *ruleset.Delta
		}{
			{name: "pod", delta: func(n int) *ruleset.Delta {
				p := single(netip.AddrFrom4([4]byte{10, 200, 0, 1}))
				if n%2 == 1 {
					return &ruleset.Delta{GoneAddresses: []netip.Prefix{p}}
				}
				return &ruleset.Delta{Addresses: []ruleset.AddressChange{{Prefix: p, Address: ruleset.Address{Identity: 100}}}}
			}},
			{name: "endpoint", delta: func(n int) *ruleset.Delta {
				a := netip.AddrFrom4([4]byte{10, 200, 0, 2})
				if n%2 == 1 {
					return &ruleset.Delta{GoneEndpoints: []netip.Addr{a}, GoneAddresses: []netip.Prefix{single(a)}}
				}
				return &ruleset.Delta{
					Addresses: []ruleset.AddressChange{{Prefix: single(a), Address: ruleset.Address{Identity: 100}}},
					Endpoints: []ruleset.EndpointChange{{Addr: a, Endpoint: ruleset.Endpoint{Subject: 10}}},
				}
			}},
			{name: "cell", delta: func(n int) *ruleset.Delta {
				return &ruleset.Delta{Cells: []ruleset.Cell{{Program: 10, Identity: 150, Row: ruleset.RowID(10 * (1 - n%2))}}}
			}},
			{name: "row", delta: func(n int) *ruleset.Delta {
				d := &ruleset.Delta{
					Rows:  []ruleset.RowChange{{ID: ruleset.RowID(100000 + n%2), Row: ruleset.Row{whole(0, false, ruleDeny)}}},
					Cells: []ruleset.Cell{{Program: 10, Identity: 151, Row: ruleset.RowID(100000 + n%2)}},
				}
				if n > 0 {
					d.GoneRows = []ruleset.RowID{ruleset.RowID(100000 + (n+1)%2)}
				}
				return d
			}},
		} {
			n := 0
			b.Run(c.name+"/"+change.name, func(b *testing.B) {
				for b.Loop() {
					if err := a.Apply(b.Context(), []*ruleset.Delta{change.delta(n)}); err != nil {
						b.Fatal(err)
					}
					n++
				}
			})
		}
	}
}

func BenchmarkSync(b *testing.B) {
	requireNetns(b)
	for _, c := range []struct {
		name string
		pods int
	}{{name: "pods=100", pods: 100}, {name: "pods=10000", pods: 10000}} {
		a := newApplier(b, pinDir(b))
		is := large(c.pods, c.pods)
		b.Run(c.name, func(b *testing.B) {
			requireNetns(b)
			for b.Loop() {
				if err := a.Sync(b.Context(), is); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("verify/"+c.name, func(b *testing.B) {
			for b.Loop() {
				if err := a.verifyContents(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPacket compares the program, run by run in turn, with itself over empty maps, where it reads the packet and finds
// that neither end is an endpoint; and with itself where it has no room to remember what it decided of the packet before. What is
// reported is the least of many runs: the rest is other processes.
func BenchmarkPacket(b *testing.B) {
	requireNetns(b)
	events, err := newEvents(DefaultEventBuffer)
	if err != nil {
		b.Fatal(err)
	}
	options, err := Options{}.complete()
	if err != nil {
		b.Fatal(err)
	}
	kernels := map[string]*kernel{}
	const empty, few, many, fewAnew, manyAnew = "empty", "policies=10", "policies=10000", "policies=10-anew", "policies=10000-anew"
	names := []string{empty, few, many, fewAnew, manyAnew}
	for _, name := range names {
		t := newTables()
		is := ruleset.New()
		switch name {
		case few, fewAnew:
			is = large(10000, 10)
		case many, manyAnew:
			is = large(10000, 10000)
		}
		c, err := t.plan([]*ruleset.Delta{full(is)})
		if err != nil {
			b.Fatal(err)
		}
		room := capacityFor(t)
		if name == empty || name == fewAnew || name == manyAnew {
			room.flows = 1
		}
		k, err := load(room, events, options)
		if err != nil {
			b.Fatal(err)
		}
		if err := k.write(c); err != nil {
			b.Fatal(err)
		}
		kernels[name] = k
	}
	flow := ruleset.Flow{
		Source: netip.AddrFrom4([4]byte{10, 1, 0, 0}), Destination: netip.AddrFrom4([4]byte{10, 0, 1, 0}),
		Protocol: protocolTCP, Port: 1000,
	}
	data := append(append(make([]byte, 12), 0x08, 0x00), packet(b, flow)...)
	state := make([]byte, 48)
	state[0], state[1] = 2, 2 // as in run
	for name, k := range kernels {
		denied := flow
		denied.Port++
		if !run(b, k, packet(b, flow)) || run(b, k, packet(b, denied)) != (name == empty) {
			b.Fatalf("%s: the packet is not judged as it should be", name)
		}
	}
	const repeat = 2000
	least := map[string]time.Duration{}
	for b.Loop() {
		for _, name := range names {
			begin := time.Now()
			if _, err := kernels[name].Forward.Run(&ebpf.RunOptions{Data: data, Context: state, Repeat: repeat}); err != nil {
				b.Fatal(err)
			}
			took := time.Since(begin)
			if before, ok := least[name]; !ok || took < before {
				least[name] = took
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, name := range names {
		b.ReportMetric(float64(least[name].Nanoseconds())/repeat, name+"-ns/packet")
	}
	b.ReportMetric(float64(least[many])/float64(least[few]), "policies=10000/10")
	b.ReportMetric(float64(least[manyAnew])/float64(least[fewAnew]), "policies=10000/10-anew")
}
