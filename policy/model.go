package policy

import (
	"math"
	"net/netip"
	"strings"

	"github.com/saguard/saguard/policy/selector"
)

// DefaultTier is the tier of policies that name none; it always exists.
const DefaultTier = "default"

// DefaultTierOrder is the order of the default tier (Calico's v3.DefaultTierOrder).
const DefaultTierOrder = 1_000_000

// KubernetesOrder is the order of Kubernetes policies in the default tier (Calico's libcalico-go K8s conversion).
const KubernetesOrder = 1000

// Action is what a rule, or the end of a tier, does. The zero value is Deny.
type Action uint8

const (
	// ActionDeny ends evaluation with Deny.
	ActionDeny Action = iota
	// ActionAllow ends evaluation with Allow.
	ActionAllow
	// ActionPass leaves the tier.
	ActionPass
	// ActionLog goes on with the next rule.
	ActionLog
)

// String returns Calico's spelling; an invented action reads as "Deny", which is how it is treated.
func (a Action) String() string {
	switch a {
	case ActionAllow:
		return "Allow"
	case ActionPass:
		return "Pass"
	case ActionLog:
		return "Log"
	default:
		return "Deny"
	}
}

// Direction is ingress or egress, as seen from the endpoint that a policy selects.
type Direction uint8

const (
	// Ingress is traffic to the endpoint.
	Ingress Direction = iota
	// Egress is traffic from the endpoint.
	Egress
)

// String returns "ingress" or "egress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Tier is one tier, without its policies.
type Tier struct {
	Name string
	// Order is +Inf where the object has none: such a tier comes after all with one.
	Order float64
	// DefaultAction, ActionDeny or ActionPass, holds where policies of the tier apply and no rule decides.
	DefaultAction Action
	// Missing says that there is no such object, only policies that name it. They are enforced, after all other tiers.
	Missing bool
}

// Ref implements Resource.
func (t *Tier) Ref() Ref { return Ref{Kind: KindTier, Name: t.Name} }

// less is the order of evaluation of tiers (felix/calc/policy_sorter.go).
func (t *Tier) less(o *Tier) bool {
	if t.Missing != o.Missing {
		return o.Missing
	}
	if t.Order != o.Order {
		return t.Order < o.Order
	}
	return t.Name < o.Name
}

// Policy is one enforced policy.
type Policy struct {
	ID   Ref
	Tier string
	// Order is +Inf where the object has none. Lower comes first.
	Order float64
	// Selector says which endpoints the policy applies to: namespace, selector, namespaceSelector and
	// serviceAccountSelector in one. Only pods are ever asked.
	Selector *selector.Selector
	// Unscoped says that one of the selectors does not parse, so that Selector may select more than was meant; all
	// rules are then deny-all. Whoever enforces should report it loudly.
	Unscoped bool
	// AppliesIngress and AppliesEgress are the policy's types after defaulting.
	AppliesIngress, AppliesEgress bool
	Ingress, Egress               []Rule
}

// Ref implements Resource.
func (p *Policy) Ref() Ref { return p.ID }

// Applies reports whether the policy has a say in direction d.
func (p *Policy) Applies(d Direction) bool {
	if d == Egress {
		return p.AppliesEgress
	}
	return p.AppliesIngress
}

// Rules returns the rules of direction d, in order.
func (p *Policy) Rules(d Direction) []Rule {
	if d == Egress {
		return p.Egress
	}
	return p.Ingress
}

// Less is the order of evaluation inside a tier: by order, then by the bytes of "name/namespace/kind", so that "a-b"
// comes before "a" (felix/calc/policy_sorter.go of master, August 2026).
func (p *Policy) Less(o *Policy) bool {
	if p.Order != o.Order {
		return p.Order < o.Order
	}
	return strings.Compare(p.tieBreak(), o.tieBreak()) < 0
}

func (p *Policy) tieBreak() string { return p.ID.Name + "/" + p.ID.Namespace + "/" + p.ID.Kind }

// Rule is one rule. All its conditions have to hold; a zero condition always does.
type Rule struct {
	// Index is the rule's place in the object's list, from 0. Several rules in a row may have the same: those of one
	// Kubernetes entry, or a strict Pass and the Deny for what it matches in a possible reading alone.
	Index  int
	Action Action
	// Unparsed marks a rule that did not parse and therefore denies everything.
	Unparsed bool
	// Never marks a rule that cannot match: one with services, in Calico's semantics.
	Never bool

	IPVersion   uint8  // 4, 6, or 0 for both
	Protocol    uint8  // IP protocol number, 0 for all
	NotProtocol uint8  // 0 for none
	ICMP        *ICMP  // type and code to match
	NotICMP     *ICMP  // type and code not to match
	HTTP        *HTTP  // for the identity check alone; packets are not asked
	Source      Entity // the end that opens the connection
	Destination Entity // the end that accepts it
}

