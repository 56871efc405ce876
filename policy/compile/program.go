package compile

import (
	"encoding/binary"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// program is what the policies of some subjects say about one direction.
type program struct {
	id        ruleset.ProgramID
	key       string
	direction policy.Direction
	parts     []part // one for each class of the subject
	codes     []*code
	names     []string

	atoms []*atom // asked of the peer, each once
	mask  []maskWord
	ports []*portAtom
	memo  map[string]*row

	rows     map[*ident]*row
	defaults [2]*row

	refs  int
	stale bool // to be filled from the beginning
	idle  bool
	shown bool
}

// maskWord picks the bits of a program's atoms out of one word of an identity's.
type maskWord struct {
	word int
	mask uint64
}

// part is the policies of one class, resolved for the subject: rules whose own end is another are left out.
type part struct {
	stages  []stage
	profile *ruleState
	allow   bool
}

// stage is one tier.
type stage struct {
	steps []step
	end   *ruleState
	pass  bool
}

type step struct {
	*rule
	selfNamed, selfNotNamed []portValue
}

// program finds the program of a subject, or makes it, and counts one reference more. The key is the policies, not what
// they say: a program whose policies changed is filled again in place.
func (c *Compiler) program(d policy.Direction, s *subject, policies [][]*policyState) *program {
	var room [512]byte
	key := append(room[:0], byte(d))
	for n, cl := range s.classes {
		var in *tier
		for _, p := range policies[n] {
			if !p.have.Applies(d) {
				continue
			}
			if p.tier != in {
				in = p.tier
				key = binary.BigEndian.AppendUint64(append(key, 't', byte(in.tier.DefaultAction)), in.serial)
			}
			key = binary.BigEndian.AppendUint64(append(key, 'p'), p.serial)
			key = c.selfKey(key, p.code.rules[d], s.self)
		}
		key = append(key, 'n')
		if cl.namespace.object != nil {
			key = append(key, 'a')
		}
	}
	p := c.programs[string(key)]
	if p == nil {
		p = &program{id: ruleset.ProgramID(c.ids.programs.take()), key: string(key), direction: d, rows: map[*ident]*row{}}
		c.programs[p.key] = p
		c.load(p, s, policies)
	} else if !p.loaded(policies) {
		c.load(p, s, policies)
	}
	p.refs++
	return p
}

// loaded reports whether the program was made of what its policies say now.
func (p *program) loaded(policies [][]*policyState) bool {
	n := 0
	for _, list := range policies {
		for _, s := range list {
			if !s.have.Applies(p.direction) {
				continue
			}
			if n >= len(p.codes) || p.codes[n] != s.code {
				return false
			}
			n++
		}
	}
	return n == len(p.codes)
}

// load resolves the rules for the subject.
func (c *Compiler) load(p *program, s *subject, policies [][]*policyState) {
	for _, a := range p.atoms {
		delete(a.programs, p)
	}
	p.parts, p.codes, p.names, p.atoms, p.mask, p.ports = nil, nil, nil, nil, nil, nil
	p.memo = map[string]*row{}
	profiles := c.profile
	if p.direction == policy.Egress {
		profiles = c.profileOut
	}
	for n, cl := range s.classes {
		out := part{profile: profiles[0]}
		if cl.namespace.object != nil {
			out.profile, out.allow = profiles[1], true
		}
		var in *tier
		for _, state := range policies[n] {
			if !state.have.Applies(p.direction) {
				continue
			}
			if state.tier != in {
				in = state.tier
				out.stages = append(out.stages, stage{pass: in.tier.DefaultAction == policy.ActionPass})
				p.names = append(p.names, "tier "+in.tier.Name)
			}
			at := &out.stages[len(out.stages)-1]
			c.loadPolicy(p, at, state, s.self)
			p.codes = append(p.codes, state.code)
			p.names = append(p.names, state.have.ID.String())
		}
		p.parts = append(p.parts, out)
	}
	if len(p.codes) > 0 {
		p.atoms = append(p.atoms, c.vacant)
	}
	for _, a := range p.atoms {
		a.programs[p] = true
		word := a.slot >> 6
		at := slices.IndexFunc(p.mask, func(m maskWord) bool { return m.word == word })
		if at < 0 {
			at = len(p.mask)
			p.mask = append(p.mask, maskWord{word: word})
		}
		p.mask[at].mask |= 1 << (a.slot & 63)
	}
	delete(c.portPrograms, p)
	if len(p.ports) > 0 {
		c.portPrograms[p] = true
	}
	if !p.stale {
		p.stale = true
		c.dirty.programs = append(c.dirty.programs, p)
	}
}

func (c *Compiler) loadPolicy(p *program, into *stage, state *policyState, self *ident) {
	rules := state.code.rules[p.direction]
	for n := range rules {
		r := &rules[n]
		if r.Never || !r.self.matches(self) {
			continue
		}
		into.steps = append(into.steps, step{
			rule: r, selfNamed: c.portsOf(r.self.named, self), selfNotNamed: c.portsOf(r.self.notNamed, self),
		})
		for _, a := range []*atom{r.peer.set, r.peer.notSet, r.peer.nets, r.peer.notNets} {
			if a != nil && !slices.Contains(p.atoms, a) {
				p.atoms = append(p.atoms, a)
			}
		}
		p.ports = append(p.ports, r.peer.named...)
		p.ports = append(p.ports, r.peer.notNamed...)
	}
	into.end = state.code.known[ruleset.Rule{
		Tier: state.tier.tier.Name, Policy: state.have.ID.String(), Direction: direction(p.direction), Index: ruleset.EndOfTier,
	}]
}

func (c *Compiler) leaveProgram(p *program) {
	if p.refs--; p.refs == 0 && !p.idle {
		p.idle = true
		c.dirty.idlePrograms = append(c.dirty.idlePrograms, p)
	}
}

func (c *Compiler) dropPrograms() {
	for _, p := range c.dirty.idlePrograms {
		p.idle = false
		if p.refs > 0 {
			continue
		}
		delete(c.programs, p.key)
		delete(c.portPrograms, p)
		for _, a := range p.atoms {
			delete(a.programs, p)
		}
		for _, r := range p.rows {
			c.leaveRow(r)
		}
		for _, r := range p.defaults {
			if r != nil {
				c.leaveRow(r)
			}
		}
		if p.shown {
			c.delta.GonePrograms = append(c.delta.GonePrograms, p.id)
		}
		c.ids.programs.give(uint32(p.id))
		p.rows = nil
	}
	clear(c.dirty.idlePrograms)
	c.dirty.idlePrograms = c.dirty.idlePrograms[:0]
}

// cell is one identity in one program.
type cell struct {
	program *program
	ident   *ident
}

// cellChange is a cell with its new row, nil for the default.
type cellChange struct {
	cell
	row *row
}

// fill brings the rows of programs up to date.
func (c *Compiler) fill() {
	for _, i := range c.dirty.gone {
		c.forgetCells(i)
	}
	clear(c.dirty.gone)
	c.dirty.gone = c.dirty.gone[:0]
	for _, p := range c.dirty.programs {
		if p.refs == 0 {
			continue
		}
		p.stale = false
		c.fillProgram(p)
	}
	clear(c.dirty.programs)
	c.dirty.programs = c.dirty.programs[:0]
	for _, at := range c.dirty.cells {
		if at.program.refs > 0 && at.ident.refs > 0 {
			c.fillCell(at.program, at.ident)
		}
	}
	clear(c.dirty.cells)
	c.dirty.cells = c.dirty.cells[:0]
}

// forgetCells takes an identity that is gone out of all programs: what it was in when it got its rows is not known any
// more.
func (c *Compiler) forgetCells(i *ident) {
	for _, p := range c.programs {
		if r := p.rows[i]; r != nil {
			delete(p.rows, i)
			c.leaveRow(r)
			c.dirty.changes = append(c.dirty.changes, cellChange{cell: cell{p, i}})
		}
	}
	c.delta.GoneIdentities = append(c.delta.GoneIdentities, i.id)
	c.ids.identities.give(uint32(i.id))
}

func (c *Compiler) fillProgram(p *program) {
	before := p.defaults
	for f, nobody := range c.nobody {
		p.defaults[f] = c.row(p.lower(c, nobody))
		c.enterRow(p.defaults[f])
	}
	for _, r := range before {
		if r != nil {
			c.leaveRow(r)
		}
	}
	if p.defaults != before {
		c.dirty.headers = append(c.dirty.headers, p)
	}
	for _, i := range c.identList {
		c.fillCell(p, i)
	}
}

func (c *Compiler) fillCell(p *program, i *ident) {
	want := c.rowOf(p, i)
	if want == p.defaults[familyIndex(i.family)] {
		want = nil
	}
	have := p.rows[i]
	if want == have {
		return
	}
	c.dirty.changes = append(c.dirty.changes, cellChange{cell{p, i}, want})
	if want == nil {
		delete(p.rows, i)
	} else {
		p.rows[i] = want
		c.enterRow(want)
	}
	if have != nil {
		c.leaveRow(have)
	}
}

// rowOf finds the row of an identity; identities that the program cannot tell apart have it in common.
func (c *Compiler) rowOf(p *program, i *ident) *row {
	var room [256]byte
	key := append(room[:0], i.family)
	any := uint64(0)
	for _, m := range p.mask {
		word := i.member.word(m.word) & m.mask
		any |= word
		key = binary.LittleEndian.AppendUint64(key, word)
	}
	for _, a := range p.ports {
		ports := c.portsOf([]*portAtom{a}, i)
		any |= uint64(len(ports))
		key = appendPorts(key, ports)
	}
	if any == 0 {
		return p.defaults[familyIndex(i.family)]
	}
	if r := p.memo[string(key)]; r != nil && !r.dead {
		return r
	}
	if len(p.memo) > 64+4*len(p.rows) {
		clear(p.memo) // what identities were long ago
	}
	r := c.row(p.lower(c, i))
	p.memo[string(key)] = r
	return r
}
