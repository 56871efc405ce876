package eval

import (
	"net/netip"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
)

// Flow is the first packet of a connection. Addresses have to be of one IP version.
type Flow struct {
	Source, Destination End
	Protocol            uint8 // IP protocol number
	ICMP                decision.Fact[policy.ICMP]
}

// End is one end of a flow.
type End struct {
	Addr netip.Addr
	// Port is the TCP, UDP, SCTP or UDPLite port, Absent for other protocols. Where it is Unknown, no Allow or Pass rule
	// that asks for it matches, and every Deny rule that does.
	Port decision.Fact[uint16]
	// Workload is the pod whose policies are asked at this end; nil if the end is not a pod.
	Workload *policy.Workload
}

// version returns 4 or 6.
func (f *Flow) version() uint8 {
	if f.Destination.Addr.Unmap().Is4() {
		return 4
	}
	return 6
}

// end returns the end that direction d's policies select.
func (f *Flow) end(d policy.Direction) End {
	if d == policy.Egress {
		return f.Source
	}
	return f.Destination
}

// EndOfTier is the rule number of a decision by a tier's default action, and of a Deny for want of a namespace.
const EndOfTier = -1

// Decision is the outcome at one end of a flow. The zero value denies.
type Decision struct {
	// Applies is false if the end is not a pod: then there is no verdict.
	Applies bool
	Verdict decision.Verdict
	// Tier decided; "" if no tier did and the namespace's profile was asked.
	Tier string
	// Policy decided; at the end of a tier it is the last policy of the tier that applies. Zero for the profile.
	Policy policy.Ref
	// Rule is the index of the deciding rule in the policy's list, or EndOfTier. The profile's only rule is 0.
	Rule  int
	Trace []Step
}

// Step is one thing that happened on the way to a decision.
type Step struct {
	Tier   string
	Policy policy.Ref // zero for the end of a tier and the profile
	Rule   int        // EndOfTier also where no rule of Policy matched
	// Action of the rule or of the end of the tier. Meaningful if Matched.
	Action  policy.Action
	Matched bool
	// Unparsed says that the rule stands for one that did not parse.
	Unparsed bool
}

// Result is the outcome at both ends.
type Result struct {
	Egress, Ingress Decision
}

// Verdict is Deny if the policies of either end deny.
func (r Result) Verdict() decision.Verdict {
	for _, d := range []Decision{r.Egress, r.Ingress} {
		if d.Applies && d.Verdict != decision.Allow {
			return decision.Deny
		}
	}
	return decision.Allow
}
