// Package desired is what the kernel of one node should hold: it compiles what [state.Policies] says, event by event, so that
// every change that an enforcer is given leads from a world that was to one that is.
package desired

import (
	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// Rules is an enforce.Feed. One goroutine may use it, but for Problems.
type Rules struct {
	policies *state.Policies
	compiler *compile.Compiler
	node     string
	// OpenToStrangers lets packets reach the addresses of the node's own pods that no pod is known to have. It is set before the
	// first Take; without it they are not reached (fails closed).
	OpenToStrangers bool
	begun           bool
}

var _ enforce.Feed = (*Rules)(nil)

// New returns the rules of the pods on node.
func New(policies *state.Policies, node string) *Rules {
	return &Rules{policies: policies, node: node, compiler: compile.New(node, policies.Semantics())}
}

// Changed implements enforce.Feed.
func (r *Rules) Changed() <-chan struct{} { return r.policies.Changed() }

// Revision implements enforce.Feed.
func (r *Rules) Revision() uint64 { return r.policies.Revision() }

// Take implements enforce.Feed. The first time, and whenever very much waits, what waits is one change: compiling a world
// that nobody will enforce is work for nothing.
func (r *Rules) Take() ([]enforce.Change, string) {
	steps, why := r.policies.Take()
	if why != "" || len(steps) == 0 && r.begun {
		return nil, why
	}
	const many = 256
	if len(steps) == 0 {
		steps = []state.Step{{Revision: r.policies.Revision()}} // a world without objects has rules, too
	} else if !r.begun || len(steps) > many {
		steps = []state.Step{state.Merge(steps)}
	}
	r.begun = true
	changes := make([]enforce.Change, 0, len(steps))
	for i := range steps {
		changes = append(changes, r.compile(&steps[i]))
	}
	return changes, ""
}

func (r *Rules) compile(s *state.Step) enforce.Change {
	for _, c := range s.Changes {
		if c.Resource == nil {
			r.compiler.Delete(c.Ref)
		} else {
			r.compiler.Set(c.Resource)
		}
	}
	if s.PodCIDRsChanged {
		own := s.PodCIDRsByNode[r.node]
		if r.OpenToStrangers {
			own = nil
		}
		r.compiler.SetPodCIDRs(s.PodCIDRs, own...)
	}
	return enforce.Change{Delta: r.compiler.Flush(s.Revision), Received: s.Received}
}

// Problems returns what is wrong in the objects as they are together. The goroutine that calls Take may call it.
func (r *Rules) Problems() []policy.Problem { return r.compiler.Problems() }
