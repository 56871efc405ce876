package selector

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Selector is a parsed selector: immutable, safe for concurrent use. The zero
// value and nil select nothing: they fail closed.
//
// Text and program are made when first asked for, because most selectors are
// only a part of another one, or only checked. Two goroutines may both make
// them; they are equal.
type Selector struct {
	root *Node
	text atomic.Pointer[string]
	prog atomic.Pointer[program]
}

func newSelector(root *Node) *Selector { return &Selector{root: root} }

// compiled is for a selector that is not nil.
func (s *Selector) compiled() *program {
	if p := s.prog.Load(); p != nil {
		return p
	}
	p := &program{}
	if s.root != nil {
		p = compile(s.root)
	}
	s.prog.Store(p)
	return p
}

// String returns the canonical form: what Calico calls normalized, and the
// identity of the selector's set of endpoints there. Parsing it gives the same
// selector and the same text, but for a negated negation in parentheses:
// !(!has(a)) is spelled !!has(a), which reads as has(a).
func (s *Selector) String() string {
	if s == nil || s.root == nil {
		return neverText
	}
	if t := s.text.Load(); t != nil {
		return *t
	}
	t := string(s.root.appendText(nil))
	s.text.Store(&t)
	return t
}

// Matches evaluates the selector on l; but for the first time it does not
// allocate. nil labels are no labels. A [*Set] is fastest, [Map] next, other implementations last.
func (s *Selector) Matches(l Labels) bool {
	set, ok := l.(*Set)
	if !ok || set == nil || s == nil {
		return s.matchesOther(l)
	}
	p := s.prog.Load()
	if p == nil {
		p = s.compiled()
	}
	// The loop stands here and not in a method because the call would cost as
	// much as a test. It compares interned strings by pointer and leaves
	// collisions and the rarer operators to calls.
	if set.present&p.required != p.required {
		return false
	}
	pc := p.entry
	for pc > 0 {
		t := &p.tests[pc-1]
		pc = t.no
		if set.present&t.bit == 0 {
			continue
		}
		// A bit in present means that there are places, a power of two of them.
		at := &set.places[int(t.hash)&(len(set.places)-1)]
		if at.key != t.key {
			if at = set.find(t.key, t.hash); at == nil {
				continue
			}
		}
		if at.value == t.value || t.more && t.holdsHandle(at.value) {
			pc = t.yes
		}
	}
	return pc == accept
}

func (s *Selector) matchesOther(l Labels) bool {
	if s == nil {
		return false
	}
	switch l := l.(type) {
	case Map:
		if p := s.prog.Load(); p != nil {
			return p.runMap(l)
		}
		return s.compiled().runMap(l)
	case nil, *Set: // a nil *Set
		return s.compiled().runMap(nil)
	default:
		return s.compiled().run(l)
	}
}

// MatchesUnlabelled reports whether the selector selects what has no labels at
// all. Of an account selector this means: it selects everything that has no
// service account, network sets and host endpoints included (hole F6:
// negative-only selectors, and all()).
func (s *Selector) MatchesUnlabelled() bool { return s.Root() != nil && s.root.matchesNothing() }

// Root returns the syntax tree; nil for the zero value.
func (s *Selector) Root() *Node {
	if s == nil {
		return nil
	}
	return s.root
}

// Walk visits the tree in reading order, operators before their operands, and
// skips the operands where visit returns false.
func (s *Selector) Walk(visit func(*Node) bool) {
	if s == nil || s.root == nil {
		return
	}
	s.root.walk(visit)
}

// Keys returns the label keys the selector reads: sorted, no duplicates.
func (s *Selector) Keys() []string {
	var keys []string
	s.Walk(func(n *Node) bool {
		if n.key != "" {
			keys = append(keys, n.key)
		}
		return true
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

// IsAll reports whether the selector is all() as written, not merely
// equivalent to it.
func (s *Selector) IsAll() bool { return s.Root() != nil && s.root.kind == KindAll }

// UsesGlobal reports whether global() occurs anywhere.
func (s *Selector) UsesGlobal() bool {
	found := false
	s.Walk(func(n *Node) bool {
		found = found || n.kind == KindGlobal
		return !found
	})
	return found
}

// Equal reports whether two selectors have the same canonical form.
func (s *Selector) Equal(t *Selector) bool { return s.String() == t.String() }

// Compare orders selectors by canonical form.
func Compare(a, b *Selector) int { return strings.Compare(a.String(), b.String()) }
