package rbac

import (
	"context"

	"github.com/saguard/saguard/internal/identity"
)

// Tuple is the record of one question asked and its answer, as it goes into logs and audit annotations.
type Tuple struct {
	Verb string `json:"verb"`
	// Resource is RESOURCE or RESOURCE/SUBRESOURCE.
	Resource string `json:"resource"`
	Group    string `json:"group,omitempty"`
	// Name is Name.String(): of a label KEY=VALUE; absent if the question was for any name.
	Name string `json:"name,omitempty"`
	// Namespace is absent if the question was cluster-wide.
	Namespace string `json:"namespace,omitempty"`
	Allowed   bool   `json:"allowed"`
	GrantedBy string `json:"grantedBy,omitempty"`
	// Unanswered says that no authorizer could be asked; Allowed is false then.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Outcome is the evaluation of a Need. The zero Outcome is not met.
type Outcome struct {
	Met bool
	// Tuples has the questions asked, each once, in the order of the formula.
	Tuples []Tuple
	// Missing has the questions answered "no" that kept the Need from being met, each once, in the order of the formula; nil
	// if it is met. It does not tell "all of these" from "one of these": Unmet does.
	Missing []Question
	// Unmet is what is left of the formula to be met, as far as it was answered; the zero Need if nothing is, or nothing could help.
	Unmet Need
}

// Evaluate asks as few questions as decide need, and none twice. Any stops at its first part that is met, and takes a part that
// the Index alone meets before it asks the API server about another. All asks every part, so that Missing is complete.
//
// An error means that need could not be decided and Met is false (fails closed). A question that could not be answered is no
// error if the others decide: permissions only add up, so another part of an Any may be met, and an All with a part that is
// not met cannot be.
func (a *Authorizer) Evaluate(ctx context.Context, s identity.Subject, need Need) (Outcome, error) {
	e := &evaluation{ctx: ctx, a: a, subject: s, known: map[Question]evaluated{}}
	if a.index != nil {
		e.snapshot = a.index()
	}
	v := e.eval(need)
	out := Outcome{Met: v.met, Tuples: e.tuples}
	if v.met {
		return out, nil
	}
	if v.err != nil {
		return out, v.err
	}
	out.Unmet = v.unmet
	out.Missing = v.unmet.Questions()
	return out, nil
}

type evaluation struct {
	ctx      context.Context
	a        *Authorizer
	subject  identity.Subject
	snapshot *Index // nil if off or not synced; only a hint which part of an Any to try first
	known    map[Question]evaluated
	tuples   []Tuple
}

// evaluated is met, or unknown because of err, or else not met for want of unmet.
type evaluated struct {
	met   bool
	err   error
	unmet Need
}

func (e *evaluation) eval(n Need) evaluated {
	switch n.op {
	case needAsk:
		return e.ask(n.question)
	case needAll:
		return e.all(n.parts)
	case needAny:
		return e.any(n.parts)
	default:
		return evaluated{}
	}
}

func (e *evaluation) all(parts []Need) evaluated {
	var unmet []Need
	var failed error
	refused := false
	for _, p := range parts {
		v := e.eval(p)
		switch {
		case v.met:
		case v.err != nil:
			if failed == nil {
				failed = v.err
			}
		default:
			refused = true
			unmet = append(unmet, v.unmet)
		}
	}
	switch {
	case refused:
		return evaluated{unmet: simplify(needAll, unmet)}
	case failed != nil:
		return evaluated{err: failed}
	default:
		return evaluated{met: true}
	}
}

func (e *evaluation) any(parts []Need) evaluated {
	if e.snapshot != nil && e.a.reviewer != nil {
		for _, p := range parts {
			if p.Met(e.allowedByIndex) {
				if v := e.eval(p); v.met {
					return v
				}
			}
		}
	}
	var unmet []Need
	var failed error
	for _, p := range parts {
		v := e.eval(p)
		if v.met {
			return v
		}
		if v.err != nil {
			if failed == nil {
				failed = v.err
			}
			continue
		}
		unmet = append(unmet, v.unmet)
	}
	if failed != nil {
		return evaluated{err: failed}
	}
	return evaluated{unmet: simplify(needAny, unmet)}
}

func (e *evaluation) allowedByIndex(q Question) bool {
	_, ok := e.snapshot.Authorize(e.subject, q)
	return ok
}

func (e *evaluation) ask(q Question) evaluated {
	if v, ok := e.known[q]; ok {
		return v
	}
	answer, err := e.a.Authorize(e.ctx, e.subject, q)
	v := evaluated{met: err == nil && answer.Allowed, err: err}
	if !v.met && err == nil {
		v.unmet = Ask(q)
	}
	e.known[q] = v
	e.tuples = append(e.tuples, Tuple{
		Verb: q.Verb, Resource: q.CombinedResource(), Group: q.Group, Name: q.Name.String(), Namespace: q.Namespace,
		Allowed: v.met, GrantedBy: answer.GrantedBy(), Unanswered: err != nil,
	})
	return v
}

// simplify drops what can never be met from an Any; an All with such a part cannot be met either.
func simplify(op needOp, parts []Need) Need {
	var kept []Need
	for _, p := range parts {
		if p.op != needNothingKnown {
			kept = append(kept, p)
		}
	}
	switch {
	case len(kept) == 0 || op == needAll && len(kept) < len(parts):
		return Need{}
	case len(kept) == 1:
		return kept[0]
	default:
		return Need{op: op, parts: kept}
	}
}
