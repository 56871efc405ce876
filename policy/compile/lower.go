package compile

import (
	"cmp"
	"math"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// span is numbers from first to last.
type span struct{ first, last uint16 }

func everything() span { return span{0, math.MaxUint16} }

// segment is [ruleset.Segment] before rules have IDs.
type segment struct {
	protocol uint8
	area
	allow bool
	rule  *ruleState
}

// area is packets on which the rules so far agree.
type area struct {
	to, from span       // destination port or ICMP type and code; source port
	log      *ruleState // the first that matched
}

func (s segment) whole() bool { return s.to == everything() && s.from == everything() }

// sameOutcome compares everything but protocol and ports.
func (s segment) sameOutcome(o segment) bool {
	return s.allow == o.allow && s.rule == o.rule && s.log == o.log
}

// lower walks the rules for one identity as policy/eval does for one packet, but for all packets at once.
func (p *program) lower(c *Compiler, i *ident) []segment {
	if len(p.codes) > 0 && i.member.has(c.vacant.slot) {
		return []segment{{area: area{to: everything(), from: everything()}, rule: c.vacantRule[p.direction]}}
	}
	var out []segment
	for n := range p.parts {
		one := p.parts[n].lower(c, i)
		if n == 0 {
			out = one
		} else {
			out = both(out, one)
		}
	}
	return out
}

// matched is a rule whose conditions on who is there hold at both ends.
type matched struct {
	*step
	source, destination values
}

// values are what the names of ports stand for at one end.
type values struct {
	*end
	named, notNamed []portValue
}

type matchedStage struct {
	rules []matched
	*stage
}

func (p *part) lower(c *Compiler, i *ident) []segment {
	stages := make([]matchedStage, len(p.stages))
	var mentioned [256]bool
	for n := range p.stages {
		stages[n].stage = &p.stages[n]
		for k := range p.stages[n].steps {
			s := &p.stages[n].steps[k]
			if s.IPVersion != 0 && s.IPVersion != i.family || !s.peer.matches(i) {
				continue
			}
			m := matched{step: s}
			self := values{&s.self, s.selfNamed, s.selfNotNamed}
			peer := values{&s.peer, c.portsOf(s.peer.named, i), c.portsOf(s.peer.notNamed, i)}
			m.source, m.destination = peer, self
			if s.selfSource {
				m.source, m.destination = self, peer
			}
			m.mention(&mentioned)
			stages[n].rules = append(stages[n].rules, m)
		}
	}
	others := p.lowerProtocol(ruleset.AnyProtocol, stages)
	out := others
	for protocol := 1; protocol < len(mentioned); protocol++ {
		if !mentioned[protocol] {
			continue
		}
		segments := p.lowerProtocol(uint8(protocol), stages)
		if len(segments) == 1 && len(others) == 1 && segments[0].sameOutcome(others[0]) {
			continue
		}
		out = append(out, segments...)
	}
	return out
}

// mention marks the protocols that the rule tells from others.
func (m *matched) mention(protocols *[256]bool) {
	protocols[m.Protocol], protocols[m.NotProtocol] = true, true
	if m.ICMP != nil || m.NotICMP != nil {
		protocols[policy.ProtocolICMP], protocols[policy.ProtocolICMPv6] = true, true
	}
	for _, e := range []values{m.source, m.destination} {
		if len(e.ports)+len(e.notPorts) > 0 {
			for _, n := range []uint8{policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite} {
				protocols[n] = true
			}
		}
	}
}

// lowerProtocol returns disjoint segments that cover the protocol; AnyProtocol is one that no rule mentions.
func (p *part) lowerProtocol(protocol uint8, stages []matchedStage) []segment {
	var out []segment
	todo := []area{{to: everything(), from: everything()}}
	for _, stage := range stages {
		var passed []area
		for n := range stage.rules {
			if len(todo) == 0 {
				break
			}
			r := &stage.rules[n]
			to, from, ok := r.spans(protocol)
			if !ok {
				continue
			}
			var rest []area
			for _, a := range todo {
				hits, misses := a.split(to, from)
				rest = append(rest, misses...)
				for _, hit := range hits {
					switch r.Action {
					case policy.ActionLog:
						if hit.log == nil {
							hit.log = r.state
						}
						rest = append(rest, hit)
					case policy.ActionPass:
						passed = append(passed, hit)
					case policy.ActionAllow:
						out = append(out, segment{protocol: protocol, area: hit, allow: true, rule: r.state})
					default:
						out = append(out, segment{protocol: protocol, area: hit, rule: r.state})
					}
				}
			}
			todo = rest
		}
		if stage.pass {
			passed = append(passed, todo...)
		} else {
			for _, a := range todo {
				out = append(out, segment{protocol: protocol, area: a, rule: stage.end})
			}
		}
		todo = passed
	}
	for _, a := range todo {
		out = append(out, segment{protocol: protocol, area: a, allow: p.allow, rule: p.profile})
	}
	return merge(out)
}

// spans returns what the rule matches of a protocol, ok is false if nothing.
func (m *matched) spans(protocol uint8) (to, from []span, ok bool) {
	if m.Protocol != 0 && m.Protocol != protocol || m.NotProtocol != 0 && m.NotProtocol == protocol {
		return nil, nil, false
	}
	if m.ICMP != nil || m.NotICMP != nil {
		if protocol != policy.ProtocolICMP && protocol != policy.ProtocolICMPv6 {
			return nil, nil, false
		}
		if to = icmpSpans(m.ICMP, m.NotICMP); len(to) == 0 {
			return nil, nil, false
		}
	}
	destination, ok := m.destination.spans(protocol)
	if !ok {
		return nil, nil, false
	}
	if to == nil {
		to = destination
	}
	from, ok = m.source.spans(protocol)
	return to, from, ok
}

func icmpSpans(is, not *policy.ICMP) []span {
	out := []span{everything()}
	block := func(i *policy.ICMP) span {
		first := uint16(i.Type) << 8
		if i.HasCode {
			return span{first | uint16(i.Code), first | uint16(i.Code)}
		}
		return span{first, first | 0xff}
	}
	if is != nil {
		out = []span{block(is)}
	}
	if not != nil {
		out = without(out, block(not))
	}
	return out
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		return true
	}
	return false
}

