package ruleset

import "net/netip"

// IDs of the parts of a ruleset; 0 is none.
type (
	IdentityID uint32
	ProgramID  uint32
	SubjectID  uint32
	RowID      uint32
	RuleID     uint32
)

// Ruleset is everything that one node has to enforce. The zero value has no endpoints, and so judges nothing.
type Ruleset struct {
	// Revision is that of the snapshot it was compiled of.
	Revision uint64
	// Identities are the classes of addresses that no rule can tell apart.
	Identities map[IdentityID]Identity
	// Addresses maps prefixes to identities: the longest that contains an address counts. Those of pods are of full
	// length; 0.0.0.0/0 and ::/0 are always there.
	Addresses map[netip.Prefix]Address
	// Endpoints are the addresses of the node's own pods. What has another address of them is judged by its prefix: see
	// [Address.Strangers].
	Endpoints map[netip.Addr]Endpoint
	// Subjects are the classes of endpoints that have their programs in common.
	Subjects map[SubjectID]Subject
	Programs map[ProgramID]*Program
	Rows     map[RowID]Row
	Rules    map[RuleID]Rule
}

// New returns a ruleset without content, to which a first [Delta] can be applied.
func New() *Ruleset {
	return &Ruleset{
		Identities: map[IdentityID]Identity{},
		Addresses:  map[netip.Prefix]Address{},
		Endpoints:  map[netip.Addr]Endpoint{},
		Subjects:   map[SubjectID]Subject{},
		Programs:   map[ProgramID]*Program{},
		Rows:       map[RowID]Row{},
		Rules:      map[RuleID]Rule{},
	}
}

// Identity says what the addresses of one class have in common. It is for people; a dataplane needs only the ID.
type Identity struct {
	// Family is 4 or 6.
	Family uint8
	// Pods are the classes of the pods that claim the address: none outside of the cluster, one, or, while an address
	// changes hands, several.
	Pods []PodClass
	// Nets names the network sets and the nets of rules that contain the address, sorted.
	Nets []string
}

// PodClass is what policies can know of a pod.
type PodClass struct {
	Namespace string
	Account   string      // "" for a mirror pod, which has none
	Labels    []Label     // those that some policy reads, by key
	Ports     []NamedPort // those whose names some policy reads, sorted
}

// Label is one label of a pod.
type Label struct{ Key, Value string }

// NamedPort is a container port that has a name.
type NamedPort struct {
	Name     string
	Protocol uint8
	Port     uint16
}

// Pod names a pod, for records.
type Pod struct{ Namespace, Name string }

// Address is what a prefix maps to.
type Address struct {
	Identity IdentityID
	// Strangers, if not 0, is what an address of this prefix is judged as that is no endpoint and has no address of full
	// length: the prefix is one of the node's own pods, and no pod is known to have that address yet, or any more. Its programs
	// have no rows but the default, and all prefixes have the same.
	Strangers SubjectID
	// Pod is the pod with that address, the first by name if there are several; zero if it is no pod's.
	Pod Pod
}

// Endpoint is a pod of the node, or a stranger's address that a rule names.
type Endpoint struct {
	Subject SubjectID
	// Pod is the pod with that address, the first by name if there are several: then the subject allows what the
	// policies of all of them allow. It is zero for a stranger.
	Pod Pod
}

// Subject is a class of endpoints.
type Subject struct {
	Ingress, Egress ProgramID
}

// Direction is as seen from the endpoint.
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

// Program is what the policies of some endpoints say about one direction.
type Program struct {
	Direction Direction
	// Policies names tiers and policies in order of evaluation ("tier default", "NetworkPolicy prod/web"), for people.
	Policies []string
	// Default4 and Default6 are the rows for identities that are not in Rows.
	Default4, Default6 RowID
	// Rows has no entry that is the default of the identity's family.
	Rows map[IdentityID]RowID
}

// Default returns the row for identities of IP version family without one of their own.
func (p *Program) Default(family uint8) RowID {
	if family == 6 {
		return p.Default6
	}
	return p.Default4
}

// Rule says where a verdict came from. It is comparable.
type Rule struct {
	// Tier is "" for the namespace's profile, which has the last word.
	Tier string
	// Policy is the kind and name of the policy; at the end of a tier it is the last of the tier that applies.
	Policy    string
	Direction Direction
	// Index is the rule's place in the object's list, or EndOfTier.
	Index int
	// Unparsed says that the rule denies because it could not be read.
	Unparsed bool
	// Vacant says that the rule denies because the other end has an address of the cluster's pods that no pod is known to
	// have. Tier and Policy are empty.
	Vacant bool
	// Stranger says that the rule is for addresses of the node's own pods that no pod is known to have: see
	// [Address.Strangers]. Tier and Policy are empty.
	Stranger bool
}

// EndOfTier is the index of a tier's default action, and of the Deny for want of a namespace.
const EndOfTier = -1
