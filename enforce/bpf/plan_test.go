//go:build linux

package bpf

import (
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// elements are those of the maps that say who an address is, as a packet finds them.
type elements struct {
	hosts    map[addressKey]hostValue
	prefixes map[prefixKey]prefixValue
	subjects map[uint32]subjectValue
}

// who is what the program makes of an address.
type who struct {
	identity ruleset.IdentityID
	judged   bool
	as       subjectValue
}

func (e *elements) find(a netip.Addr, now uint64) who {
	identity, subject := ruleset.IdentityID(0), uint32(0)
	if h, ok := e.hosts[keyOf(a)]; ok {
		identity, subject = h.current(now)
	}
	known := subject != 0
	for bits := 128; bits >= 0 && identity == 0; bits-- {
		key := keyOfPrefix(netip.PrefixFrom(netip.AddrFrom16(a.As16()), bits).Masked())
		if v, ok := e.prefixes[key]; ok {
			of, strangers := v.current(now)
			if identity = of; !known {
				subject = strangers
			}
			break
		}
	}
	return who{identity: identity, judged: subject != 0, as: e.subjects[subject]}
}

// write puts every element of which some holds into the maps.
func (e *elements) write(c *change, some func(n int) bool) {
	for _, s := range c.subjects {
		e.subjects[s.place] = s.value
	}
	for n, h := range c.hosts {
		if some(n) {
			e.hosts[h.Key] = h
		}
	}
	for n, p := range c.prefixes {
		if some(n) {
			e.prefixes[p.key] = p.value
		}
	}
}

func (e *elements) drop(c *change, some func(n int) bool) {
	for n, key := range c.goneHosts {
		if some(n) {
			delete(e.hosts, key)
		}
	}
	for n, key := range c.gonePrefixes {
		if some(n) {
			delete(e.prefixes, key)
		}
	}
}

// TestAddressesAreSomebodyAtEveryMoment: until the generation is raised all addresses are who they were, and from then on who they
// are, whatever part of the elements is written or deleted; also where prefixes come and go in each other.
func TestAddressesAreSomebodyAtEveryMoment(t *testing.T) {
	all, half := func(int) bool { return true }, func(n int) bool { return n%2 == 0 }
	for seed := range uint64(30) {
		w := newWorld(seed)
		w.step(20)
		tables := newTables()
		c, err := tables.plan([]*ruleset.Delta{full(w.is)})
		if err != nil {
			t.Fatal(err)
		}
		in := &elements{map[addressKey]hostValue{}, map[prefixKey]prefixValue{}, map[uint32]subjectValue{}}
		in.write(c, all)
		now := c.generation
		for step := range 25 {
			before := map[netip.Addr]who{}
			expect := func(a netip.Addr) who {
				subject := w.is.SubjectOf(a)
				out := who{identity: w.is.IdentityOf(a), judged: subject != 0}
				if out.judged {
					out.as = tables.subjectOf(a, subject)
				}
				return out
			}
			for range 60 {
				a := w.addr()
				before[a] = expect(a)
			}
			check := func(what string, want func(netip.Addr) who) {
				t.Helper()
				for a := range before {
					if got, want := in.find(a, now), want(a); got != want {
						t.Fatalf("seed %d step %d, %s: %s is %+v, want %+v", seed, step, what, a, got, want)
					}
				}
			}
			was := func(a netip.Addr) who { return before[a] }
			deltas := []*ruleset.Delta{w.step(1 + w.rand.IntN(8)), w.step(1 + w.rand.IntN(8))}
			if c, err = tables.plan(deltas); err != nil {
				t.Fatal(err)
			}
			in.write(c, half)
			check("half is written", was)
			in.write(c, all)
			check("all is written", was)
			now = c.generation
			check("the generation is raised", expect)
			in.drop(c, half)
			check("half of what is gone is deleted", expect)
			in.drop(c, all)
			check("all of what is gone is deleted", expect)
		}
	}
}
