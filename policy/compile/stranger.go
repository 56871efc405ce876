package compile

import (
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// strangers are the addresses of the node's own pods that no pod is known to have. See [Compiler.SetPodCIDRs].
type strangers struct {
	nets    []netip.Prefix // sorted
	subject *subject       // nil while there are no nets
}

// holds reports whether all addresses of p are of the node's pods.
func (s *strangers) holds(p netip.Prefix) bool {
	for _, n := range s.nets {
		if contains(n, p) {
			return true
		}
	}
	return false
}

// arrangeStrangers makes the subject of strangers while there is a prefix that refers to it. It has no classes, and so
// depends on nothing.
func (c *Compiler) arrangeStrangers() {
	switch needed, s := len(c.strangers.nets) > 0, c.strangers.subject; {
	case needed && s == nil:
		s = &subject{id: ruleset.SubjectID(c.ids.subjects.take()), key: "strangers", self: c.nobody[0], refs: 1}
		for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
			s.programs[d] = c.strangerProgram(d)
		}
		s.shown = ruleset.Subject{Ingress: s.programs[policy.Ingress].id, Egress: s.programs[policy.Egress].id}
		c.strangers.subject = s
		c.delta.Subjects = append(c.delta.Subjects, ruleset.SubjectChange{ID: s.id, Subject: s.shown})
	case !needed && s != nil:
		c.strangers.subject = nil
		c.leaveSubject(s)
	}
}

// strangerProgram lets nothing in and everything out, whoever the peer is.
func (c *Compiler) strangerProgram(d policy.Direction) *program {
	rule := c.newRule(ruleset.Rule{Direction: direction(d), Index: ruleset.EndOfTier, Stranger: true})
	p := &program{
		id: ruleset.ProgramID(c.ids.programs.take()), key: "strangers " + direction(d).String(), direction: d,
		parts: []part{{profile: rule, allow: d == policy.Egress}},
		memo:  map[string]*row{}, rows: map[*ident]*row{}, refs: 1, stale: true,
	}
	c.programs[p.key] = p
	c.dirty.programs = append(c.dirty.programs, p)
	return p
}