// ICMP is a condition on ICMP or ICMPv6 packets. The protocol is a condition of its own.
type ICMP struct {
	Type uint8
	Code uint8 // if HasCode
	// HasCode is false if every code matches.
	HasCode bool
}

// HTTP is a rule's http match: one of Methods and one of Paths; an empty list matches everything.
type HTTP struct {
	Methods []string // compared byte by byte; "*" is any
	Paths   []HTTPPath
}

// HTTPPath is one path of an http match; exactly one field is set.
type HTTPPath struct{ Exact, Prefix string }

// Entity is a rule's condition on one end of a connection.
type Entity struct {
	// Set is who the end has to be: selector, namespaceSelector, serviceAccounts and (folded in) notSelector of the
	// object in one. nil is anybody.
	Set *Set
	// NotSet is who the end must not be: a notSelector that stands alone, and so holds for addresses outside the cluster.
	NotSet *Set
	// Nets and NotNets are masked. Where one of them has only prefixes of the other IP version, the rule does not match
	// the packet at all.
	Nets, NotNets []netip.Prefix
	// Ports and NotPorts are alternatives.
	Ports, NotPorts []Port

	// What the object says, for the identity check, which compares a cryptographic identity as well; Set already
	// contains it. AccountNames is the list, AccountSelector is over the account's own labels, NamespaceSelector over
	// the namespace's; nil where absent.
	AccountNames      []string
	AccountSelector   *selector.Selector
	NamespaceSelector *selector.Selector
}

// Set is a set of addresses: those of pods whose labels Selector selects, and those in network sets it selects.
type Set struct {
	Selector *selector.Selector
	// Accounts says that the set is meant to hold service accounts.
	Accounts bool
	// Reading says what is done with the addresses of which that is not certain.
	Reading Reading
}

// Key is comparable: sets with the same key have the same members.
func (s *Set) Key() SetKey {
	return SetKey{Selector: s.Selector.String(), Accounts: s.Accounts, Reading: s.Reading}
}

// SetKey identifies a [Set]; Selector is the canonical form.
type SetKey struct {
	Selector string
	Accounts bool
	Reading  Reading
}

// Reading is how a set treats addresses whose membership is uncertain: those of several pods, those that a set of
// accounts gets from a network set, and those of a network set that does not parse. The zero value includes none.
type Reading uint8

const (
	// ReadingCertain leaves every uncertain address out: what an Allow may rely on. An address of several pods is a
	// member if all of them are; network sets add nothing to a set of accounts.
	ReadingCertain Reading = iota
	// ReadingPossible takes every uncertain address in: what a Deny goes by. An address of several pods is a member if
	// one of them is; a network set that does not parse holds every address.
	ReadingPossible
	// ReadingCalico is Calico's: one pod is enough, a network set's own labels are believed, and one that does not
	// parse holds what does.
	ReadingCalico
)

// Port is a range of port numbers, or a name that stands for the container ports of that name and the packet's protocol.
type Port struct {
	First, Last uint16 // inclusive; for a number they are equal
	Name        string // if not empty, First and Last are 0
}

// IP protocol numbers (IANA).
const (
	ProtocolICMP    uint8 = 1
	ProtocolTCP     uint8 = 6
	ProtocolUDP     uint8 = 17
	ProtocolICMPv6  uint8 = 58
	ProtocolSCTP    uint8 = 132
	ProtocolUDPLite uint8 = 136
)

// ProtocolNumber returns the number of a protocol that Calico knows by name, whatever the case.
func ProtocolNumber(name string) (uint8, bool) {
	switch strings.ToLower(name) {
	case "tcp":
		return ProtocolTCP, true
	case "udp":
		return ProtocolUDP, true
	case "icmp":
		return ProtocolICMP, true
	case "icmpv6":
		return ProtocolICMPv6, true
	case "sctp":
		return ProtocolSCTP, true
	case "udplite":
		return ProtocolUDPLite, true
	}
	return 0, false
}

// last is the order of what has none.
func last(order *float64) float64 {
	if order == nil {
		return math.Inf(1)
	}
	return *order
}
