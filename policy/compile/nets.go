package compile

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// networkSet is one NetworkSet or GlobalNetworkSet.
type networkSet struct {
	serial    uint64
	name      string
	want      *policy.NetworkSet // the latest object; nil if it is gone
	have      *policy.NetworkSet
	namespace *namespace // nil if global
	labels    *selector.Set
	match     bits // the sets that it adds its addresses to
	dirty     bool
}

// netClass is the addresses that are in the same nets and network sets.
type netClass struct {
	serial uint64
	atoms  []*atom
	sets   []*networkSet
}

// netTable finds the class of an address by its longest prefix.
type netTable struct {
	entries map[netip.Prefix]*netEntry
	lengths [2][]int // of IPv4 and IPv6 prefixes, longest first
}

// netEntry is one prefix whose class is not that of the prefix around it.
type netEntry struct {
	class *netClass
	ident *ident // nil for one of full length, which is an address
	// strangers says that it is of the node's own pods.
	strangers bool
}

func (t *netTable) classOf(a netip.Addr) *netClass {
	for _, length := range t.lengths[familyIndex(versionOf(a))] {
		prefix, err := a.Prefix(length)
		if err != nil {
			break
		}
		if e := t.entries[prefix]; e != nil {
			return e.class
		}
	}
	return nil // not reached: the table has prefixes of length 0
}

func (c *Compiler) setNetworkSet(ref policy.Ref, object *policy.NetworkSet) {
	s := c.networkSets[ref]
	if s == nil {
		if object == nil {
			return
		}
		s = &networkSet{serial: c.serial(), name: ref.String()}
		c.networkSets[ref] = s
	}
	s.want = object
	c.touchNetworkSet(s)
}

func (c *Compiler) touchNetworkSet(s *networkSet) {
	if !s.dirty {
		s.dirty = true
		c.dirty.networkSets = append(c.dirty.networkSets, s)
	}
}

// matchNetworkSets finds out which network sets belong to which sets. Those that belong to none take no part in the
// table of nets.
func (c *Compiler) matchNetworkSets() {
	if c.dirty.changedAtoms == nil {
		c.dirty.changedAtoms = map[*atom]bool{}
	}
	for _, s := range c.networkSets {
		if len(c.dirty.newAtoms) == 0 {
			break
		}
		if !s.dirty {
			used := !s.match.empty()
			for _, a := range c.dirty.newAtoms {
				c.matchNetworkSet(s, a)
			}
			c.dirty.nets = c.dirty.nets || used != !s.match.empty()
		}
	}
	for _, s := range c.dirty.networkSets {
		s.dirty = false
		c.rematch(s)
	}
	c.dirty.networkSets = c.dirty.networkSets[:0]
	for a := range c.dirty.changedAtoms {
		a.everywhere = 0
		for _, s := range c.networkSets {
			if s.match.has(a.slot) && c.sem.Everywhere(a.set, s.have) {
				a.everywhere++
			}
		}
	}
}

// rematch looks at a network set that changed, itself or by its namespace, or that lost a set it belonged to.
func (c *Compiler) rematch(s *networkSet) {
	used := !s.match.empty()
	old := s.have
	s.have = s.want
	if old != nil && old.ID.Namespace != "" {
		delete(s.namespace.sets, s)
		c.forgetNamespace(s.namespace)
		s.namespace = nil
	}
	if s.have == nil {
		if old != nil {
			delete(c.networkSets, old.ID)
		} else {
			maps.DeleteFunc(c.networkSets, func(_ policy.Ref, have *networkSet) bool { return have == s })
		}
	} else {
		labels := policy.EndpointLabels{Own: s.have.Labels}
		if name := s.have.ID.Namespace; name != "" {
			s.namespace = c.namespace(name)
			if s.namespace.sets == nil {
				s.namespace.sets = map[*networkSet]bool{}
			}
			s.namespace.sets[s] = true
			labels.Namespace = s.namespace.object
		}
		s.labels = selector.NewSet(labels.Map())
	}
	for _, a := range c.slots {
		if a != nil {
			c.matchNetworkSet(s, a)
		}
	}
	same := old != nil && s.have != nil && slices.Equal(old.Nets, s.have.Nets)
	if same && old.Unparsed != s.have.Unparsed {
		for _, a := range c.slots {
			if a != nil && s.match.has(a.slot) {
				c.dirty.changedAtoms[a] = true
			}
		}
	}
	if isUsed := !s.match.empty(); used != isUsed || isUsed && !same {
		c.dirty.nets = true
	}
}

func (c *Compiler) matchNetworkSet(s *networkSet, a *atom) {
	if a.set == nil || !a.fromNets {
		return
	}
	in := s.have != nil && a.set.Selector.Matches(s.labels)
	if in != s.match.has(a.slot) {
		s.match.put(a.slot, in)
		c.dirty.changedAtoms[a] = true
	}
}

// members are what one prefix is listed in.
type members struct {
	atoms []*atom
	sets  []*networkSet
}

