package selector

import (
	"slices"
	"strings"
	"unique"
)

// program is a selector flattened to positive tests with two successors each:
// no operator nodes, no recursion, no allocation at run time. &&, || and !
// exist only in where a test goes next; != and "not in" are == and in with
// their successors exchanged, which is right for an absent label, too.
//
// A successor is 1 + the index of a test, or accept, or reject. reject is the
// zero value, so an empty program selects nothing: it fails closed.
type program struct {
	entry int32
	// required are the keyBits without which nothing is selected.
	required uint64
	tests    []test
}

const (
	reject int32 = 0
	accept int32 = -1
)

// test is false where its key is absent.
type test struct {
	kind    Kind  // KindEq, KindIn, KindHas, KindContains, KindStartsWith, KindEndsWith
	more    bool  // value alone does not decide
	yes, no int32 // successors
	hash    uint32
	bit     uint64
	key     unique.Handle[string]
	value   unique.Handle[string] // KindEq; the first of KindIn; else the zero handle, which no label has
	values  []unique.Handle[string]
	leaf    *Node
}

// compile flattens n. Operands are emitted last to first, because a test
// must know its successors; so every successor lies before its test and a run
// takes at most len(tests) steps.
func compile(n *Node) *program {
	p := &program{required: required(n)}
	p.entry = p.emit(n, accept, reject)
	return p
}

func (p *program) emit(n *Node, yes, no int32) int32 {
	kind := n.kind
	switch kind {
	case KindAll, KindGlobal:
		return yes
	case KindNot:
		return p.emit(n.operands[0], no, yes)
	case KindAnd:
		for _, o := range slices.Backward(n.operands) {
			yes = p.emit(o, yes, no)
		}
		return yes
	case KindOr:
		for _, o := range slices.Backward(n.operands) {
			no = p.emit(o, yes, no)
		}
		return no
	case KindNe:
		kind, yes, no = KindEq, no, yes
	case KindNotIn:
		kind, yes, no = KindIn, no, yes
	case KindEq, KindIn, KindHas, KindContains, KindStartsWith, KindEndsWith:
	case KindInvalid:
		return reject
	}
	t := test{kind: kind, yes: yes, no: no, hash: hashKey(n.key), key: unique.Make(n.key), leaf: n}
	t.bit = keyBit(t.hash)
	if kind == KindEq {
		t.value = unique.Make(n.value)
	}
	for _, v := range n.values {
		t.values = append(t.values, unique.Make(v))
	}
	if len(t.values) > 0 {
		t.value, t.values = t.values[0], t.values[1:]
	}
	t.more = kind != KindEq && (kind != KindIn || len(t.values) > 0)
	p.tests = append(p.tests, t)
	return int32(len(p.tests))
}

// required returns the keyBits of labels that everything n selects has.
func required(n *Node) uint64 {
	switch n.kind {
	case KindEq, KindIn, KindHas, KindContains, KindStartsWith, KindEndsWith:
		return keyBit(hashKey(n.key))
	case KindAnd:
		var bits uint64
		for _, o := range n.operands {
			bits |= required(o)
		}
		return bits
	case KindOr:
		bits := ^uint64(0)
		for _, o := range n.operands {
			bits &= required(o)
		}
		return bits
	case KindInvalid, KindNe, KindNotIn, KindAll, KindGlobal, KindNot:
	}
	return 0
}

// runMap is run without the calls: the commonest tests are decided here.
func (p *program) runMap(m Map) bool {
	pc := p.entry
	for pc > 0 {
		t := &p.tests[pc-1]
		pc = t.no
		v, ok := m[t.leaf.key]
		if ok && (t.kind == KindEq && v == t.leaf.value || t.kind != KindEq && t.holds(v)) {
			pc = t.yes
		}
	}
	return pc == accept
}

func (p *program) run(l Labels) bool {
	pc := p.entry
	for pc > 0 {
		t := &p.tests[pc-1]
		if v, ok := l.Get(t.leaf.key); ok && t.holds(v) {
			pc = t.yes
		} else {
			pc = t.no
		}
	}
	return pc == accept
}

// scanBelow is where a linear scan stops being faster than a binary search.
const scanBelow = 12

// holdsHandle decides on the value of a label that is present.
func (t *test) holdsHandle(v unique.Handle[string]) bool {
	if t.kind == KindIn && len(t.values) < scanBelow {
		for _, w := range t.values {
			if v == w {
				return true
			}
		}
		return false
	}
	return t.holds(v.Value())
}

// holds decides on the value of a label that is present.
func (t *test) holds(v string) bool {
	switch t.kind {
	case KindEq:
		return v == t.leaf.value
	case KindIn:
		if len(t.leaf.values) < scanBelow {
			return slices.Contains(t.leaf.values, v)
		}
		_, ok := slices.BinarySearch(t.leaf.values, v)
		return ok
	case KindHas:
		return true
	case KindContains:
		return strings.Contains(v, t.leaf.value)
	case KindStartsWith:
		return strings.HasPrefix(v, t.leaf.value)
	case KindEndsWith:
		return strings.HasSuffix(v, t.leaf.value)
	case KindInvalid, KindNe, KindNotIn, KindAll, KindGlobal, KindNot, KindAnd, KindOr:
	}
	return false
}
