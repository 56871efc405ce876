package selector

import "strings"

// maxContainsSteps bounds one proof: people's selectors take a few dozen steps, and one that takes more is not worth its
// answer.
const maxContainsSteps = 2048

// Contains reports whether s provably selects every label set that t selects. false says only that there is no proof: the
// rules below are sound and not complete, so whoever needs certainty of the contrary must not read it out of false. The zero
// value and nil, which select nothing, are contained in everything.
func (s *Selector) Contains(t *Selector) bool {
	p := prover{steps: maxContainsSteps}
	return p.implies(literal{n: t.node()}, literal{n: s.node()})
}

// literal is a node or its negation.
type literal struct {
	n      *Node
	negate bool
}

// form is a literal as a proof looks at it: no negation on top, != and "not in" as negations of == and in, and a negated
// conjunction as a disjunction of what is negated.
type form struct {
	kind Kind // KindAnd, KindOr, or that of a positive test
	literal
}

func (l literal) form() form {
	for l.n.kind == KindNot {
		l = literal{n: l.n.operands[0], negate: !l.negate}
	}
	switch k := l.n.kind; {
	case k == KindNe:
		return form{kind: KindEq, literal: literal{n: l.n, negate: !l.negate}}
	case k == KindNotIn:
		return form{kind: KindIn, literal: literal{n: l.n, negate: !l.negate}}
	case k == KindAnd && l.negate:
		return form{kind: KindOr, literal: l}
	case k == KindOr && l.negate:
		return form{kind: KindAnd, literal: l}
	default:
		return form{kind: k, literal: l}
	}
}

// every and some ask of each operand of a conjunction or disjunction.
func (f form) every(holds func(literal) bool) bool {
	for _, o := range f.n.operands {
		if !holds(literal{n: o, negate: f.negate}) {
			return false
		}
	}
	return true
}

func (f form) some(holds func(literal) bool) bool {
	return !f.every(func(o literal) bool { return !holds(o) })
}

type prover struct{ steps int }

// implies proves that whatever satisfies b satisfies a. Splitting b's disjunction and a's conjunction loses nothing; after
// that one operand of b's conjunction, or one of a's disjunction, has to do.
func (p *prover) implies(b, a literal) bool {
	if p.steps--; p.steps < 0 {
		return false
	}
	fb, fa := b.form(), a.form()
	operandOfB := func(o literal) bool { return p.implies(o, a) }
	operandOfA := func(o literal) bool { return p.implies(b, o) }
	switch {
	case constant(fa.kind) && !fa.negate, constant(fb.kind) && fb.negate:
		return true
	case fb.kind == KindOr:
		return fb.every(operandOfB)
	case fa.kind == KindAnd:
		return fa.every(operandOfA)
	case fb.kind == KindAnd && fb.some(operandOfB):
		return true
	case fa.kind == KindOr:
		return fa.some(operandOfA)
	default:
		return fb.kind != KindAnd && impliesLeaf(fb, fa)
	}
}

func constant(k Kind) bool { return k == KindAll || k == KindGlobal }

// impliesLeaf compares two tests of one key.
func impliesLeaf(b, a form) bool {
	if constant(a.kind) || constant(b.kind) || a.kind == KindInvalid || b.kind == KindInvalid || b.n.key != a.n.key {
		return false
	}
	switch {
	case !b.negate && !a.negate:
		return narrower(b, a)
	case b.negate && a.negate:
		return narrower(a, b)
	case !b.negate:
		// No value that b allows may be one that a forbids.
		values, ok := b.finite()
		for _, v := range values {
			ok = ok && !a.passes(v)
		}
		return ok
	default:
		return false // where the key is absent b holds and a does not
	}
}

// narrower proves that positive test a holds wherever positive test b of the same key does.
func narrower(b, a form) bool {
	if a.kind == KindHas {
		return true
	}
	if values, ok := b.finite(); ok {
		for _, v := range values {
			if !a.passes(v) {
				return false
			}
		}
		return true
	}
	substring := a.kind == KindContains && strings.Contains(b.n.value, a.n.value)
	switch b.kind {
	case KindContains:
		return substring
	case KindStartsWith:
		return substring || a.kind == KindStartsWith && strings.HasPrefix(b.n.value, a.n.value)
	case KindEndsWith:
		return substring || a.kind == KindEndsWith && strings.HasSuffix(b.n.value, a.n.value)
	default:
		return false
	}
}

// finite returns the values that a positive test allows, if they can be listed.
func (f form) finite() (values []string, ok bool) {
	switch f.kind {
	case KindEq:
		return []string{f.n.value}, true
	case KindIn:
		return f.n.values, true
	default:
		return nil, false
	}
}

// passes decides a positive test on the value of a label that is present.
func (f form) passes(value string) bool {
	t := test{kind: f.kind, leaf: f.n}
	return t.holds(value)
}
