package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// atom is one set of addresses that active rules ask for: a [policy.Set], or a list of nets. Every identity is in it or
// not, as a whole.
type atom struct {
	serial   uint64
	key      atomKey
	slot     int
	set      *policy.Set    // nil for nets
	nets     []netip.Prefix // sorted
	name     string         // of nets
	fromNets bool           // network sets add their addresses
	// everywhere is the number of network sets that put every address into the set.
	everywhere int
	refs       int
	idle, live bool
	programs   map[*program]bool // that ask it of the peer
}

type atomKey struct {
	set  policy.SetKey
	nets string
}

// portAtom stands for the container ports of a name, of pods in a set.
type portAtom struct {
	serial uint64
	key    portKey
	refs   int
}

type portKey struct {
	set     *atom // nil: of any pod
	reading policy.Reading
	name    string
}

// code is what a policy says, while it is active. It holds references to atoms.
type code struct {
	of    *policy.Policy
	rules [2][]rule
	atoms []*atom
	ports []*portAtom
	known map[ruleset.Rule]*ruleState
}

// rule is one rule of a policy for one direction.
type rule struct {
	*policy.Rule
	state *ruleState
	self  end // the endpoint's own
	peer  end
	// selfSource: the endpoint itself is the source.
	selfSource bool
}

// end is a condition on one end; nil parts always hold.
type end struct {
	set, notSet, nets, notNets *atom
	notNetsOf                  [2]bool // whether notNets has nets of IPv4, of IPv6
	ports, notPorts            []policy.Port
	named, notNamed            []*portAtom
}

// anybody reports whether there is no condition on who is there.
func (e *end) anybody() bool {
	return e.set == nil && e.notSet == nil && e.nets == nil && e.notNets == nil && len(e.named) == 0 && len(e.notNamed) == 0
}

// matches asks the conditions on who is there, not those on ports.
func (e *end) matches(i *ident) bool {
	switch {
	case e.nets != nil && !i.member.has(e.nets.slot):
		return false
	case e.notNets != nil && (i.member.has(e.notNets.slot) || !e.notNetsOf[familyIndex(i.family)]):
		return false
	case e.notSet != nil && i.member.has(e.notSet.slot):
		return false
	}
	return e.set == nil || i.member.has(e.set.slot)
}

func familyIndex(family uint8) int {
	if family == 6 {
		return 1
	}
	return 0
}

// activate makes code for the policies that select a class of the node, and takes it away from the others.
func (c *Compiler) activate() {
	for _, p := range c.dirty.selected {
		p.touched = false
		old := p.code
		switch {
		case p.have == nil || p.classes == 0:
			p.code = nil
		case old == nil || old.of != p.have:
			p.code = c.newCode(p.have, p.tier.tier.Name, old)
		default:
			continue
		}
		if old != nil {
			c.releaseCode(old)
		}
	}
	clear(c.dirty.selected)
	c.dirty.selected = c.dirty.selected[:0]
	for _, a := range c.dirty.idleAtoms {
		a.idle = false
		if a.refs > 0 || !a.live {
			continue
		}
		a.live = false
		delete(c.atoms, a.key)
		c.slots[a.slot] = nil
		c.freeSlots = append(c.freeSlots, a.slot)
		if a.set == nil {
			c.dirty.nets = true
			continue
		}
		for _, s := range c.networkSets {
			if s.match.has(a.slot) {
				s.match.put(a.slot, false)
				c.dirty.nets = c.dirty.nets || s.match.empty()
			}
		}
	}
	c.dirty.idleAtoms = c.dirty.idleAtoms[:0]
	c.dirty.newAtoms = slices.DeleteFunc(c.dirty.newAtoms, func(a *atom) bool { return !a.live })
}

func (c *Compiler) newCode(p *policy.Policy, tierName string, old *code) *code {
	out := &code{of: p, known: map[ruleset.Rule]*ruleState{}}
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		in := p.Rules(d)
		rules := make([]rule, 0, len(in))
		for i := range in {
			r := &in[i]
			made := rule{Rule: r, selfSource: d == policy.Egress}
			made.state = c.ruleState(out, old, ruleset.Rule{
				Tier: tierName, Policy: p.ID.String(), Direction: direction(d), Index: r.Index, Unparsed: r.Unparsed,
			})
			if !r.Unparsed && !r.Never {
				source, destination := c.end(out, r, &r.Source), c.end(out, r, &r.Destination)
				made.self, made.peer = destination, source
				if made.selfSource {
					made.self, made.peer = source, destination
				}
			}
			rules = append(rules, made)
		}
		out.rules[d] = rules
		if p.Applies(d) {
			c.ruleState(out, old, ruleset.Rule{Tier: tierName, Policy: p.ID.String(), Direction: direction(d), Index: ruleset.EndOfTier})
		}
	}
	return out
}

