package selector

import (
	"slices"
	"strings"
)

// All returns all().
func All() *Selector { return newSelector(&Node{kind: KindAll}) }

// None returns a selector that selects nothing, !all().
func None() *Selector { return Not(All()) }

// Has returns has(key). The error is a [*LiteralError].
func Has(key string) (*Selector, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return newSelector(&Node{kind: KindHas, key: key}), nil
}

// Eq returns key == value. The error is a [*LiteralError].
func Eq(key, value string) (*Selector, error) {
	if err := checkLiterals(key, value); err != nil {
		return nil, err
	}
	return newSelector(&Node{kind: KindEq, key: key, value: value}), nil
}

// In returns key in {values}; without values it selects nothing. No value can
// become syntax, whatever it contains (hole F2). The error is a
// [*LiteralError]: a value with both kinds of quotes has no text form.
func In(key string, values ...string) (*Selector, error) {
	if err := checkLiterals(key, values...); err != nil {
		return nil, err
	}
	set := slices.Clone(values)
	slices.Sort(set)
	return newSelector(&Node{kind: KindIn, key: key, values: slices.Compact(set)}), nil
}

// Not returns !(s). It does not simplify, so the canonical form is Calico's of
// "!(s)".
func Not(s *Selector) *Selector {
	return newSelector(&Node{kind: KindNot, operands: []*Node{s.node()}})
}

// And returns (s1) && (s2) && ...: the same tree as parsing that text. One
// selector is itself, none is all().
func And(selectors ...*Selector) *Selector { return compose(KindAnd, All, selectors) }

// Or returns (s1) || (s2) || ...; one selector is itself, none selects nothing.
func Or(selectors ...*Selector) *Selector { return compose(KindOr, None, selectors) }

func compose(k Kind, empty func() *Selector, selectors []*Selector) *Selector {
	switch len(selectors) {
	case 0:
		return empty()
	case 1:
		return newSelector(selectors[0].node())
	}
	operands := make([]*Node, len(selectors))
	for i, s := range selectors {
		operands[i] = s.node()
	}
	return newSelector(&Node{kind: k, operands: operands})
}

// node is the tree of s; of nil and the zero value one that selects nothing.
func (s *Selector) node() *Node {
	if s == nil || s.root == nil {
		return &Node{kind: KindNot, operands: []*Node{{kind: KindAll}}}
	}
	return s.root
}

// PrefixKeys returns the selector with prefix before every key: how Calico
// turns a service-account selector ("pcsa.") or a namespace selector ("pcns.")
// into one over an endpoint's labels.
func (s *Selector) PrefixKeys(prefix string) *Selector {
	return s.MapLeaves(func(n *Node) *Selector {
		if n.key == "" {
			return nil
		}
		m := *n
		m.key = prefix + n.key
		return &Selector{root: &m}
	})
}

// MapLeaves returns the selector with each leaf replaced by what f returns for
// it; nil keeps the leaf. So all() becomes has(projectcalico.org/namespace)
// without touching a value that happens to read "all()".
func (s *Selector) MapLeaves(f func(leaf *Node) *Selector) *Selector {
	return newSelector(mapLeaves(s.node(), f))
}

func mapLeaves(n *Node, f func(*Node) *Selector) *Node {
	if n.kind.Leaf() {
		if r := f(n); r != nil {
			return r.node()
		}
		return n
	}
	operands := make([]*Node, len(n.operands))
	for i, o := range n.operands {
		operands[i] = mapLeaves(o, f)
	}
	return &Node{kind: n.kind, operands: operands}
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKeyLength {
		return &LiteralError{Key: key}
	}
	for i := 0; i < len(key); i++ {
		if !keyByte(key[i]) {
			return &LiteralError{Key: key}
		}
	}
	return nil
}

func checkLiterals(key string, values ...string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	for _, v := range values {
		if strings.ContainsRune(v, '\'') && strings.ContainsRune(v, '"') {
			return &LiteralError{Key: key, Value: v}
		}
	}
	return nil
}
