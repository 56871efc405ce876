package nft

import (
	"fmt"
	"slices"
)

// versionMark comes before the version in a set's name in the kernel.
const versionMark = "/"

// keyType is what the keys of a set are.
type keyType uint8

const (
	addressKey4 keyType = iota // 4 bytes
	addressKey6                // 16 bytes
	portKey                    // 2 bytes
)

func (k keyType) size() int { return [...]int{4, 16, 2}[k] }

// setSpec is a set without its elements.
type setSpec struct {
	key keyType
	// verdicts makes it a verdict map.
	verdicts bool
	// intervals makes its elements intervals.
	intervals bool
}

// element is what a key of a set maps to.
type element struct {
	// end is the first key beyond the interval, "" for the end of all keys or in a set without intervals.
	end string
	// chain is where the verdict goes to; "" in a set that is no map.
	chain string
}

type set struct {
	setSpec
	elements map[string]element
	refs     int
	pinned   bool
	// version is part of the name in the kernel: a set can be exchanged for another one (see [model.renew]).
	version int
}

type chain struct {
	rules  []rule
	refs   int
	pinned bool
}

// model is the content of the table in memory: what the kernel holds after the last commit. Changes are noted, so that the
// next commit writes only them. Chains and sets to which no rule and no element refers any more are collected, unless they
// are pinned.
type model struct {
	sets   map[string]*set
	chains map[string]*chain

	// What was there at the last commit of the things touched since: nil if it was not there.
	wasChain   map[string]*[]rule
	wasSet     map[string]*setSpec
	wasElement map[string]map[string]*element
	// renewed are the sets that are exchanged, by the name of the old one.
	renewed map[string]string
	// outdated are sets in the kernel that were exchanged, and the epochs since which no rule refers to them; dropped are
	// those of them that the next commit deletes.
	outdated map[string]int
	dropped  map[string]bool

	// epoch counts stretches of time that are longer than any packet takes through the chains.
	epoch int
	// The epochs since which nothing refers to a chain or set.
	orphanChains, orphanSets map[string]int
}

func newModel() *model {
	m := &model{
		sets: map[string]*set{}, chains: map[string]*chain{}, outdated: map[string]int{},
		orphanChains: map[string]int{}, orphanSets: map[string]int{},
	}
	m.committed()
	return m
}

// committed forgets what was noted: the kernel holds the model.
func (m *model) committed() {
	m.wasChain, m.wasSet, m.wasElement = map[string]*[]rule{}, map[string]*setSpec{}, map[string]map[string]*element{}
	m.renewed, m.dropped = map[string]string{}, map[string]bool{}
}

func (m *model) touchChain(name string) {
	if _, ok := m.wasChain[name]; ok {
		return
	}
	m.wasChain[name] = nil
	if c := m.chains[name]; c != nil {
		before := c.rules
		m.wasChain[name] = &before
	}
}

func (m *model) touchElement(name, key string) {
	if was, ok := m.wasSet[name]; ok && was == nil {
		return // of a new set all elements are new
	}
	noted := m.wasElement[name]
	if noted == nil {
		noted = map[string]*element{}
		m.wasElement[name] = noted
	}
	if _, ok := noted[key]; ok {
		return
	}
	if e, ok := m.sets[name].elements[key]; ok {
		noted[key] = &e
		return
	}
	noted[key] = nil
}

// setChain gives the chain its rules and makes it if it is not there.
func (m *model) setChain(name string, rules ...rule) {
	c := m.chains[name]
	if c != nil && slices.Equal(c.rules, rules) {
		return
	}
	m.touchChain(name)
	if c == nil {
		c = &chain{}
		m.chains[name] = c
		m.orphanChains[name] = m.epoch
	}
	for _, r := range rules {
		m.refer(r, 1, m.epoch)
	}
	for _, r := range c.rules {
		m.refer(r, -1, m.epoch)
	}
	c.rules = rules
}

// refer counts the references of a rule n times; what has none any more is an orphan since epoch.
func (m *model) refer(r rule, n, epoch int) {
	if r.chain != "" {
		m.referChain(r.chain, n, epoch)
	}
	if r.set == "" {
		return
	}
	s := m.sets[r.set]
	if s.refs += n; s.refs == 0 {
		m.orphanSets[r.set] = epoch
	} else {
		delete(m.orphanSets, r.set)
	}
}

func (m *model) referChain(name string, n, epoch int) {
	c := m.chains[name]
	if c.refs += n; c.refs == 0 {
		m.orphanChains[name] = epoch
	} else {
		delete(m.orphanChains, name)
	}
}

// makeSet makes an empty set if there is none of that name.
func (m *model) makeSet(name string, spec setSpec) {
	if m.sets[name] != nil {
		return
	}
	if _, ok := m.wasSet[name]; !ok {
		m.wasSet[name] = nil
	}
	m.sets[name] = &set{setSpec: spec, elements: map[string]element{}}
	m.orphanSets[name] = m.epoch
}

