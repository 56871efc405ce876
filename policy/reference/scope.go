package reference

import (
	"slices"

	"github.com/saguard/saguard/policy/selector"
)

// Namespaces returns the namespaces of the accounts that a part of a policy can mean: those its namespaceSelector names, the
// policy's own where it has none, and nil = any where the selector can select others, does not parse, or the policy is a
// global one (own is "" then).
func Namespaces(own, namespaceSelector string) []string { return scope(own, namespaceSelector) }

// namespacesOf returns the namespaces that a namespaceSelector names, sorted; nil where it can select others, and where it
// does not parse (fails closed). Names that are excluded, and labels of namespaces, confine nothing: tomorrow's namespace
// may have them.
func namespacesOf(text string) []string {
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		return nil
	}
	names, ok := named(s.Root(), false)
	if !ok || len(names) == 0 {
		return nil // one that selects nothing would need nothing; nobody writes that, so it is not worth trusting
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// named returns the namespaces outside of which n, negated or not, is false.
func named(n *selector.Node, negate bool) (names []string, ok bool) {
	switch kind := n.Kind(); kind {
	case selector.KindNot:
		return named(n.Operands()[0], !negate)
	case selector.KindAnd, selector.KindOr:
		return namedOperands(n, negate, (kind == selector.KindAnd) != negate)
	case selector.KindEq, selector.KindNe:
		if n.Key() == keyName && (kind == selector.KindEq) != negate {
			return []string{n.Value()}, true
		}
	case selector.KindIn, selector.KindNotIn:
		if n.Key() == keyName && (kind == selector.KindIn) != negate {
			return n.Values(), true
		}
	default:
	}
	return nil, false
}

// namedOperands: a conjunction is confined by any one operand, of which the narrowest is taken; a disjunction by all.
func namedOperands(n *selector.Node, negate, conjunction bool) (names []string, ok bool) {
	for i, o := range n.Operands() {
		more, confined := named(o, negate)
		switch {
		case conjunction && confined && (!ok || len(more) < len(names)):
			names, ok = more, true
		case conjunction:
		case !confined:
			return nil, false
		default:
			names, ok = append(names, more...), ok || i == 0
		}
	}
	return names, ok
}
