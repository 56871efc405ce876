package enforce

import (
	"context"
	"errors"

	"github.com/saguard/saguard/internal/ruleset"
)

// Explanation says what becomes of a new connection, and why.
type Explanation struct {
	Source, Target Party
	// Kernel is what the kernel does, at each end; KernelError says why it could not be asked.
	Egress, Ingress KernelDecision
	KernelError     string
	// The rules that the kernel names.
	EgressRule, IngressRule ruleset.Rule
	// Wanted is what the ruleset says that the kernel should do.
	WantedEgress, WantedIngress ruleset.Decision
	// Agree reports whether the kernel does what it should.
	Agree bool
	// Revision is of the ruleset.
	Revision uint64
}

type question struct {
	flow   ruleset.Flow
	answer chan<- Explanation
}

// errNoKernel says that no backend is in use.
var errNoKernel = errors.New("nothing is programmed by this agent")

// Explain asks the kernel and the ruleset about a new connection.
func (l *Loop) Explain(ctx context.Context, f ruleset.Flow) (Explanation, error) {
	answer := make(chan Explanation, 1)
	select {
	case l.questions <- question{f, answer}:
	case <-ctx.Done():
		return Explanation{}, ctx.Err()
	}
	select {
	case e := <-answer:
		return e, nil
	case <-ctx.Done():
		return Explanation{}, ctx.Err()
	}
}

func (l *Loop) explain(ctx context.Context, f ruleset.Flow) Explanation {
	e := Explanation{Source: l.party(f.Source), Target: l.party(f.Destination), Revision: l.rules.Revision}
	e.WantedEgress, e.WantedIngress = l.rules.Eval(f)
	var answer Answer
	err := errNoKernel
	if l.backend != nil && l.ever {
		err = l.call(ctx, "lookup", func(ctx context.Context) error {
			var err error
			answer, err = l.backend.Lookup(ctx, f)
			return err
		})
	}
	if err != nil {
		e.KernelError = err.Error()
		return e
	}
	e.Egress, e.Ingress = answer.Egress, answer.Ingress
	e.EgressRule, e.IngressRule = l.rules.Rules[answer.Egress.Rule], l.rules.Rules[answer.Ingress.Rule]
	e.Agree = agree(e.Egress, e.WantedEgress) && agree(e.Ingress, e.WantedIngress)
	return e
}

func agree(k KernelDecision, w ruleset.Decision) bool {
	return k.Applies == w.Applies && (!k.Applies || k.Allow == w.Allow && k.Rule == w.ID)
}
