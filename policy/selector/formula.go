package selector

import (
	"cmp"
	"slices"
	"strings"
)

// GrantKind says how much of the label space a [Grant] covers. The zero kind
// is the most demanding one, so a forgotten field fails closed.
type GrantKind uint8

// The kinds of grants a formula asks for.
const (
	// GrantUnrestricted covers every label set: bind without resourceNames.
	GrantUnrestricted GrantKind = iota
	// GrantAnyValue covers the label sets in which Key is present: KEY=*.
	GrantAnyValue
	// GrantValue covers the label sets in which Key has Value: KEY=VALUE.
	GrantValue
)

// Grant is one leaf of a [Formula].
type Grant struct {
	Kind GrantKind
	// Key is the label key that the selector reads there; of an unrestricted
	// grant it only says which test asked for it, "" for all() and global().
	Key   string
	Value string // GrantValue only
}

// Covers reports whether the grant covers a thing with these labels.
func (g Grant) Covers(l Labels) bool {
	if g.Kind == GrantUnrestricted {
		return true
	}
	v, ok := l.Get(g.Key)
	return ok && (g.Kind == GrantAnyValue || v == g.Value)
}

// String returns "key=value", "key=*" or "*".
func (g Grant) String() string {
	switch g.Kind {
	case GrantValue:
		return g.Key + "=" + g.Value
	case GrantAnyValue:
		return g.Key + "=*"
	case GrantUnrestricted:
	}
	return "*"
}

// FormulaOp is the operator of a [Formula].
type FormulaOp uint8

// The operators. The zero op is a grant, and the zero grant is unrestricted:
// a zero Formula fails closed.
const (
	OpGrant FormulaOp = iota // the Grant must be held
	OpAll                    // all Terms must hold; true without terms
	OpAny                    // one of the Terms must hold; never without terms
)

// Formula says which grants someone must hold to write a selector: a pure tree,
// linear in the size of the selector.
type Formula struct {
	Op    FormulaOp
	Grant Grant     // OpGrant
	Terms []Formula // OpAll, OpAny
}

// Refs returns the authorization formula of a selector: the grants that its author
// must hold.
//
// Soundness: if a set of grants satisfies the formula, then every label set the
// selector matches is covered ([Grant.Covers]) by one grant of that set. For a
// leaf that is immediate, a negative one needing the unrestricted grant; what
// a && b selects lies inside what either selects, so either's grants will do;
// what a || b selects is covered only by both together. Negations are pushed to
// the leaves first. !all() asks for the unrestricted grant too, although it
// selects nothing: Calico rewrites all() textually in some fields, and there
// its negation selects what has no account.
//
// The selector as written is what is covered: for notSelector pass Not(s).
func Refs(s *Selector) Formula { return refs(s.node(), false) }

func refs(n *Node, negate bool) Formula {
	switch n.kind {
	case KindNot:
		return refs(n.operands[0], !negate)
	case KindAnd, KindOr:
		terms := make([]Formula, len(n.operands))
		for i, o := range n.operands {
			terms[i] = refs(o, negate)
		}
		if (n.kind == KindAnd) != negate {
			return Formula{Op: OpAny, Terms: terms}
		}
		return Formula{Op: OpAll, Terms: terms}
	case KindEq, KindNe:
		if (n.kind == KindEq) != negate {
			return grant(GrantValue, n.key, n.value)
		}
	case KindIn, KindNotIn:
		if (n.kind == KindIn) != negate {
			return grantEach(n.key, n.values)
		}
	case KindHas, KindContains, KindStartsWith, KindEndsWith:
		if !negate {
			return grant(GrantAnyValue, n.key, "")
		}
	case KindInvalid, KindAll, KindGlobal:
	}
	return grant(GrantUnrestricted, n.key, "")
}

func grant(k GrantKind, key, value string) Formula {
	return Formula{Op: OpGrant, Grant: Grant{Kind: k, Key: key, Value: value}}
}