// spans returns the ports of one end, all of them for a protocol without ports.
func (v *values) spans(protocol uint8) ([]span, bool) {
	all := []span{everything()}
	if !hasPorts(protocol) {
		return all, len(v.ports) == 0
	}
	if len(v.ports) > 0 {
		var in []span
		for _, p := range v.ports {
			if p.Name == "" {
				in = append(in, span{p.First, p.Last})
			}
		}
		for _, p := range v.named {
			if p.protocol == protocol {
				in = append(in, span{p.port, p.port})
			}
		}
		all = union(in)
	}
	for _, p := range v.notPorts {
		if p.Name == "" {
			all = without(all, span{p.First, p.Last})
		}
	}
	for _, p := range v.notNamed {
		if p.protocol == protocol {
			all = without(all, span{p.port, p.port})
		}
	}
	return all, len(all) > 0
}

// union returns the same numbers in sorted spans that do not touch.
func union(in []span) []span {
	slices.SortFunc(in, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	out := in[:0]
	for _, s := range in {
		if n := len(out); n > 0 && uint32(s.first) <= uint32(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, s.last)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func without(in []span, not span) []span {
	var out []span
	for _, s := range in {
		if not.last < s.first || s.last < not.first {
			out = append(out, s)
			continue
		}
		if s.first < not.first {
			out = append(out, span{s.first, not.first - 1})
		}
		if not.last < s.last {
			out = append(out, span{not.last + 1, s.last})
		}
	}
	return out
}

// split cuts an area into what lies in one of to and one of from, both sorted and disjoint, and the rest.
func (a area) split(to, from []span) (hits, misses []area) {
	inTo, outTo := a.to.cut(to)
	inFrom, outFrom := a.from.cut(from)
	for _, t := range outTo {
		misses = append(misses, area{t, a.from, a.log})
	}
	for _, t := range inTo {
		for _, f := range outFrom {
			misses = append(misses, area{t, f, a.log})
		}
		for _, f := range inFrom {
			hits = append(hits, area{t, f, a.log})
		}
	}
	return hits, misses
}

// cut returns the parts of s inside and outside of others, which are sorted and disjoint.
func (s span) cut(others []span) (in, out []span) {
	next := uint32(s.first)
	for _, o := range others {
		if o.last < s.first || s.last < o.first {
			continue
		}
		first, last := max(s.first, o.first), min(s.last, o.last)
		if next < uint32(first) {
			out = append(out, span{uint16(next), first - 1})
		}
		in = append(in, span{first, last})
		next = uint32(last) + 1
	}
	if next <= uint32(s.last) {
		out = append(out, span{uint16(next), s.last})
	}
	return in, out
}

// merge joins neighbours with the same outcome, and sorts.
func merge(in []segment) []segment {
	if len(in) == 1 {
		return in
	}
	in = join(in, func(s *segment) (*span, span) { return &s.to, s.from })
	return join(in, func(s *segment) (*span, span) { return &s.from, s.to })
}

// join joins segments that are neighbours along one axis and the same along the other.
func join(in []segment, axes func(*segment) (along *span, across span)) []segment {
	slices.SortFunc(in, func(a, b segment) int {
		alongA, acrossA := axes(&a)
		alongB, acrossB := axes(&b)
		return cmp.Or(cmp.Compare(acrossA.first, acrossB.first), cmp.Compare(acrossA.last, acrossB.last), cmp.Compare(alongA.first, alongB.first))
	})
	out := in[:0]
	for _, s := range in {
		if n := len(out); n > 0 {
			before, acrossBefore := axes(&out[n-1])
			along, across := axes(&s)
			if across == acrossBefore && uint32(along.first) == uint32(before.last)+1 && s.sameOutcome(out[n-1]) {
				before.last = along.last
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// both allows what a and b allow; where one denies, it is named.
func both(a, b []segment) []segment {
	byProtocol := func(in []segment) map[uint8][]segment {
		out := map[uint8][]segment{}
		for _, s := range in {
			out[s.protocol] = append(out[s.protocol], s)
		}
		return out
	}
	as, bs := byProtocol(a), byProtocol(b)
	var out []segment
	for protocol := 0; protocol <= math.MaxUint8; protocol++ {
		n := uint8(protocol)
		of := func(m map[uint8][]segment) []segment {
			if own := m[n]; own != nil {
				return own
			}
			return m[ruleset.AnyProtocol]
		}
		if as[n] == nil && bs[n] == nil {
			continue
		}
		var here []segment
		for _, x := range of(as) {
			for _, y := range of(bs) {
				if s, ok := overlap(x, y); ok {
					s.protocol = n
					here = append(here, s)
				}
			}
		}
		here = merge(here)
		if protocol > 0 && len(here) == 1 && here[0].sameOutcome(out[0]) && out[0].whole() {
			continue
		}
		out = append(out, here...)
	}
	return out
}

func overlap(x, y segment) (segment, bool) {
	out := x
	if x.allow && !y.allow {
		out = y
	}
	if out.log == nil {
		out.log = cmp.Or(x.log, y.log)
	}
	out.to = span{max(x.to.first, y.to.first), min(x.to.last, y.to.last)}
	out.from = span{max(x.from.first, y.from.first), min(x.from.last, y.from.last)}
	return out, out.to.first <= out.to.last && out.from.first <= out.from.last
}
