package enforce

import (
	"context"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
)

// Applier puts rulesets into a kernel. Its calls come from one goroutine. enforce/appliertest holds what every implementation
// has to satisfy.
//
// What a packet meets in the kernel:
//
//   - only packets that cross the FORWARD hook are judged, by the addresses that they have there: after destination translation,
//     before source translation;
//   - replies pass by conntrack, and so do ICMP errors that belong to a known connection; every packet of the original direction
//     is judged, so that a permission that was revoked cuts live connections;
//   - a packet that the ruleset denies at either end is dropped, whatever other tables say; one that it allows goes on to them.
type Applier interface {
	// Name is "bpf" or "nft".
	Name() string

	// Sync makes the kernel hold exactly r, from whatever is there: nothing, what another version of this program left, half an
	// update, somebody's edits. No packet is judged by a mixture of old and new. It does not keep r.
	Sync(ctx context.Context, r *ruleset.Ruleset) error

	// Apply brings the kernel from what was applied last to the state after the last of deltas. Each delta ends in a ruleset
	// that held at some moment; an Applier that cannot apply all of them at once applies one after the other, and each so that no
	// packet is allowed that neither the ruleset before it nor the one after it allows. After an error the kernel may hold any
	// of those states, and the caller has to Sync.
	Apply(ctx context.Context, deltas []*ruleset.Delta) error

	// Verify compares the kernel with what was applied last; a *Drift says that somebody else changed it. The caller then Syncs.
	Verify(ctx context.Context) error

	// Hits returns how often each rule decided since the rules were first loaded by this process.
	Hits(ctx context.Context) (map[ruleset.RuleID]Hits, error)

	// Watch reports denied and logged packets until ctx ends. Events are rate-limited in the kernel; what is lost is counted in
	// Event.Lost of the next one. It may be called once, beside other calls.
	Watch(ctx context.Context, report func(Event)) error

	// Lookup says what the kernel, not the ruleset in memory, would do with a new connection.
	Lookup(ctx context.Context, f ruleset.Flow) (Answer, error)

	// Close releases what the process holds. The rules stay in force.
	Close() error
}

// Drift is the error of an [Applier] whose kernel state was changed by somebody else.
type Drift struct {
	// What is missing or different, for people: "table inet saguard is gone".
	What string
}

// Error implements error.
func (d *Drift) Error() string { return "kernel state was changed by somebody else: " + d.What }

// Hits counts the packets that a rule decided. Packets that conntrack let pass as replies are not among them.
type Hits struct{ Packets uint64 }

// Event is one packet that was denied or that a rule with action Log matched. The zero value is a denied packet.
type Event struct {
	Time      time.Time
	Direction ruleset.Direction // whose program decided: the source's (egress) or the destination's (ingress)
	Allowed   bool              // only of logged packets
	Rule      ruleset.RuleID    // the rule that decided; for a logged packet the rule with action Log
	Flow      ruleset.Flow
	// Lost is the number of events that were dropped before this one since the last.
	Lost uint64
}

// Answer is what the kernel would do. The zero value denies nothing and applies nowhere: neither end is an endpoint.
type Answer struct {
	Egress, Ingress KernelDecision
	// Source and Destination are the identities that the kernel has for the addresses.
	Source, Destination ruleset.IdentityID
}

// KernelDecision is the outcome at one end. The zero value, once Applies is set, denies.
type KernelDecision struct {
	Applies bool
	Allow   bool
	Rule    ruleset.RuleID
}
