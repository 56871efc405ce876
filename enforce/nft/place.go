package nft

import (
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
)

// setAddress gives a prefix its identity, 0 for none. An identity has one IP version; it is that of its addresses.
func (l *lowering) setAddress(p netip.Prefix, id ruleset.IdentityID) {
	family := familyOf(p.Addr())
	if id != 0 {
		l.identity(id).family = family
		l.recents.takeSlot(family, id)
	}
	if !p.IsSingleIP() {
		if id == 0 {
			delete(l.nets, p)
		} else {
			l.nets[p] = id
		}
		l.dirtyNets[family] = true
		return
	}
	if id == 0 {
		delete(l.hosts, p.Addr())
	} else {
		l.hosts[p.Addr()] = id
	}
	l.dirtyHosts[p.Addr()] = true
	l.strangerOrKnown(p.Addr())
}

// placeHost puts an address where packets look for it, or takes it away.
func (l *lowering) placeHost(a netip.Addr) {
	id := l.hosts[a]
	if l.together || l.moved[a] {
		if id == 0 {
			id = l.netOf(a)
		}
		l.move(a, id)
		return
	}
	if id == 0 {
		l.removeRecent(a)
	} else if !l.loading && l.putRecent(a, id) {
		return
	}
	if id != 0 && l.hasOther(a, id) {
		l.move(a, id)
		return
	}
	l.placePeer(a)
}

// move hides what the verdict maps have of an address behind the map of those that moved, until they have caught up.
func (l *lowering) move(a netip.Addr, id ruleset.IdentityID) {
	for _, s := range sides() {
		if s.family == familyOf(a) {
			l.put(s.moved(), addressKey(a), element{chain: l.identityChain(s, id)})
		}
	}
	l.moved[a] = true
}

// hasOther reports whether the verdict maps have an address with another identity. An element that is replaced where packets look
// is missing for a moment in kernels before 6.17: the packet would meet what is said of the surrounding network, which may be more.
func (l *lowering) hasOther(a netip.Addr, id ruleset.IdentityID) bool {
	for _, s := range sides() {
		if s.family != familyOf(a) {
			continue
		}
		if e, ok := l.sets[s.peers()].elements[addressKey(a)]; ok && e.chain != l.identityChain(s, id) {
			return true
		}
	}
	return false
}

// placePeer makes the verdict maps hold what is true of an address.
func (l *lowering) placePeer(a netip.Addr) {
	id := l.hosts[a]
	for _, s := range sides() {
		switch {
		case s.family != familyOf(a):
		case id == 0:
			l.remove(s.peers(), addressKey(a))
		default:
			l.put(s.peers(), addressKey(a), element{chain: l.identityChain(s, id)})
		}
	}
}

// netOf is the identity of the longest prefix, that of the address itself aside.
func (l *lowering) netOf(a netip.Addr) ruleset.IdentityID {
	for bits := a.BitLen() - 1; bits >= 0; bits-- {
		if id, ok := l.nets[netip.PrefixFrom(a, bits).Masked()]; ok {
			return id
		}
	}
	return 0
}

func (l *lowering) setEndpoint(a netip.Addr, subject ruleset.SubjectID) {
	if old, ok := l.endpoints[a]; ok {
		delete(l.users[old], a)
		if len(l.users[old]) == 0 {
			delete(l.users, old)
		}
	}
	l.dirtyEndpoints[a] = true
	l.strangerOrKnown(a)
	if subject == 0 {
		delete(l.endpoints, a)
		return
	}
	l.endpoints[a] = subject
	if l.users[subject] == nil {
		l.users[subject] = map[netip.Addr]bool{}
	}
	l.users[subject][a] = true
}

// placeEndpoint moves an endpoint from the programs it was in to those that it is in now.
func (l *lowering) placeEndpoint(a netip.Addr) {
	subject, is := l.endpoints[a]
	now := l.subjects[subject]
	was, had := l.placed[a]
	key := addressKey(a)
	for dir, ids := range map[ruleset.Direction][2]ruleset.ProgramID{
		ruleset.Ingress: {was.Ingress, now.Ingress}, ruleset.Egress: {was.Egress, now.Egress},
	} {
		s := side{dir, familyOf(a)}
		if ids[0] != ids[1] || is != had {
			l.leave(s, ids[0], a)
			l.join(s, ids[1], a)
		}
		if is {
			l.put(s.defaults(), key, element{chain: l.defaultRow(s, ids[1])})
		} else {
			l.remove(s.defaults(), key)
		}
	}
	if is {
		l.put(endpointSet(familyOf(a)), key, element{})
		l.placed[a] = now
	} else {
		l.remove(endpointSet(familyOf(a)), key)
		delete(l.placed, a)
	}
}

func (l *lowering) defaultRow(s side, id ruleset.ProgramID) string {
	p := l.programs[id]
	if p == nil {
		return l.row(s.direction, 0)
	}
	if s.family == 4 {
		return l.row(s.direction, p.Default4)
	}
	return l.row(s.direction, p.Default6)
}

func (l *lowering) leave(s side, id ruleset.ProgramID, a netip.Addr) {
	p := l.programs[id]
	if p == nil || !p.members[a] {
		return
	}
	delete(p.members, a)
	for name := range p.groups {
		if l.groups[name].side.family == s.family {
			l.remove(name, addressKey(a))
		}
	}
	for i := range p.cells {
		if name := l.names.identityRows[identityName{s, i}]; l.sets[name] != nil {
			l.remove(name, addressKey(a))
		}
	}
}

func (l *lowering) join(s side, id ruleset.ProgramID, a netip.Addr) {
	p := l.programs[id]
	if p == nil {
		return
	}
	p.members[a] = true
	for name := range p.groups {
		if l.groups[name].side.family == s.family {
			l.put(name, addressKey(a), element{})
		}
	}
	for i, row := range p.cells {
		if name := l.names.identityRows[identityName{s, i}]; l.sets[name] != nil {
			l.put(name, addressKey(a), element{chain: l.row(s.direction, row)})
		}
	}
}
