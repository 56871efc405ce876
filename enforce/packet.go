package enforce

import (
	"net/netip"
	"strings"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
)

// Party is one end of a packet, as the ruleset knows it.
type Party struct {
	Address netip.Addr
	// Pod is zero where the address is no pod's.
	Pod ruleset.Pod
	// Account is "namespace/name" of the pod's service account, "" where there is none or where several pods claim the address.
	Account string
	// Identity describes the class of addresses.
	Identity string
}

// Packet is an [Event] with the names of what it is about, as they were when it was read.
type Packet struct {
	Time      time.Time
	Direction ruleset.Direction
	Allowed   bool
	Rule      ruleset.Rule
	Flow      ruleset.Flow
	Source    Party
	Target    Party
	// Revision is of the ruleset that the names are from.
	Revision uint64
	// Lost is the number of events that were dropped before this one since the last.
	Lost uint64
}

// Packets are the denied and the logged ones. Whoever does not keep up loses some, which are counted.
func (l *Loop) Packets() <-chan Packet { return l.packets }

// resolve gives an event its names.
func (l *Loop) resolve(e Event) {
	l.o.Metrics.events.WithLabelValues(verdict(e.Allowed)).Inc()
	p := Packet{
		Time: e.Time, Direction: e.Direction, Allowed: e.Allowed, Rule: l.rules.Rules[e.Rule], Flow: e.Flow,
		Source: l.party(e.Flow.Source), Target: l.party(e.Flow.Destination), Revision: l.rules.Revision, Lost: e.Lost,
	}
	select {
	case l.packets <- p:
	default:
		l.lose(e.Lost)
	}
}

func (l *Loop) party(a netip.Addr) Party {
	a = a.Unmap()
	p := Party{Address: a}
	if !a.IsValid() {
		return p
	}
	p.Pod = l.rules.Addresses[netip.PrefixFrom(a, a.BitLen())].Pod
	identity := l.rules.Identities[l.rules.IdentityOf(a)]
	p.Identity = identity.String()
	if len(identity.Pods) == 1 && identity.Pods[0].Account != "" {
		p.Account = identity.Pods[0].Namespace + "/" + identity.Pods[0].Account
	}
	return p
}

// String returns "10.0.0.1 (pod prod/web-1, account prod/web)".
func (p Party) String() string {
	var more []string
	if p.Pod != (ruleset.Pod{}) {
		more = append(more, "pod "+p.Pod.String())
	}
	if p.Account != "" {
		more = append(more, "account "+p.Account)
	}
	if len(more) == 0 {
		return p.Address.String()
	}
	return p.Address.String() + " (" + strings.Join(more, ", ") + ")"
}

func verdict(allowed bool) string {
	if allowed {
		return "Allow"
	}
	return "Deny"
}
