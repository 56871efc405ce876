package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// strangerSet has the addresses that are judged though they are no endpoint's: those of the node's own prefixes that have no
// address of full length (see [ruleset.Address.Strangers]). All of them have the same program, which asks for nobody's identity,
// so their chains are a way to its row.
func strangerSet(family uint8) string { return fmt.Sprintf("strangers%d", family) }

func (s side) strangers() string { return s.String() + "_strangers" }

// setStrangers notes what strangers in a prefix are judged as, 0 for nothing.
func (l *lowering) setStrangers(p netip.Prefix, subject ruleset.SubjectID) {
	if subject == 0 {
		delete(l.strangers, p)
	} else {
		l.strangers[p] = subject
	}
	l.dirtyStrangers[familyOf(p.Addr())] = true // whatever it is: a prefix hides the one around it
}

// noteStrangers notes that the strangers have to be looked at again if some are judged as a subject that changed.
func (l *lowering) noteStrangers(changed func(ruleset.SubjectID) bool) {
	for p, id := range l.strangers {
		if changed(id) {
			l.dirtyStrangers[familyOf(p.Addr())] = true
		}
	}
}

// strangerOrKnown notes that an address may not be a stranger's any more, or may be again.
func (l *lowering) strangerOrKnown(a netip.Addr) {
	if l.amongStrangers(a) {
		l.dirtyStrangers[familyOf(a)] = true
	}
}

func (l *lowering) amongStrangers(a netip.Addr) bool {
	for p := range l.strangers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// The kinds of addresses that are told apart.
const (
	knownAddress    ruleset.IdentityID = 1
	strangerAddress ruleset.IdentityID = 2
)

// placeStrangers brings the set of strangers and their chains up to date.
func (l *lowering) placeStrangers(family uint8) {
	kinds, subject := map[netip.Prefix]ruleset.IdentityID{}, ruleset.SubjectID(0)
	for p := range l.nets {
		if familyOf(p.Addr()) != family {
			continue
		}
		kinds[p] = knownAddress
		if id := l.strangers[p]; id != 0 {
			kinds[p], subject = strangerAddress, id
		}
	}
	if subject != 0 {
		for a := range l.hosts {
			// Endpoints are asked for before.
			if _, endpoint := l.endpoints[a]; familyOf(a) == family && !endpoint && l.amongStrangers(a) {
				kinds[netip.PrefixFrom(a, a.BitLen())] = knownAddress
			}
		}
	}
	unknown := slices.DeleteFunc(flatten(kinds), func(i interval) bool { return i.identity != strangerAddress })
	l.setIntervals(strangerSet(family), unknown, func(ruleset.IdentityID) string { return "" })
	for _, s := range sides() {
		if s.family == family {
			l.setChain(s.strangers(), l.strangerRule(s, subject))
		}
	}
}

func (l *lowering) strangerRule(s side, subject ruleset.SubjectID) rule {
	if subject == 0 {
		return rule{counted: true, verdict: drop} // no packet comes here
	}
	program := l.subjects[subject].Ingress
	if s.direction == ruleset.Egress {
		program = l.subjects[subject].Egress
	}
	return rule{verdict: goTo, chain: l.defaultRow(s, program)}
}