func grantEach(key string, values []string) Formula {
	if len(values) == 1 {
		return grant(GrantValue, key, values[0])
	}
	terms := make([]Formula, len(values))
	for i, v := range values {
		terms[i] = grant(GrantValue, key, v)
	}
	return Formula{Op: OpAll, Terms: terms}
}

// Holds evaluates the formula; held answers for one grant and is asked for no
// more of them than the answer needs.
func (f Formula) Holds(held func(Grant) bool) bool {
	switch f.Op {
	case OpGrant:
		return held(f.Grant)
	case OpAll:
		for _, t := range f.Terms {
			if !t.Holds(held) {
				return false
			}
		}
		return true
	case OpAny:
		for _, t := range f.Terms {
			if t.Holds(held) {
				return true
			}
		}
	}
	return false
}

// Only returns the part of the formula about the keys that keep accepts ("" for
// all() and global()), and false if there is none. It is for selectors that mix
// account labels with others: a test of another key asks for nothing and
// permits nothing.
//
// If grants satisfy the result, then a label set that the selector matches is
// covered by one of them, or is matched for other labels alone, that is, also
// without the accepted ones.
func (f Formula) Only(keep func(key string) bool) (Formula, bool) {
	kept, part := f.only(keep)
	return kept, part != partNone
}

// part is how much of what a formula's selector matches is still covered after
// tests of other keys have been taken out.
type part uint8

const (
	partNone  part = iota // nothing is left
	partSome              // matches owed to other keys are not covered
	partWhole             // every match is covered
)

// only: under && (OpAny) one operand covers for all, but only an operand of
// which nothing was taken out; if there is none, all that is left is needed.
func (f Formula) only(keep func(key string) bool) (Formula, part) {
	if f.Op == OpGrant {
		if keep(f.Grant.Key) {
			return f, partWhole
		}
		return Formula{}, partNone
	}
	var whole, some []Formula
	for _, t := range f.Terms {
		switch kept, p := t.only(keep); p {
		case partWhole:
			whole = append(whole, kept)
		case partSome:
			some = append(some, kept)
		case partNone:
		}
	}
	switch {
	case len(whole)+len(some) == 0:
		return Formula{}, partNone
	case f.Op == OpAny && len(whole) > 0:
		return single(OpAny, whole), partWhole
	case len(whole) == len(f.Terms):
		return single(OpAll, whole), partWhole
	}
	return single(OpAll, append(whole, some...)), partSome
}

func single(op FormulaOp, terms []Formula) Formula {
	if len(terms) == 1 {
		return terms[0]
	}
	return Formula{Op: op, Terms: terms}
}

// Grants returns the grants that occur, sorted, without duplicates.
func (f Formula) Grants() []Grant {
	var grants []Grant
	f.collect(&grants)
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(grants)
}

func (f Formula) collect(grants *[]Grant) {
	if f.Op == OpGrant {
		*grants = append(*grants, f.Grant)
	}
	for _, t := range f.Terms {
		t.collect(grants)
	}
}

// String returns the formula in words: "role=a and (role=b or team=*)",
// "nothing" where no grant is needed.
func (f Formula) String() string {
	if f.Op == OpAll && len(f.Terms) == 0 {
		return "nothing"
	}
	var b strings.Builder
	f.write(&b, false)
	return b.String()
}

func (f Formula) write(b *strings.Builder, nested bool) {
	if f.Op == OpGrant {
		b.WriteString(f.Grant.String())
		return
	}
	word := " and "
	if f.Op == OpAny {
		word = " or "
	}
	if len(f.Terms) == 0 {
		b.WriteString("nothing")
		return
	}
	if nested {
		b.WriteByte('(')
	}
	for i, t := range f.Terms {
		if i > 0 {
			b.WriteString(word)
		}
		t.write(b, true)
	}
	if nested {
		b.WriteByte(')')
	}
}