// ruleState finds the state of a rule, so that the same place in a policy keeps its ID.
func (c *Compiler) ruleState(out, old *code, r ruleset.Rule) *ruleState {
	s := out.known[r]
	if s == nil && old != nil {
		s = old.known[r]
	}
	if s == nil {
		s = c.newRule(r)
	}
	out.known[r] = s
	return s
}

func direction(d policy.Direction) ruleset.Direction {
	if d == policy.Egress {
		return ruleset.Egress
	}
	return ruleset.Ingress
}

func (c *Compiler) end(into *code, r *policy.Rule, in *policy.Entity) end {
	e := end{ports: in.Ports, notPorts: in.NotPorts}
	set := c.setAtom(into, in.Set)
	e.notSet = c.setAtom(into, in.NotSet)
	e.nets = c.netsAtom(into, in.Nets)
	e.notNets = c.netsAtom(into, in.NotNets)
	for _, n := range in.NotNets {
		e.notNetsOf[familyIndex(versionOf(n.Addr()))] = true
	}
	how := policy.ReadingPossible
	if r.Action == policy.ActionAllow || r.Action == policy.ActionPass {
		how = policy.ReadingCertain
	}
	not := policy.ReadingPossible
	if how == policy.ReadingPossible {
		not = policy.ReadingCertain
	}
	numbers := false
	for _, p := range in.Ports {
		if p.Name != "" {
			e.named = append(e.named, c.portAtom(into, portKey{set, how, p.Name}))
		} else {
			numbers = true
		}
	}
	for _, p := range in.NotPorts {
		if p.Name != "" {
			e.notNamed = append(e.notNamed, c.portAtom(into, portKey{set, not, p.Name}))
		}
	}
	if len(in.Ports) == 0 || numbers {
		e.set = set // with named ports alone, the set has already filtered those
	}
	return e
}

func versionOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

func (c *Compiler) setAtom(into *code, set *policy.Set) *atom {
	if set == nil {
		return nil
	}
	key := atomKey{set: set.Key()}
	a := c.atoms[key]
	if a == nil {
		a = c.newAtom(key)
		a.set, a.fromNets = set, c.sem.NetworkSets(set)
	}
	return into.hold(a)
}

func (c *Compiler) netsAtom(into *code, nets []netip.Prefix) *atom {
	if len(nets) == 0 {
		return nil
	}
	sorted := slices.Clone(nets)
	slices.SortFunc(sorted, comparePrefixes)
	sorted = slices.Compact(sorted)
	texts := make([]string, len(sorted))
	for i, n := range sorted {
		texts[i] = n.String()
	}
	key := atomKey{nets: strings.Join(texts, ",")}
	a := c.atoms[key]
	if a == nil {
		a = c.newAtom(key)
		a.nets, a.name = sorted, key.nets
		c.dirty.nets = true
	}
	return into.hold(a)
}

// comparePrefixes puts every prefix behind those that contain it.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func (c *Compiler) newAtom(key atomKey) *atom {
	a := &atom{serial: c.serial(), key: key, live: true, programs: map[*program]bool{}}
	if n := len(c.freeSlots); n > 0 {
		a.slot, c.freeSlots = c.freeSlots[n-1], c.freeSlots[:n-1]
		c.slots[a.slot] = a
	} else {
		a.slot = len(c.slots)
		c.slots = append(c.slots, a)
	}
	c.atoms[key] = a
	c.dirty.newAtoms = append(c.dirty.newAtoms, a)
	return a
}

func (into *code) hold(a *atom) *atom {
	a.refs++
	into.atoms = append(into.atoms, a)
	return a
}

func (c *Compiler) portAtom(into *code, key portKey) *portAtom {
	p := c.portAtoms[key]
	if p == nil {
		p = &portAtom{serial: c.serial(), key: key}
		c.portAtoms[key] = p
	}
	p.refs++
	into.ports = append(into.ports, p)
	return p
}

func (c *Compiler) releaseCode(old *code) {
	for _, p := range old.ports {
		if p.refs--; p.refs == 0 {
			delete(c.portAtoms, p.key)
		}
	}
	for _, a := range old.atoms {
		if a.refs--; a.refs == 0 && !a.idle {
			a.idle = true
			c.dirty.idleAtoms = append(c.dirty.idleAtoms, a)
		}
	}
}
