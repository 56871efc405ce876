package compile

import (
	"encoding/binary"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// subject is the addresses of the node that have an identity in common, and the same pods of the node behind it. Its
// programs allow what the policies of all of these pods allow.
type subject struct {
	id       ruleset.SubjectID
	key      string
	self     *ident
	classes  []*class // by key, so that the order does not depend on history
	programs [2]*program
	shown    ruleset.Subject // as it was published last
	refs     int
	dirty    bool
	idle     bool
}

// enlist gives an address its subject; local are the classes of the node's pods that claim it.
func (c *Compiler) enlist(rec *address, local []*class, named *pod, stranger bool) {
	var before endpoint
	if rec.here != nil {
		before = *rec.here
	}
	rec.here = nil
	switch {
	case len(local) > 0:
		rec.here = &endpoint{c.subject(rec.ident, local), named}
	case stranger:
		rec.here = &endpoint{c.strangers.subject, nil}
		c.strangers.subject.refs++
	}
	if rec.here == nil {
		c.delta.GoneEndpoints = append(c.delta.GoneEndpoints, rec.addr)
	} else if *rec.here != before {
		c.delta.Endpoints = append(c.delta.Endpoints, ruleset.EndpointChange{
			Addr: rec.addr, Endpoint: ruleset.Endpoint{Subject: rec.here.subject.id, Pod: named.describe()},
		})
	}
	if before.subject != nil {
		c.leaveSubject(before.subject)
	}
}

func (c *Compiler) leaveSubject(s *subject) {
	if s.refs--; s.refs == 0 && !s.idle {
		s.idle = true
		c.dirty.idleSubjects = append(c.dirty.idleSubjects, s)
	}
}

// subject finds the subject, or makes it, and counts one reference more.
func (c *Compiler) subject(self *ident, local []*class) *subject {
	var room [128]byte
	key := append(room[:0], self.key...)
	for _, cl := range local {
		key = binary.BigEndian.AppendUint64(key, cl.serial)
	}
	s := c.subjects[string(key)]
	if s == nil {
		s = &subject{id: ruleset.SubjectID(c.ids.subjects.take()), key: string(key), self: self, classes: slices.Clone(local)}
		c.subjects[s.key] = s
		self.subjects = append(self.subjects, s)
		for _, cl := range s.classes {
			cl.subjects = append(cl.subjects, s)
		}
		c.touchSubject(s)
	}
	s.refs++
	return s
}

func (c *Compiler) touchSubject(s *subject) {
	if !s.dirty {
		s.dirty = true
		c.dirty.subjects = append(c.dirty.subjects, s)
	}
}

func (c *Compiler) dropSubjects() {
	for _, s := range c.dirty.idleSubjects {
		s.idle = false
		if s.refs > 0 {
			continue
		}
		delete(c.subjects, s.key)
		drop := func(list []*subject) []*subject {
			return slices.DeleteFunc(list, func(o *subject) bool { return o == s })
		}
		s.self.subjects = drop(s.self.subjects)
		for _, cl := range s.classes {
			cl.subjects = drop(cl.subjects)
		}
		for d, p := range s.programs {
			if p != nil {
				c.leaveProgram(p)
			}
			s.programs[d] = nil
		}
		if s.shown != (ruleset.Subject{}) {
			c.delta.GoneSubjects = append(c.delta.GoneSubjects, s.id)
		}
		c.ids.subjects.give(uint32(s.id))
	}
	clear(c.dirty.idleSubjects)
	c.dirty.idleSubjects = c.dirty.idleSubjects[:0]
}

// bind gives every subject that changed its programs.
func (c *Compiler) bind() {
	c.dropSubjects()
	for _, s := range c.dirty.subjects {
		s.dirty = false
		if s.refs == 0 {
			continue
		}
		policies := make([][]*policyState, len(s.classes))
		for n, cl := range s.classes {
			policies[n] = slices.Clone(cl.selected)
			slices.SortFunc(policies[n], (*policyState).before)
		}
		for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
			before := s.programs[d]
			s.programs[d] = c.program(d, s, policies)
			if before != nil {
				c.leaveProgram(before)
			}
		}
		now := ruleset.Subject{Ingress: s.programs[policy.Ingress].id, Egress: s.programs[policy.Egress].id}
		if now != s.shown {
			s.shown = now
			c.delta.Subjects = append(c.delta.Subjects, ruleset.SubjectChange{ID: s.id, Subject: now})
		}
	}
	clear(c.dirty.subjects)
	c.dirty.subjects = c.dirty.subjects[:0]
	c.dropPrograms()
}

// selfKey appends what the conditions of a policy's rules on their own end say of the subject.
func (c *Compiler) selfKey(key []byte, rules []rule, self *ident) []byte {
	for n := range rules {
		r := &rules[n]
		if r.self.anybody() {
			continue
		}
		if !r.self.matches(self) {
			key = append(key, 0)
			continue
		}
		key = append(key, 1)
		for _, named := range [][]*portAtom{r.self.named, r.self.notNamed} {
			key = appendPorts(key, c.portsOf(named, self))
		}
	}
	return key
}

// portValue is one port that a name stands for.
type portValue struct {
	protocol uint8
	port     uint16
}

func appendPorts(key []byte, ports []portValue) []byte {
	key = binary.BigEndian.AppendUint32(key, uint32(len(ports)))
	for _, p := range ports {
		key = binary.BigEndian.AppendUint16(append(key, p.protocol), p.port)
	}
	return key
}

// portsOf is [policy.Snapshot.ContainsPort] for an identity: what the names stand for there.
func (c *Compiler) portsOf(atoms []*portAtom, i *ident) []portValue {
	var out []portValue
	for _, a := range atoms {
		has := func(cl *class, v portValue) bool {
			return (a.key.set == nil || cl.match.has(a.key.set.slot)) &&
				slices.Contains(cl.ports, policy.NamedPort{Name: a.key.name, Protocol: v.protocol, Port: v.port})
		}
		for _, cl := range i.classes {
			for _, p := range cl.ports {
				v := portValue{p.Protocol, p.Port}
				if p.Name == a.key.name && !slices.Contains(out, v) &&
					c.claimed(c.sem.AllClaimants(a.key.reading), i, func(cl *class) bool { return has(cl, v) }) {
					out = append(out, v)
				}
			}
		}
	}
	return out
}
