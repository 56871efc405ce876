package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// content is a table as a packet sees it: the model in memory, or what the kernel has.
type content interface {
	// chainRules returns the rules of a chain.
	chainRules(name string) ([]rule, error)
	// lookUp finds the element for a key in a set or verdict map.
	lookUp(set, key string) (element, bool, error)
}

// maxSteps is more than any packet takes: the kernel allows no loops.
const maxSteps = 64

var errLoop = errors.New("the chains go in circles")

// result is where a packet ended in the chains of one side.
type result struct {
	passed  bool
	outcome outcome
	// identity is that of the other end.
	identity ruleset.IdentityID
}

// answer plays the first packet of a connection through a table, through both ends also if the first denies.
func answer(c content, f ruleset.Flow) (enforce.Answer, error) {
	f.Source, f.Destination = f.Source.Unmap(), f.Destination.Unmap()
	if f.Source.Is4() != f.Destination.Is4() {
		return enforce.Answer{}, errors.New("the addresses are of different IP versions")
	}
	var out enforce.Answer
	for _, end := range []struct {
		direction ruleset.Direction
		decision  *enforce.KernelDecision
		// peer is the identity of the other end.
		peer *ruleset.IdentityID
	}{{ruleset.Egress, &out.Egress, &out.Destination}, {ruleset.Ingress, &out.Ingress, &out.Source}} {
		var err error
		if *end.decision, err = judge(c, end.direction, f); err != nil {
			return enforce.Answer{}, err
		}
		r, err := run(c, side{end.direction, familyOf(f.Source)}.String(), f)
		if err != nil {
			return enforce.Answer{}, err
		}
		*end.peer = r.identity
	}
	return out, nil
}

// judge plays the packet through the chain at the hook. What comes back from a side's chains meets the next rule, which drops.
func judge(c content, d ruleset.Direction, f ruleset.Flow) (enforce.KernelDecision, error) {
	rules, err := c.chainRules(d.String())
	if err != nil {
		return enforce.KernelDecision{}, err
	}
	out := enforce.KernelDecision{}
	for _, r := range rules {
		ok, _, err := matches(c, r, f)
		if err != nil {
			return enforce.KernelDecision{}, err
		}
		switch {
		case !ok:
		case r.verdict == jump && r.set != "":
			end, err := run(c, r.chain, f)
			if err != nil {
				return enforce.KernelDecision{}, err
			}
			out = enforce.KernelDecision{Applies: true, Allow: end.passed, Rule: end.outcome.rule}
			if end.passed {
				return out, nil
			}
		case r.verdict == drop && r.set != "":
			out.Applies = true
			return out, nil
		default:
			return enforce.KernelDecision{}, fmt.Errorf("%w: a new connection meets %q", errForeign, r)
		}
	}
	out.Allow = out.Applies // nothing dropped it
	return out, nil
}

// run plays a packet through a side's chain and those that it goes to.
func run(c content, chain string, f ruleset.Flow) (result, error) {
	var out result
	for range maxSteps {
		if o, ok := outcomeOf(chain); ok {
			out.outcome = o
		}
		if id := identityOf(chain); id != 0 {
			out.identity = id
		}
		rules, err := c.chainRules(chain)
		if err != nil {
			return result{}, err
		}
		next := ""
		for _, r := range rules {
			ok, to, err := matches(c, r, f)
			if err != nil {
				return result{}, err
			}
			if !ok {
				continue
			}
			if r.verdict == goTo {
				to = r.chain
			}
			if to == "" {
				out.passed = r.verdict == accept
				return out, nil
			}
			next = to
			break
		}
		if next == "" {
			return out, nil // back to the caller
		}
		chain = next
	}
	return result{}, errLoop
}

// matches reports whether all conditions of r hold for a new connection's packet, and where r's verdict map sends it.
func matches(c content, r rule, f ruleset.Flow) (ok bool, to string, err error) {
	family := familyOf(f.Source)
	if r.family != 0 && r.family != family || r.reply || r.states != 0 && r.states&stateNew == 0 || r.hasProtocol && r.protocol != f.Protocol {
		return false, "", nil
	}
	if r.hasSources && !r.sources.holds(f.SourcePort, hasPorts(f.Protocol)) || r.hasPorts && !r.ports.holds(portOf(f), hasPorts(f.Protocol)) {
		return false, "", nil
	}
	if r.set == "" {
		return true, "", nil
	}
	key := ""
	switch r.setField {
	case sourceAddress:
		key = addressKey(f.Source)
	case destAddress:
		key = addressKey(f.Destination)
	case destPort, icmpTypeCode:
		key = string(binary.BigEndian.AppendUint16(nil, portOf(f)))
	default:
		return false, "", fmt.Errorf("%w: set of field %d", errForeign, r.setField)
	}
	e, ok, err := c.lookUp(r.set, key)
	return ok, e.chain, err
}

func (s span) holds(port uint16, has bool) bool { return has && s.first <= port && port <= s.last }

// portOf is what segments compare with First and Last.
func portOf(f ruleset.Flow) uint16 {
	if isICMP(f.Protocol) {
		return uint16(f.ICMPType)<<8 | uint16(f.ICMPCode)
	}
	return f.Port
}

func (m *model) chainRules(name string) ([]rule, error) {
	c := m.chains[name]
	if c == nil {
		return nil, fmt.Errorf("chain %s is missing", name)
	}
	return c.rules, nil
}

func (m *model) lookUp(name, key string) (element, bool, error) {
	s := m.sets[name]
	if s == nil {
		return element{}, false, fmt.Errorf("set %s is missing", name)
	}
	e, ok := s.find(key)
	return e, ok, nil
}

// find looks a key up, in a set with intervals by the interval that holds it.
func (s *set) find(key string) (element, bool) {
	if !s.intervals {
		e, ok := s.elements[key]
		return e, ok
	}
	for start, e := range s.elements {
		if start <= key && (e.end == "" || key < e.end) {
			return e, true
		}
	}
	return element{}, false
}
