package nft

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// identityChain returns the name of the chain that an identity's packets go through, and makes it if it is not there.
func (l *lowering) identityChain(s side, id ruleset.IdentityID) string {
	of := identityName{s, id}
	if name := l.names.identities[of]; l.chains[name] != nil {
		return name
	}
	l.names.identities[of] = l.fresh(fmt.Sprintf("%s_identity_%d", s, id))
	l.buildIdentity(of)
	return l.names.identities[of]
}

// buildIdentity makes the chain of an identity: to the row of the endpoint's program, or to its default.
func (l *lowering) buildIdentity(of identityName) {
	s := of.side
	programs := map[ruleset.RowID][]ruleset.ProgramID{}
	for p, row := range l.identity(of.id).columns[s.direction] {
		programs[row] = append(programs[row], p)
	}
	var rules []rule
	if len(programs) > maxGroupRules {
		rules = append(rules, rule{family: s.family, setField: s.own(), set: l.buildIdentityRows(of), isMap: true})
	} else {
		delete(l.names.identityRows, of)
		for _, row := range slices.Sorted(maps.Keys(programs)) {
			rules = append(rules, rule{
				family: s.family, setField: s.own(), set: l.group(s, programs[row]), verdict: goTo, chain: l.row(s.direction, row),
			})
		}
	}
	l.setChain(l.names.identities[of], append(rules, rule{verdict: goTo, chain: s.defaults()})...)
}

// buildIdentityRows makes the verdict map by endpoint's address, and returns its name.
func (l *lowering) buildIdentityRows(of identityName) string {
	s := of.side
	name := l.names.identityRows[of]
	if l.sets[name] == nil {
		name = l.fresh(fmt.Sprintf("%s_rows_%d", s, of.id))
		l.names.identityRows[of] = name
		l.makeSet(name, setSpec{key: s.key(), verdicts: true})
	}
	want := map[string]bool{}
	for p, row := range l.identity(of.id).columns[s.direction] {
		chain := l.row(s.direction, row)
		for a := range l.programs[p].members {
			if familyOf(a) == s.family {
				want[addressKey(a)] = true
				l.put(name, addressKey(a), element{chain: chain})
			}
		}
	}
	for key := range l.sets[name].elements {
		if !want[key] {
			l.remove(name, key)
		}
	}
	return name
}

// group returns the name of the set of the endpoints of some programs, and makes it if it is not there.
func (l *lowering) group(s side, programs []ruleset.ProgramID) string {
	slices.Sort(programs)
	text := fmt.Sprint(s, programs)
	if name, ok := l.groupNames[text]; ok {
		return name
	}
	l.groupCount++
	name := fmt.Sprintf("%s_group_%d", s, l.groupCount)
	l.groupNames[text], l.groups[name] = name, &group{side: s, programs: programs}
	l.makeSet(name, setSpec{key: s.key()})
	for _, id := range programs {
		l.programs[id].groups[name] = true
		for a := range l.programs[id].members {
			if familyOf(a) == s.family {
				l.put(name, addressKey(a), element{})
			}
		}
	}
	return name
}

// forgetGroup forgets a set that was collected, if it is a group's.
func (l *lowering) forgetGroup(name string) {
	g := l.groups[name]
	if g == nil {
		return
	}
	delete(l.groups, name)
	delete(l.groupNames, fmt.Sprint(g.side, g.programs))
	for _, id := range g.programs {
		if p := l.programs[id]; p != nil {
			delete(p.groups, name)
		}
	}
}

// row returns the name of the chain of a row, and makes it if it is not there. A row that is missing denies by no rule.
func (l *lowering) row(d ruleset.Direction, id ruleset.RowID) string {
	of := rowName{d, id}
	if name := l.names.rows[of]; l.chains[name] != nil {
		return name
	}
	name := l.fresh(fmt.Sprintf("%s_row_%d", d, id))
	l.names.rows[of] = name
	lowered := lowerRow(name, l.rows[id], func(o outcome) string {
		o.direction = d
		return l.outcomeChain(o)
	})
	for _, m := range lowered.maps {
		l.makeSet(m.name, setSpec{key: portKey, verdicts: true, intervals: true})
		for key, e := range m.elements {
			l.put(m.name, key, e)
		}
	}
	l.setChain(name, lowered.rules...)
	return name
}

func (l *lowering) outcomeChain(o outcome) string {
	name, ok := l.names.outcomes[o]
	if ok {
		return name
	}
	name = l.fresh(o.String())
	l.names.outcomes[o] = name
	l.setChain(name, o.rules(name, l.logGroup)...)
	l.pin(name)
	if l.outcomes[o.rule] == nil {
		l.outcomes[o.rule] = map[outcome]bool{}
	}
	l.outcomes[o.rule][o] = true
	return name
}

// buildNets brings the interval maps of an IP version up to date.
func (l *lowering) buildNets(family uint8) {
	nets := map[netip.Prefix]ruleset.IdentityID{}
	for p, id := range l.nets {
		if familyOf(p.Addr()) == family {
			nets[p] = id
		}
	}
	flat := flatten(nets)
	for _, s := range sides() {
		if s.family != family {
			continue
		}
		l.setIntervals(s.nets(), flat, func(id ruleset.IdentityID) string { return l.identityChain(s, id) })
	}
}

// setIntervals makes a set hold the intervals and nothing else; chain is where those of an identity lead, "" in a set that is no map.
func (l *lowering) setIntervals(name string, all []interval, chain func(ruleset.IdentityID) string) {
	want := map[string]bool{}
	for _, i := range all {
		key, end := addressKey(i.first), ""
		if i.end.IsValid() {
			end = addressKey(i.end)
		}
		want[key] = true
		l.put(name, key, element{end: end, chain: chain(i.identity)})
	}
	for key := range l.sets[name].elements {
		if !want[key] {
			l.remove(name, key)
		}
	}
}
