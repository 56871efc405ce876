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
	w := f.end(d).Workload
	if w == nil {
		return Decision{}
	}
	out := Decision{Applies: true, Rule: EndOfTier}
	for _, tier := range s.Tiers {
		if out.tier(s, &f, d, tier, w, also) {
			return out
		}
	}
	out.profile(s, w)
	return out
}

// tier walks one tier, and reports whether it decided.
func (out *Decision) tier(s *policy.Snapshot, f *Flow, d policy.Direction, tier policy.OrderedTier, w *policy.Workload, also Condition) bool {
	var last *policy.Policy
	for _, p := range tier.Policies {
		if !s.Selects(p, w, d) {
			continue
		}
		last = p
		decided, pass := out.policy(s, f, d, tier, p, also)
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
	out.Trace = append(out.Trace, Step{Tier: tier.Name, Rule: EndOfTier, Action: tier.DefaultAction, Matched: true})
	if tier.DefaultAction == policy.ActionPass {
		return false
	}
	out.Verdict, out.Tier, out.Policy, out.Rule = decision.Deny, tier.Name, last.ID, EndOfTier
	return true
}

// policy walks the rules of one policy.
func (out *Decision) policy(s *policy.Snapshot, f *Flow, d policy.Direction, tier policy.OrderedTier, p *policy.Policy, also Condition) (decided, pass bool) {
	rules := p.Rules(d)
	for i := range rules {
		r := &rules[i]
		if !matches(s, f, r) || also != nil && !also(d, r) {
			continue
		}
		out.Trace = append(out.Trace, Step{
			Tier: tier.Name, Policy: p.ID, Rule: r.Index, Action: r.Action, Matched: true, Unparsed: r.Unparsed,
		})
		switch r.Action {
		case policy.ActionLog:
			continue
		case policy.ActionPass:
			return false, true
		case policy.ActionAllow:
			out.Verdict = decision.Allow
		default:
			out.Verdict = decision.Deny
		}
		out.Tier, out.Policy, out.Rule = tier.Name, p.ID, r.Index
		return true, false
	}
	out.Trace = append(out.Trace, Step{Tier: tier.Name, Policy: p.ID, Rule: EndOfTier})
	return false, false
}

// profile is the namespace's: it allows everything. Where the namespace is missing, everything is denied
// (felix/calc/active_rules_calculator.go).
func (out *Decision) profile(s *policy.Snapshot, w *policy.Workload) {
	out.Tier, out.Policy, out.Rule, out.Verdict = "", policy.Ref{}, EndOfTier, decision.Deny
	if s.Namespace(w.Namespace) != nil {
		out.Rule, out.Verdict = 0, decision.Allow
	}
	action := policy.ActionDeny
	if out.Verdict == decision.Allow {
		action = policy.ActionAllow
	}
	out.Trace = append(out.Trace, Step{Rule: out.Rule, Action: action, Matched: true})
}