// arrangeNets builds the table anew if anything in it changed, and looks at all addresses again.
func (c *Compiler) arrangeNets() {
	if !c.dirty.nets {
		return
	}
	c.dirty.nets = false
	c.arrangeStrangers()
	listed := map[netip.Prefix]*members{}
	at := func(p netip.Prefix) *members {
		m := listed[p]
		if m == nil {
			m = &members{}
			listed[p] = m
		}
		return m
	}
	at(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	at(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	for _, n := range c.strangers.nets {
		at(n)
	}
	for _, a := range c.slots {
		if a != nil {
			for _, n := range a.nets {
				m := at(n)
				m.atoms = append(m.atoms, a)
			}
		}
	}
	for _, s := range c.networkSets {
		if !s.match.empty() {
			for _, n := range s.have.Nets {
				m := at(n)
				m.sets = append(m.sets, s)
			}
		}
	}
	c.replaceNets(listed)
	if len(c.dirty.addresses) < len(c.addresses) { // at the start all are to be looked at anyway
		for _, rec := range c.addresses {
			c.touchAddress(rec)
		}
	}
}

// replaceNets makes the table of the prefixes, without those whose class is that of the prefix around them, and that tell no
// strangers from others.
func (c *Compiler) replaceNets(listed map[netip.Prefix]*members) {
	old := c.nets
	c.nets = netTable{entries: make(map[netip.Prefix]*netEntry, len(listed))}
	classes := map[string]*netClass{}
	type open struct {
		prefix netip.Prefix
		members
		class     *netClass
		strangers bool
	}
	var around []open
	lengths := [2]map[int]bool{{}, {}}
	for _, p := range slices.SortedFunc(maps.Keys(listed), comparePrefixes) {
		for len(around) > 0 && !contains(around[len(around)-1].prefix, p) {
			around = around[:len(around)-1]
		}
		o := open{prefix: p, members: *listed[p], strangers: c.strangers.holds(p)}
		if n := len(around); n > 0 {
			o.atoms = append(slices.Clone(around[n-1].atoms), o.atoms...)
			o.sets = append(slices.Clone(around[n-1].sets), o.sets...)
		}
		o.class = c.netClass(classes, &o.members)
		redundant := len(around) > 0 && around[len(around)-1].class == o.class && around[len(around)-1].strangers == o.strangers
		around = append(around, o)
		if redundant {
			continue
		}
		c.nets.entries[p] = &netEntry{class: o.class, strangers: o.strangers && !p.IsSingleIP()}
		lengths[familyIndex(versionOf(p.Addr()))][p.Bits()] = true
	}
	c.netClasses = classes
	for i := range lengths {
		c.nets.lengths[i] = slices.SortedFunc(maps.Keys(lengths[i]), func(a, b int) int { return cmp.Compare(b, a) })
	}
	for p, e := range c.nets.entries {
		if p.IsSingleIP() {
			c.touchAddress(c.address(p.Addr()))
			continue
		}
		e.ident = c.identity(versionOf(p.Addr()), e.class, nil)
		if before := old.entries[p]; before == nil || before.ident != e.ident || before.strangers != e.strangers {
			address := ruleset.Address{Identity: e.ident.id}
			if e.strangers {
				address.Strangers = c.strangers.subject.id
			}
			c.delta.Addresses = append(c.delta.Addresses, ruleset.AddressChange{Prefix: p, Address: address})
		}
	}
	for p, e := range old.entries {
		if p.IsSingleIP() {
			c.touchAddress(c.address(p.Addr()))
			continue
		}
		c.leave(e.ident)
		if c.nets.entries[p] == nil {
			c.delta.GoneAddresses = append(c.delta.GoneAddresses, p)
		}
	}
}

// contains reports whether p lies in around; both are masked.
func contains(around, p netip.Prefix) bool {
	return around.Bits() <= p.Bits() && around.Contains(p.Addr())
}

// netClass finds the class with these members, in the new table, the old one, or makes it.
func (c *Compiler) netClass(classes map[string]*netClass, m *members) *netClass {
	slices.SortFunc(m.atoms, func(a, b *atom) int { return cmp.Compare(a.serial, b.serial) })
	slices.SortFunc(m.sets, func(a, b *networkSet) int { return cmp.Compare(a.serial, b.serial) })
	m.atoms, m.sets = slices.Compact(m.atoms), slices.Compact(m.sets)
	var key []byte
	for _, a := range m.atoms {
		key = binary.BigEndian.AppendUint64(key, a.serial)
	}
	for _, s := range m.sets {
		key = binary.BigEndian.AppendUint64(key, s.serial)
	}
	if have := classes[string(key)]; have != nil {
		return have
	}
	n := c.netClasses[string(key)]
	if n == nil {
		n = &netClass{serial: c.serial(), atoms: m.atoms, sets: m.sets}
	}
	classes[string(key)] = n
	return n
}
