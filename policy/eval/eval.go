package eval

import (
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
)

// Condition is asked of a rule that matches the packet; if it says false, the rule does not match. The identity check
// compares methods, paths and cryptographic identities in one.
type Condition func(policy.Direction, *policy.Rule) bool

// Evaluate judges a flow at both ends.
func Evaluate(s *policy.Snapshot, f Flow) Result {
	return Result{Egress: Judge(s, f, policy.Egress, nil), Ingress: Judge(s, f, policy.Ingress, nil)}
}

// Judge judges a flow by the policies of one of its ends: the source's in direction Egress, the destination's in
// Ingress. also may be nil.
func Judge(s *policy.Snapshot, f Flow, d policy.Direction, also Condition) Decision {
	w := walk{s: s, f: &f, d: d, also: also, traced: true}
	return w.judge()
}

// JudgeUntraced is Judge without the Trace, which costs more than the rest where many policies apply.
func JudgeUntraced(s *policy.Snapshot, f Flow, d policy.Direction, also Condition) Decision {
	w := walk{s: s, f: &f, d: d, also: also}
	return w.judge()
}

// walk is one flow on its way through the policies of one end.
type walk struct {
	s      *policy.Snapshot
	f      *Flow
	d      policy.Direction
	also   Condition
	traced bool
	out    Decision
}

func (w *walk) judge() Decision {
	pod := w.f.end(w.d).Workload
	if pod == nil {
		return Decision{}
	}
	w.out = Decision{Applies: true, Rule: EndOfTier}
	for _, tier := range w.s.Tiers {
		if w.tier(tier, pod) {
			return w.out
		}
	}
	w.profile(pod)
	return w.out
}

func (w *walk) trace(s Step) {
	if w.traced {
		w.out.Trace = append(w.out.Trace, s)
	}
}

// tier walks one tier, and reports whether it decided.
func (w *walk) tier(tier policy.OrderedTier, pod *policy.Workload) bool {
	var last *policy.Policy
	for _, p := range tier.Policies {
		if !w.s.Selects(p, pod, w.d) {
			continue
		}
		last = p
		decided, pass := w.policy(tier, p)
		if decided {
			return true
		}
		if pass {
			return false
		}
	}
	if last == nil {
		return false
	}
	w.trace(Step{Tier: tier.Name, Rule: EndOfTier, Action: tier.DefaultAction, Matched: true})
	if tier.DefaultAction == policy.ActionPass {
		return false
	}
	w.out.Verdict, w.out.Tier, w.out.Policy, w.out.Rule = decision.Deny, tier.Name, last.ID, EndOfTier
	return true
}

// policy walks the rules of one policy.
func (w *walk) policy(tier policy.OrderedTier, p *policy.Policy) (decided, pass bool) {
	rules := p.Rules(w.d)
	for i := range rules {
		r := &rules[i]
		if !matches(w.s, w.f, r) || w.also != nil && !w.also(w.d, r) {
			continue
		}
		w.trace(Step{Tier: tier.Name, Policy: p.ID, Rule: r.Index, Action: r.Action, Matched: true, Unparsed: r.Unparsed})
		switch r.Action {
		case policy.ActionLog:
			continue
		case policy.ActionPass:
			return false, true
		case policy.ActionAllow:
			w.out.Verdict = decision.Allow
		default:
			w.out.Verdict = decision.Deny
		}
		w.out.Tier, w.out.Policy, w.out.Rule = tier.Name, p.ID, r.Index
		return true, false
	}
	w.trace(Step{Tier: tier.Name, Policy: p.ID, Rule: EndOfTier})
	return false, false
}

// profile is the namespace's: it allows everything. Where the namespace is missing, everything is denied
// (felix/calc/active_rules_calculator.go).
func (w *walk) profile(pod *policy.Workload) {
	out := &w.out
	out.Tier, out.Policy, out.Rule, out.Verdict = "", policy.Ref{}, EndOfTier, decision.Deny
	action := policy.ActionDeny
	if w.s.Namespace(pod.Namespace) != nil {
		out.Rule, out.Verdict, action = 0, decision.Allow, policy.ActionAllow
	}
	w.trace(Step{Rule: out.Rule, Action: action, Matched: true})
}
