package selector

import "slices"

// Kind is the operator of a [Node].
type Kind uint8

// The operators. The zero Kind is invalid and selects nothing.
const (
	KindInvalid    Kind = iota
	KindEq              // key == value: false if the key is absent
	KindNe              // key != value: true if the key is absent
	KindIn              // key in {values}: false if the key is absent
	KindNotIn           // key not in {values}: true if the key is absent
	KindHas             // has(key)
	KindContains        // key contains value: false if the key is absent
	KindStartsWith      // key starts with value: false if the key is absent
	KindEndsWith        // key ends with value: false if the key is absent
	KindAll             // all(), also the empty selector
	KindGlobal          // global(): true of every label set; Calico gives it a meaning in namespaceSelector only
	KindNot             // one operand
	KindAnd             // two or more operands
	KindOr              // two or more operands
)

// String returns the operator as the canonical form spells it.
func (k Kind) String() string {
	switch k {
	case KindEq:
		return "=="
	case KindNe:
		return "!="
	case KindIn:
		return "in"
	case KindNotIn:
		return "not in"
	case KindHas:
		return "has()"
	case KindContains:
		return "contains"
	case KindStartsWith:
		return "starts with"
	case KindEndsWith:
		return "ends with"
	case KindAll:
		return "all()"
	case KindGlobal:
		return "global()"
	case KindNot:
		return "!"
	case KindAnd:
		return "&&"
	case KindOr:
		return "||"
	case KindInvalid:
		return "invalid"
	}
	return "invalid"
}

// Leaf reports whether k has no operands.
func (k Kind) Leaf() bool { return k != KindNot && k != KindAnd && k != KindOr }

// Node is one operator of a selector's syntax tree. Nodes are immutable and
// may be shared between selectors.
type Node struct {
	kind     Kind
	key      string
	value    string
	values   []string // sorted, no duplicates
	operands []*Node
}

// Kind returns the operator.
func (n *Node) Kind() Kind { return n.kind }

// Key returns the label key a leaf reads, "" for all(), global() and operators
// with operands.
func (n *Node) Key() string { return n.key }

// Value returns the right side of ==, !=, contains, starts with, ends with.
func (n *Node) Value() string { return n.value }

// Values returns a copy of the set of in and not in: byte order, no duplicates.
func (n *Node) Values() []string { return slices.Clone(n.values) }

// Operands returns a copy of the operands of !, && and ||, left to right.
func (n *Node) Operands() []*Node { return slices.Clone(n.operands) }

// walk calls visit for n and, where it returns true, for the operands.
// Recursion is bounded by hardDepth.
func (n *Node) walk(visit func(*Node) bool) {
	if !visit(n) {
		return
	}
	for _, o := range n.operands {
		o.walk(visit)
	}
}

// matchesNothing evaluates n where every label is absent.
func (n *Node) matchesNothing() bool {
	switch n.kind {
	case KindNe, KindNotIn, KindAll, KindGlobal:
		return true
	case KindNot:
		return !n.operands[0].matchesNothing()
	case KindAnd:
		for _, o := range n.operands {
			if !o.matchesNothing() {
				return false
			}
		}
		return true
	case KindOr:
		for _, o := range n.operands {
			if o.matchesNothing() {
				return true
			}
		}
	case KindInvalid, KindEq, KindIn, KindHas, KindContains, KindStartsWith, KindEndsWith:
	}
	return false
}

// appendText appends the canonical form: projectcalico/calico
// libcalico-go/lib/selector/parser/ast.go decides blanks, quotes, parentheses.
func (n *Node) appendText(b []byte) []byte {
	switch n.kind {
	case KindAll, KindGlobal:
		return append(b, n.kind.String()...)
	case KindHas:
		return append(append(append(b, "has("...), n.key...), ')')
	case KindEq, KindNe, KindContains, KindStartsWith, KindEndsWith:
		b = append(append(append(append(b, n.key...), ' '), n.kind.String()...), ' ')
		return appendQuoted(b, n.value)
	case KindIn, KindNotIn:
		b = append(append(append(append(b, n.key...), ' '), n.kind.String()...), " {"...)
		for i, v := range n.values {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendQuoted(b, v)
		}
		return append(b, '}')
	case KindNot:
		return n.operands[0].appendText(append(b, '!'))
	case KindAnd, KindOr:
		b = append(b, '(')
		for i, o := range n.operands {
			if i > 0 {
				b = append(append(append(b, ' '), n.kind.String()...), ' ')
			}
			b = o.appendText(b)
		}
		return append(b, ')')
	case KindInvalid:
	}
	return append(b, neverText...)
}

// neverText is the canonical spelling of a selector that selects nothing.
const neverText = "!all()"

// appendQuoted never meets both kinds of quotes: the parser cannot read such a
// value and the constructors refuse it.
func appendQuoted(b []byte, s string) []byte {
	q := byte('"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			q = '\''
			break
		}
	}
	return append(append(append(b, q), s...), q)
}
