package compile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// evalFlow is f for the reference evaluator, at the end whose policies are asked.
func evalFlow(f ruleset.Flow, d policy.Direction, w *policy.Workload) eval.Flow {
	out := eval.Flow{Protocol: f.Protocol}
	out.Source = eval.End{Addr: f.Source, Port: decision.Absent[uint16]()}
	out.Destination = eval.End{Addr: f.Destination, Port: decision.Absent[uint16]()}
	switch f.Protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		out.Source.Port, out.Destination.Port = decision.Known(f.SourcePort), decision.Known(f.Port)
	case policy.ProtocolICMP, policy.ProtocolICMPv6:
		out.ICMP = decision.Known(policy.ICMP{Type: f.ICMPType, Code: f.ICMPCode, HasCode: true})
	}
	if d == policy.Egress {
		out.Source.Workload = w
	} else {
		out.Destination.Workload = w
	}
	return out
}

// compare asks the evaluator and the ruleset about one flow. Where several pods of the node claim the endpoint's address,
// the ruleset has to allow exactly what all of them allow.
func compare(s *policy.Snapshot, r *ruleset.Ruleset, node string, f ruleset.Flow) error {
	egress, ingress := r.Eval(f)
	for d, got := range map[policy.Direction]ruleset.Decision{policy.Egress: egress, policy.Ingress: ingress} {
		own := f.Source
		if d == policy.Ingress {
			own = f.Destination
		}
		var want []eval.Decision
		allow := true
		for _, w := range s.At(own) {
			if w.Node == node {
				one := eval.Judge(s, evalFlow(f, d, w), d, nil)
				want = append(want, one)
				allow = allow && one.Verdict == decision.Allow
			}
		}
		if got.Applies != (len(want) > 0) {
			return fmt.Errorf("%s of %+v: applies %v, want %v", d, f, got.Applies, len(want) > 0)
		}
		if len(want) == 0 {
			continue
		}
		if got.Allow != allow {
			return fmt.Errorf("%s of %+v: got allow %v by %s, want %+v", d, f, got.Allow, got.Rule, want)
		}
		logged := slices.ContainsFunc(want, firstLog)
		if (got.Log != 0) != logged {
			return fmt.Errorf("%s of %+v: log %v, want %v: %+v", d, f, got.Log != 0, logged, want)
		}
		if len(want) > 1 {
			continue
		}
		w := want[0]
		policyName := ""
		if w.Policy != (policy.Ref{}) {
			policyName = w.Policy.String()
		}
		if got.Rule.Tier != w.Tier || got.Rule.Policy != policyName || got.Rule.Index != w.Rule || got.Rule.Direction.String() != d.String() {
			return fmt.Errorf("%s of %+v: got rule %+v, want %+v", d, f, got.Rule, w)
		}
	}
	return nil
}

func firstLog(d eval.Decision) bool {
	for _, s := range d.Trace {
		if s.Matched && s.Action == policy.ActionLog {
			return true
		}
	}
	return false
}

// mustAgree compares flows and checks the ruleset's form.
func mustAgree(t testing.TB, what string, s *policy.Snapshot, r *ruleset.Ruleset, node string, flows []ruleset.Flow) {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, r)
	}
	for _, f := range flows {
		if err := compare(s, r, node, f); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", what, err, s, r)
		}
	}
}
