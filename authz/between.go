package authz

import (
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
	"github.com/saguard/saguard/policy/selector"
)

// between returns the snapshot by which flows between the addresses of f, whose two pods are known, are judged: that of the
// packet path, but for rules that let a pod pass although it is not in the namespace that they ask for. The packet path
// takes an address for what network sets say about it; here it is known whose the address is.
func between(s *policy.Snapshot, f eval.Flow) *policy.Snapshot {
	return eval.Between(s, f, policy.Ingress, fitting(s, f))
}

// fitting says which rules let a flow between the two pods pass.
func fitting(s *policy.Snapshot, f eval.Flow) func(*policy.Policy, *policy.Rule) bool {
	source, destination := within(s, f.Source.Workload), within(s, f.Destination.Workload)
	return func(p *policy.Policy, r *policy.Rule) bool {
		if r.Action != policy.ActionAllow && r.Action != policy.ActionPass {
			return true
		}
		return source.fits(&r.Source, p.ID.Namespace) && destination.fits(&r.Destination, p.ID.Namespace)
	}
}

// residence is the namespace that a pod is in.
type residence struct {
	name   string
	labels selector.Map // nil if there is no such object: then no selector selects it (fails closed)
}

func within(s *policy.Snapshot, w *policy.Workload) residence {
	out := residence{name: w.Namespace}
	if n := s.Namespace(w.Namespace); n != nil {
		out.labels = named(n.Labels, n.Name)
	}
	return out
}

// fits asks for the namespace that a rule means: that of its namespaceSelector; else, in a namespaced policy, that of the
// policy if the rule has a selector of any kind (app-policy/checker/match.go, computeNamespaceMatch).
func (r *residence) fits(e *policy.Entity, policyNamespace string) bool {
	switch {
	case e.NamespaceSelector != nil:
		return r.labels != nil && inNoNamespace(e.NamespaceSelector).Matches(r.labels)
	case policyNamespace != "" && e.Set != nil:
		return r.name == policyNamespace
	}
	return true
}

// inNoNamespace makes global() false: it means things that are in no namespace, and a pod is in one.
func inNoNamespace(s *selector.Selector) *selector.Selector {
	if !s.UsesGlobal() {
		return s
	}
	return s.MapLeaves(func(leaf *selector.Node) *selector.Selector {
		if leaf.Kind() == selector.KindGlobal {
			return selector.None()
		}
		return nil
	})
}