// put adds or replaces an element.
func (m *model) put(name, key string, e element) {
	s := m.sets[name]
	old, ok := s.elements[key]
	if ok && old == e {
		return
	}
	m.touchElement(name, key)
	if e.chain != "" {
		m.referChain(e.chain, 1, m.epoch)
	}
	if ok && old.chain != "" {
		m.referChain(old.chain, -1, m.epoch)
	}
	s.elements[key] = e
}

// remove removes an element, if it is there.
func (m *model) remove(name, key string) {
	s := m.sets[name]
	old, ok := s.elements[key]
	if !ok {
		return
	}
	m.touchElement(name, key)
	if old.chain != "" {
		m.referChain(old.chain, -1, m.epoch)
	}
	delete(s.elements, key)
}

// pin keeps a chain that nothing refers to.
func (m *model) pin(name string) { m.chains[name].pinned = true }

// pinSet keeps a set that nothing refers to.
func (m *model) pinSet(name string) { m.sets[name].pinned = true }

// unpin lets a chain go when nothing refers to it.
func (m *model) unpin(name string) {
	if c := m.chains[name]; c != nil {
		c.pinned = false
		if c.refs == 0 {
			m.orphanChains[name] = m.epoch
		}
	}
}

// kernelName is the name that a set has in the kernel.
func (m *model) kernelName(name string) string {
	if s := m.sets[name]; s != nil && s.version > 0 {
		return fmt.Sprint(name, versionMark, s.version)
	}
	return name
}

// renew exchanges all sets of which elements have changed for new ones, and writes the rules anew that refer to them: then the
// rules that a packet goes by tell which elements it finds.
func (m *model) renew() { m.renewSets(func(*set) bool { return true }) }

// renewIntervals does that with sets of intervals alone. Those are never changed in place: in the kernel's trees a lookup can
// miss an interval while others come or go beside it, before Linux 6.17 during the whole of a transaction. A network that is
// missed is denied, but an address that is missed among the strangers is not judged, which fails open.
func (m *model) renewIntervals() { m.renewSets(func(s *set) bool { return s.intervals }) }

func (m *model) renewSets(which func(*set) bool) {
	for name, noted := range m.wasElement {
		if s := m.sets[name]; s != nil && which(s) && changes(s, noted) {
			m.outdated[m.kernelName(name)] = m.epoch
			m.renewed[name] = m.kernelName(name)
			s.version++
		}
	}
	if len(m.renewed) == 0 {
		return
	}
	for name, c := range m.chains {
		if _, noted := m.wasChain[name]; !noted && slices.ContainsFunc(c.rules, func(r rule) bool { return m.renewed[r.set] != "" }) {
			m.touchChain(name)
		}
	}
}

// changes reports whether elements are not what they were.
func changes(s *set, noted map[string]*element) bool {
	for key, was := range noted {
		if now, ok := s.elements[key]; ok != (was != nil) || ok && now != *was {
			return true
		}
	}
	return false
}

// rewritten reports whether the rules of a chain that was there have to be written anew.
func (m *model) rewritten(name string) bool {
	was, now := m.wasChain[name], m.chains[name]
	if was == nil || now == nil {
		return false
	}
	return !slices.Equal(*was, now.rules) || slices.ContainsFunc(now.rules, func(r rule) bool { return m.renewed[r.set] != "" })
}

// collect removes what nothing has referred to for a whole epoch, so that no packet is on its way through it, and returns the
// names of the sets among it.
func (m *model) collect() (sets []string) {
	for name, since := range m.outdated {
		if since+1 < m.epoch {
			m.dropped[name] = true
			delete(m.outdated, name)
		}
	}
	for again := true; again; {
		again = false
		for name, since := range m.orphanChains {
			if since+1 >= m.epoch {
				continue
			}
			delete(m.orphanChains, name)
			if c := m.chains[name]; c != nil && c.refs == 0 && !c.pinned {
				m.touchChain(name)
				for _, r := range c.rules {
					m.refer(r, -1, since) // whatever led here led nowhere since then
				}
				delete(m.chains, name)
				again = true
			}
		}
		for name, since := range m.orphanSets {
			if since+1 >= m.epoch {
				continue
			}
			delete(m.orphanSets, name)
			if s := m.sets[name]; s != nil && s.refs == 0 && !s.pinned {
				m.dropped[m.kernelName(name)] = true
				m.dropSet(name, s, since)
				sets = append(sets, name)
				again = true
			}
		}
	}
	return sets
}

func (m *model) dropSet(name string, s *set, epoch int) {
	was, noted := m.wasSet[name]
	for key, e := range s.elements {
		if !noted || was != nil {
			m.touchElement(name, key)
		}
		if e.chain != "" {
			m.referChain(e.chain, -1, epoch)
		}
	}
	if !noted {
		spec := s.setSpec
		m.wasSet[name] = &spec
	}
	delete(m.sets, name)
}
