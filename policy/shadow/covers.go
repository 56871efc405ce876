package shadow

import (
	"net/netip"
	"slices"

	"github.com/saguard/saguard/policy"
)

// decidesAlways reports whether a rule matches every packet.
func decidesAlways(r *policy.Rule) bool {
	anybody := func(e *policy.Entity) bool {
		return e.Set == nil && e.NotSet == nil && len(e.Nets)+len(e.NotNets) == 0 && anyPort(e)
	}
	return !r.Never && anyPacket(r) && anybody(&r.Source) && anybody(&r.Destination)
}

func anyPacket(r *policy.Rule) bool {
	return r.IPVersion == 0 && r.Protocol == 0 && r.NotProtocol == 0 && r.ICMP == nil && r.NotICMP == nil && r.HTTP == nil
}

func anyPort(e *policy.Entity) bool { return len(e.Ports)+len(e.NotPorts) == 0 }

// covers proves that q matches whatever r matches: each condition of q follows from those of r.
func covers(q, r *policy.Rule) bool {
	if q.Never || q.HTTP != nil {
		return false
	}
	if q.Action != policy.ActionDeny && (r.Action == policy.ActionDeny || r.Action == policy.ActionLog) && !readsAddresses(q) {
		// Where a packet does not tell what a rule asks for, it is a Deny that matches.
		return false
	}
	return (q.IPVersion == 0 || q.IPVersion == r.IPVersion) &&
		(q.Protocol == 0 || q.Protocol == r.Protocol) &&
		(q.NotProtocol == 0 || q.NotProtocol == r.NotProtocol || r.Protocol != 0 && r.Protocol != q.NotProtocol) &&
		(q.ICMP == nil || r.ICMP != nil && *q.ICMP == *r.ICMP) &&
		(q.NotICMP == nil || r.NotICMP != nil && *q.NotICMP == *r.NotICMP) &&
		coversEnd(&q.Source, &r.Source) && coversEnd(&q.Destination, &r.Destination)
}

// readsAddresses reports that a rule asks for nothing but addresses.
func readsAddresses(r *policy.Rule) bool {
	return r.Protocol == 0 && r.NotProtocol == 0 && r.ICMP == nil && r.NotICMP == nil && anyPort(&r.Source) && anyPort(&r.Destination)
}

func coversEnd(q, r *policy.Entity) bool {
	return coversSet(q.Set, r.Set) && coversNotSet(q.NotSet, r.NotSet) &&
		(len(q.Nets) == 0 || len(r.Nets) > 0 && !slices.ContainsFunc(r.Nets, func(n netip.Prefix) bool { return !inOne(q.Nets, n) })) &&
		(len(q.NotNets) == 0 || slices.Equal(q.NotNets, r.NotNets)) &&
		(len(q.Ports) == 0 || len(r.Ports) > 0 && !slices.ContainsFunc(r.Ports, func(p policy.Port) bool { return !inRange(q.Ports, p) })) &&
		(len(q.NotPorts) == 0 || slices.Equal(q.NotPorts, r.NotPorts) && !slices.ContainsFunc(q.NotPorts, named))
}

// coversSet: among sets of one reading the wider selector has all members of the narrower; what is possible includes what is
// certain; and a set of accounts may be without the network sets that another has.
func coversSet(q, r *policy.Set) bool {
	switch {
	case q == nil:
		return true
	case r == nil:
		return false
	}
	wider := q.Reading == policy.ReadingPossible || q.Reading == r.Reading && (!q.Accounts || r.Accounts)
	return wider && q.Selector.Contains(r.Selector)
}

// coversNotSet: who excludes less matches more.
func coversNotSet(q, r *policy.Set) bool {
	switch {
	case q == nil:
		return true
	case r == nil:
		return false
	}
	return coversSet(r, q)
}

// inOne reports whether one net holds all of n.
func inOne(nets []netip.Prefix, n netip.Prefix) bool {
	return slices.ContainsFunc(nets, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
}

// inRange: what a named port is depends on who is asked, so none is in any range.
func inRange(ports []policy.Port, p policy.Port) bool {
	return !named(p) && slices.ContainsFunc(ports, func(o policy.Port) bool { return !named(o) && o.First <= p.First && p.Last <= o.Last })
}

func named(p policy.Port) bool { return p.Name != "" }
