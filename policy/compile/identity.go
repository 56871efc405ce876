package compile

import (
	"cmp"
	"encoding/binary"
	mathbits "math/bits"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// ident is one identity: the addresses that no active rule can tell apart.
type ident struct {
	id      ruleset.IdentityID
	key     string
	family  uint8
	net     *netClass
	classes []*class // by key; those of all pods that claim the address
	member  bits     // the atoms that the identity is in

	refs     int // addresses and prefixes
	place    int // in Compiler.identList
	subjects []*subject
	fresh    bool
	idle     bool
}

// identity finds the identity, or makes it, and counts one reference more.
func (c *Compiler) identity(family uint8, net *netClass, classes []*class) *ident {
	var room [64]byte
	key := append(room[:0], family)
	key = binary.BigEndian.AppendUint64(key, net.serial)
	for _, cl := range classes {
		key = binary.BigEndian.AppendUint64(key, cl.serial)
	}
	i := c.identities[string(key)]
	if i == nil {
		i = &ident{
			id: ruleset.IdentityID(c.ids.identities.take()), key: string(key), family: family, net: net,
			classes: slices.Clone(classes), place: len(c.identList), fresh: true,
		}
		c.identities[i.key] = i
		c.identList = append(c.identList, i)
		for _, cl := range i.classes {
			cl.identities = append(cl.identities, i)
		}
		c.dirty.fresh = append(c.dirty.fresh, i)
	}
	i.refs++
	return i
}

// leave counts one reference less.
func (c *Compiler) leave(i *ident) {
	if i.refs--; i.refs == 0 && !i.idle {
		i.idle = true
		c.dirty.idle = append(c.dirty.idle, i)
	}
}

// identify gives every address that changed its identity and, if it is the node's, its subject.
func (c *Compiler) identify() {
	if n := len(c.dirty.addresses); n > 64 {
		c.delta.Addresses = slices.Grow(c.delta.Addresses, n)
	}
	for _, rec := range c.dirty.addresses {
		rec.dirty = false
		c.identifyAddress(rec)
	}
	clear(c.dirty.addresses)
	c.dirty.addresses = c.dirty.addresses[:0]
	for _, i := range c.dirty.idle {
		i.idle = false
		if i.refs == 0 {
			c.dropIdentity(i)
		}
	}
	clear(c.dirty.idle)
	c.dirty.idle = c.dirty.idle[:0]
	c.dropClasses()
}

func (c *Compiler) identifyAddress(rec *address) {
	prefix := netip.PrefixFrom(rec.addr, rec.addr.BitLen())
	before, namedBefore := rec.ident, rec.named
	rec.ident, rec.named = nil, nil
	var room [1]*class
	local := room[:0]
	var localPod *pod
	switch {
	case rec.owner != nil && rec.shared == nil:
		rec.named = rec.owner
		room[0] = rec.owner.class
		rec.ident = c.identity(versionOf(rec.addr), c.nets.classOf(rec.addr), room[:])
		if rec.owner.local {
			local, localPod = room[:], rec.owner
		}
	case rec.owner != nil:
		local, localPod = c.identifyShared(rec)
	case c.nets.entries[prefix] != nil:
		rec.ident = c.identity(versionOf(rec.addr), c.nets.classOf(rec.addr), nil)
	default:
		delete(c.addresses, rec.addr)
	}
	if rec.ident == nil {
		if before != nil {
			c.delta.GoneAddresses = append(c.delta.GoneAddresses, prefix)
		}
	} else if rec.ident != before || rec.named != namedBefore {
		c.delta.Addresses = append(c.delta.Addresses, ruleset.AddressChange{
			Prefix: prefix, Address: ruleset.Address{Identity: rec.ident.id, Pod: rec.named.describe()},
		})
	}
	if before != nil {
		c.leave(before)
	}
	// One that a rule names has an address of full length, and is a stranger's all the same.
	stranger := rec.ident != nil && rec.owner == nil && c.strangers.holds(prefix)
	if len(local) > 0 || rec.here != nil || stranger {
		c.enlist(rec, local, localPod, stranger)
	}
}

// identifyShared is for an address that several pods claim.
func (c *Compiler) identifyShared(rec *address) (local []*class, localPod *pod) {
	pods := append([]*pod{rec.owner}, rec.shared.others...)
	slices.SortFunc(pods, func(a, b *pod) int { return a.name.compare(b.name) })
	var classes []*class
	for _, p := range pods {
		classes = append(classes, p.class)
		if p.local {
			if len(local) == 0 {
				localPod = p
			}
			local = append(local, p.class)
		}
	}
	rec.ident = c.identity(versionOf(rec.addr), c.nets.classOf(rec.addr), sortedClasses(classes))
	rec.named = pods[0]
	return sortedClasses(local), localPod
}

func sortedClasses(in []*class) []*class {
	slices.SortFunc(in, func(a, b *class) int { return cmp.Compare(a.key, b.key) })
	return slices.Compact(in)
}

// dropIdentity is for one of an earlier flush: one that is new has an address.
func (c *Compiler) dropIdentity(i *ident) {
	delete(c.identities, i.key)
	last := len(c.identList) - 1
	c.identList[i.place] = c.identList[last]
	c.identList[i.place].place = i.place
	c.identList[last] = nil
	c.identList = c.identList[:last]
	for _, cl := range i.classes {
		at := slices.Index(cl.identities, i)
		cl.identities = slices.Delete(cl.identities, at, at+1)
	}
	c.dirty.gone = append(c.dirty.gone, i)
}

// evaluate finds out which identities are in which atoms, as far as that may have changed.
func (c *Compiler) evaluate() {
	c.matchClasses()
	for _, a := range c.dirty.newAtoms {
		for _, i := range c.identList {
			if !i.fresh {
				i.member.put(a.slot, c.contains(a, i)) // no program asks for it yet
			}
		}
	}
	for a := range c.dirty.changedAtoms {
		for _, i := range c.identList {
			c.recheck(i, a)
		}
	}
	for _, i := range c.dirty.fresh {
		i.member = make(bits, (len(c.slots)+63)/64)
		for _, a := range c.slots {
			if a != nil && a.set != nil && c.contains(a, i) {
				i.member.put(a.slot, true)
			}
		}
		for _, a := range i.net.atoms {
			i.member.put(a.slot, c.contains(a, i))
		}
		c.notifyAll(i)
	}
	for _, i := range c.dirty.fresh {
		i.fresh = false
		c.delta.Identities = append(c.delta.Identities, ruleset.IdentityChange{ID: i.id, Identity: i.describe()})
	}
	clear(c.dirty.fresh)
	c.dirty.fresh = c.dirty.fresh[:0]
	c.dirty.newAtoms = c.dirty.newAtoms[:0]
	clear(c.dirty.changedAtoms)
}

// matchClasses asks the selectors of sets about classes, and rechecks the identities of those that changed.
func (c *Compiler) matchClasses() {
	if len(c.dirty.newAtoms) > 0 {
		for _, cl := range c.classList {
			if cl.fresh || cl.relabelled {
				continue
			}
			for _, a := range c.dirty.newAtoms {
				if a.set != nil {
					cl.match.put(a.slot, a.set.Selector.Matches(cl.labels))
				}
			}
		}
	}
	for _, i := range c.dirty.fresh {
		for _, cl := range i.classes {
			if cl.fresh {
				cl.fresh, cl.relabelled = false, false
				cl.match = make(bits, (len(c.slots)+63)/64)
				c.matchClass(cl, nil)
			}
		}
	}
	var changed []*atom
	for _, cl := range c.dirty.relabelled {
		if !cl.relabelled {
			continue
		}
		cl.relabelled = false
		changed = c.matchClass(cl, changed[:0])
		for _, i := range cl.identities {
			if i.fresh {
				continue
			}
			for _, a := range changed {
				c.recheck(i, a)
			}
			for p := range c.portPrograms {
				c.dirty.cells = append(c.dirty.cells, cell{p, i})
			}
			for _, s := range i.subjects {
				c.touchSubject(s) // also because the namespace may have come or gone, and with it the profile
			}
		}
	}
	clear(c.dirty.relabelled)
	c.dirty.relabelled = c.dirty.relabelled[:0]
}

// matchClass asks the selectors of all sets, and appends those whose answer is another.
func (c *Compiler) matchClass(cl *class, changed []*atom) []*atom {
	for _, a := range c.slots {
		if a == nil || a.set == nil {
			continue
		}
		if in := a.set.Selector.Matches(cl.labels); in != cl.match.has(a.slot) {
			cl.match.put(a.slot, in)
			changed = append(changed, a)
		}
	}
	return changed
}

// contains is [policy.Snapshot.Contains] for an identity.
func (c *Compiler) contains(a *atom, i *ident) bool {
	if a.set == nil {
		return slices.Contains(i.net.atoms, a) && (a != c.vacant || len(i.classes) == 0)
	}
	if c.claimed(c.sem.AllClaimants(a.set.Reading), i, func(cl *class) bool { return cl.match.has(a.slot) }) || a.everywhere > 0 {
		return true
	}
	return a.fromNets && slices.ContainsFunc(i.net.sets, func(s *networkSet) bool { return s.match.has(a.slot) })
}

func (c *Compiler) claimed(all bool, i *ident, member func(*class) bool) bool {
	if all {
		return len(i.classes) > 0 && !slices.ContainsFunc(i.classes, func(cl *class) bool { return !member(cl) })
	}
	return slices.ContainsFunc(i.classes, member)
}

func (c *Compiler) recheck(i *ident, a *atom) {
	if i.fresh {
		return
	}
	in := c.contains(a, i)
	if in == i.member.has(a.slot) {
		return
	}
	i.member.put(a.slot, in)
	for p := range a.programs {
		c.dirty.cells = append(c.dirty.cells, cell{p, i})
	}
	for _, s := range i.subjects {
		c.touchSubject(s)
	}
}

// notifyAll looks at the programs in which the identity may have a row of its own.
func (c *Compiler) notifyAll(i *ident) {
	c.eachProgram(i, func(p *program) { c.dirty.cells = append(c.dirty.cells, cell{p, i}) })
}

// eachProgram visits the programs that ask for an atom that the identity is in, some of them more than once.
func (c *Compiler) eachProgram(i *ident, visit func(*program)) {
	for word, set := range i.member {
		for ; set != 0; set &= set - 1 {
			slot := word<<6 + mathbits.TrailingZeros64(set)
			if slot >= len(c.slots) || c.slots[slot] == nil {
				continue
			}
			for p := range c.slots[slot].programs {
				visit(p)
			}
		}
	}
	for p := range c.portPrograms {
		visit(p)
	}
}

func (i *ident) describe() ruleset.Identity {
	out := ruleset.Identity{Family: i.family}
	for _, cl := range i.classes {
		out.Pods = append(out.Pods, cl.describe())
	}
	slices.SortFunc(out.Pods, func(a, b ruleset.PodClass) int { return cmp.Compare(a.String(), b.String()) })
	for _, a := range i.net.atoms {
		out.Nets = append(out.Nets, a.name)
	}
	for _, s := range i.net.sets {
		out.Nets = append(out.Nets, s.name)
	}
	slices.Sort(out.Nets)
	return out
}
