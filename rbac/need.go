package rbac

import "strings"

type needOp uint8

const (
	// The zero op is the formula nobody wrote.
	needNothingKnown needOp = iota
	needAsk
	needAll
	needAny
)

// Need is a formula of permissions. It is immutable. The zero Need is not met, whatever the subject may do (fails closed).
type Need struct {
	op       needOp
	question Question
	parts    []Need
}

// Ask needs one permission.
func Ask(q Question) Need { return Need{op: needAsk, question: q} }

// All needs every part; All() is met.
func All(parts ...Need) Need { return Need{op: needAll, parts: append([]Need(nil), parts...)} }

// Any needs one of the parts; Any() is not met.
func Any(parts ...Need) Need { return Need{op: needAny, parts: append([]Need(nil), parts...)} }

// Questions returns the questions that n mentions, each once, in the order of the formula.
func (n Need) Questions() []Question {
	var all []Question
	seen := map[Question]bool{}
	n.walk(func(q Question) {
		if !seen[q] {
			seen[q] = true
			all = append(all, q)
		}
	})
	return all
}

func (n Need) walk(visit func(Question)) {
	if n.op == needAsk {
		visit(n.question)
	}
	for _, p := range n.parts {
		p.walk(visit)
	}
}

// Met evaluates the formula with answers known beforehand.
func (n Need) Met(allowed func(Question) bool) bool {
	switch n.op {
	case needAsk:
		return allowed(n.question)
	case needAll:
		for _, p := range n.parts {
			if !p.Met(allowed) {
				return false
			}
		}
		return true
	case needAny:
		for _, p := range n.parts {
			if p.Met(allowed) {
				return true
			}
		}
		return false
	default:
		return false
	}
}

// String returns the formula in words, for messages: "bind serviceaccounts/labels role=web in prod or (... and ...)".
func (n Need) String() string { return n.text(false) }

func (n Need) text(nested bool) string {
	switch n.op {
	case needAsk:
		return n.question.String()
	case needAll, needAny:
		word, empty := " and ", "nothing"
		if n.op == needAny {
			word, empty = " or ", "what nobody can have"
		}
		if len(n.parts) == 0 {
			return empty
		}
		texts := make([]string, len(n.parts))
		for i, p := range n.parts {
			texts[i] = p.text(len(n.parts) > 1)
		}
		joined := strings.Join(texts, word)
		if nested && len(n.parts) > 1 {
			return "(" + joined + ")"
		}
		return joined
	default:
		return "what nobody can have"
	}
}
