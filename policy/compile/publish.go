package compile

import (
	"encoding/binary"

	"github.com/saguard/saguard/internal/ruleset"
)

// handles are the IDs in use. One that is given back is taken again only after the next flush, so that no delta speaks
// of two things by the same ID.
type handles struct {
	identities, programs, subjects, rows, rules pool
}

type pool struct {
	last        uint32
	free, given []uint32
}

func (p *pool) take() uint32 {
	if n := len(p.free); n > 0 {
		id := p.free[n-1]
		p.free = p.free[:n-1]
		return id
	}
	p.last++
	return p.last
}

func (p *pool) give(id uint32) { p.given = append(p.given, id) }

func (p *pool) settle() {
	p.free = append(p.free, p.given...)
	p.given = p.given[:0]
}

// ruleState is a rule that rows may refer to.
type ruleState struct {
	serial  uint64
	rule    ruleset.Rule
	id      ruleset.RuleID // 0 while no row refers to it
	refs    int
	touched bool
}

func (c *Compiler) newRule(r ruleset.Rule) *ruleState { return &ruleState{serial: c.serial(), rule: r} }

func (c *Compiler) refer(r *ruleState, n int) {
	r.refs += n
	if !r.touched {
		r.touched = true
		c.dirty.rules = append(c.dirty.rules, r)
	}
}

// row is [ruleset.Row], shared by all cells and defaults with the same content.
type row struct {
	key      string
	segments []segment
	id       ruleset.RowID // 0 before it is published
	refs     int
	touched  bool
	dead     bool
}

// row finds the row with that content, or makes it.
func (c *Compiler) row(segments []segment) *row {
	var room [512]byte
	key := room[:0]
	for _, s := range segments {
		key = append(key, s.protocol)
		for _, n := range []uint16{s.to.first, s.to.last, s.from.first, s.from.last} {
			key = binary.BigEndian.AppendUint16(key, n)
		}
		outcome := byte(0)
		if s.allow {
			outcome = 1
		}
		key = binary.BigEndian.AppendUint64(append(key, outcome), s.rule.serial)
		log := uint64(0)
		if s.log != nil {
			log = s.log.serial
		}
		key = binary.BigEndian.AppendUint64(key, log)
	}
	r := c.rows[string(key)]
	if r == nil {
		r = &row{key: string(key), segments: segments}
		c.rows[r.key] = r
		c.touchRow(r)
	}
	return r
}

func (c *Compiler) touchRow(r *row) {
	if !r.touched {
		r.touched = true
		c.dirty.rows = append(c.dirty.rows, r)
	}
}

func (c *Compiler) enterRow(r *row) {
	if r.refs++; r.refs == 1 {
		c.touchRow(r)
		for _, s := range r.segments {
			c.refer(s.rule, 1)
			if s.log != nil {
				c.refer(s.log, 1)
			}
		}
	}
}

func (c *Compiler) leaveRow(r *row) {
	if r.refs--; r.refs == 0 {
		c.touchRow(r)
		for _, s := range r.segments {
			c.refer(s.rule, -1)
			if s.log != nil {
				c.refer(s.log, -1)
			}
		}
	}
}

// publish puts what has settled into the delta: rules, rows, programs and cells. The rest is there already.
func (c *Compiler) publish() {
	d := c.delta
	for _, r := range c.dirty.rules {
		r.touched = false
		switch {
		case r.refs > 0 && r.id == 0:
			r.id = ruleset.RuleID(c.ids.rules.take())
			d.Rules = append(d.Rules, ruleset.RuleChange{ID: r.id, Rule: r.rule})
		case r.refs == 0 && r.id != 0:
			d.GoneRules = append(d.GoneRules, r.id)
			c.ids.rules.give(uint32(r.id))
			r.id = 0
		}
	}
	for _, r := range c.dirty.rows {
		r.touched = false
		switch {
		case r.refs > 0 && r.id == 0:
			r.id = ruleset.RowID(c.ids.rows.take())
			d.Rows = append(d.Rows, ruleset.RowChange{ID: r.id, Row: r.describe()})
		case r.refs == 0:
			delete(c.rows, r.key)
			r.dead = true
			if r.id != 0 {
				d.GoneRows = append(d.GoneRows, r.id)
				c.ids.rows.give(uint32(r.id))
			}
		}
	}
	for _, p := range c.dirty.headers {
		p.shown = true
		d.Programs = append(d.Programs, ruleset.ProgramChange{
			ID: p.id, Direction: direction(p.direction), Policies: p.names, Default4: p.defaults[0].id, Default6: p.defaults[1].id,
		})
	}
	for _, change := range c.dirty.changes {
		out := ruleset.Cell{Program: change.program.id, Identity: change.ident.id}
		if change.row != nil {
			out.Row = change.row.id
		}
		d.Cells = append(d.Cells, out)
	}
	clear(c.dirty.rules)
	clear(c.dirty.rows)
	clear(c.dirty.headers)
	clear(c.dirty.changes)
	c.dirty.rules, c.dirty.rows, c.dirty.headers, c.dirty.changes =
		c.dirty.rules[:0], c.dirty.rows[:0], c.dirty.headers[:0], c.dirty.changes[:0]
	for _, p := range []*pool{&c.ids.identities, &c.ids.programs, &c.ids.subjects, &c.ids.rows, &c.ids.rules} {
		p.settle()
	}
}

// describe is the row in the ruleset's terms; all its rules have IDs.
func (r *row) describe() ruleset.Row {
	out := make(ruleset.Row, len(r.segments))
	for i, s := range r.segments {
		out[i] = ruleset.Segment{
			Protocol: s.protocol, First: s.to.first, Last: s.to.last, SourceFirst: s.from.first, SourceLast: s.from.last,
			Allow: s.allow, Rule: s.rule.id,
		}
		if s.log != nil {
			out[i].Log = s.log.id
		}
	}
	return out
}
