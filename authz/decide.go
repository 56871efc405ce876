package authz

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Decision is the outcome of one check. The zero value denies.
type Decision struct {
	Verdict decision.Verdict
	Reason  Reason
	// Tier, Policy and Rule decided; as in [eval.Decision]. They are empty unless the reason is one of policy's.
	Tier   string
	Policy policy.Ref
	Rule   int

	// Server is the pod that was asked for; nil if it is not known.
	Server *policy.Workload
	// Client is the pod that owns the source address; nil if it is not known.
	Client *policy.Workload
	// Certified is the account that the certificate names, zero if none that counts.
	Certified identity.ServiceAccount
}

// Code is the gRPC status of the decision by name: OK, PERMISSION_DENIED or INVALID_ARGUMENT.
func (d *Decision) Code() string {
	switch {
	case d.Reason == ReasonInvalidPath:
		return "INVALID_ARGUMENT"
	case d.Verdict == decision.Allow:
		return "OK"
	default:
		return "PERMISSION_DENIED"
	}
}

// Decide decides one request to server by its ingress policies. server is "" to take the pod that owns the destination
// address, else that pod. The snapshot's semantics say which rules hold: Calico's alone predicts Calico's checker, in which
// c plays no part; every other is strict about identities.
func Decide(s *policy.Snapshot, c *Config, server ServerName, r *Request) Decision {
	return decide(s, c, server, r, plain{s})
}

// knowledge is what can be known of a snapshot before a request: all of it, or what a Memory remembers.
type knowledge interface {
	// narrow returns a snapshot that gives the ingress decision for flows like f, ports and HTTP aside; see between.
	narrow(f eval.Flow) *policy.Snapshot
	// readsAccountLabels reports whether an ingress rule for the server asks for labels of the caller's account.
	readsAccountLabels(server *policy.Workload) bool
}

type plain struct{ s *policy.Snapshot }

func (p plain) narrow(f eval.Flow) *policy.Snapshot { return between(p.s, f) }

func (p plain) readsAccountLabels(server *policy.Workload) bool {
	return readsAccountLabels(eval.Selecting(p.s, server, policy.Ingress))
}

func readsAccountLabels(s *policy.Snapshot) bool {
	reads := func(set *policy.Set) bool {
		return set != nil && slices.ContainsFunc(set.Selector.Keys(), func(key string) bool {
			return strings.HasPrefix(key, policy.PrefixServiceAccount)
		})
	}
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			for i := range p.Ingress {
				if reads(p.Ingress[i].Source.Set) || reads(p.Ingress[i].Source.NotSet) {
					return true
				}
			}
		}
	}
	return false
}

func decide(s *policy.Snapshot, c *Config, server ServerName, r *Request, k knowledge) Decision {
	if s.Semantics == policy.Calico {
		return predict(s, server, r)
	}
	f := c.gather(s, server, r)
	d := f.decision()
	if d.Reason = f.refusal(c); d.Reason != "" {
		return d
	}
	if s.ServiceAccount(d.Client.Account) == nil && k.readsAccountLabels(d.Server) {
		// The labels of an account without an object are Unknown: neither has(x) nor !has(x) is true of them.
		d.Reason = ReasonNoAccount
		return d
	}
	m := httpMatcher{http: r.HTTP, strict: true}
	flow := f.flow(r)
	judged := eval.JudgeUntraced(k.narrow(flow), flow, policy.Ingress, func(_ policy.Direction, rule *policy.Rule) bool { return m.matches(rule.HTTP) })
	d.conclude(&judged, m.invalid)
	return d
}

// conclude takes over what policy decided.
func (d *Decision) conclude(judged *eval.Decision, invalid bool) {
	d.Rule = judged.Rule
	if invalid {
		d.Reason = ReasonInvalidPath
		return
	}
	if !judged.Applies {
		d.Reason = ReasonServer
		return
	}
	d.Verdict, d.Tier, d.Policy = judged.Verdict, judged.Tier, judged.Policy
	switch {
	case d.Tier == "" && d.Verdict == decision.Allow:
		d.Reason = ReasonNoPolicy
	case d.Tier == "":
		d.Reason = ReasonNoNamespace
	case d.Rule == eval.EndOfTier:
		d.Reason = ReasonEndOfTier
	default:
		d.Reason = ReasonRule
	}
}

// facts are what a strict decision rests on. What is Unknown carries a [Reason].
type facts struct {
	server      decision.Fact[*policy.Workload]
	destination netip.Addr
	// serving is the account of the proxy's own certificate.
	serving decision.Fact[identity.ServiceAccount]

	source netip.Addr
	client decision.Fact[*policy.Workload]
	crypto decision.Fact[identity.ServiceAccount]
}

func (c *Config) gather(s *policy.Snapshot, server ServerName, r *Request) facts {
	f := facts{serving: c.cryptographic(r.Destination.Principal), crypto: c.cryptographic(c.principal(r))}
	f.server, f.destination = serverOf(s, server, &r.Destination)
	f.client, f.source = ownerOf(s, &r.Source)
	return f
}

// ownerOf is the pod that owns the peer's address.
func ownerOf(s *policy.Snapshot, p *Peer) (decision.Fact[*policy.Workload], netip.Addr) {
	a, ok := p.address()
	if !ok {
		return unknownPod(ReasonUnknownAddress), a
	}
	switch pods := s.At(a); len(pods) {
	case 0:
		return unknownPod(ReasonUnknownAddress), a
	case 1:
		return decision.Known(pods[0]), a
	default:
		return unknownPod(ReasonSharedAddress), a
	}
}

// serverOf is the pod that owns the destination address; it has to be the named one, if one is named.
func serverOf(s *policy.Snapshot, name ServerName, p *Peer) (decision.Fact[*policy.Workload], netip.Addr) {
	owner, a := ownerOf(s, p)
	w, ok := owner.Get()
	switch {
	case name == ServerName{} && !ok:
		return unknownPod(ReasonServer), a
	case name == ServerName{}:
		return owner, a
	case s.Workload(name.Namespace, name.Name) == nil:
		return unknownPod(ReasonServer), a
	case !ok || w.Namespace != name.Namespace || w.Name != name.Name:
		return unknownPod(ReasonDestinationAddress), a
	}
	return owner, a
}

func unknownPod(why Reason) decision.Fact[*policy.Workload] {
	return decision.Unknown[*policy.Workload](string(why))
}

func (f *facts) decision() Decision {
	d := Decision{Rule: eval.EndOfTier}
	d.Server, _ = f.server.Get()
	d.Client, _ = f.client.Get()
	d.Certified, _ = f.crypto.Get()
	return d
}

// refusal says why the two identities are not one account, "" if they are. Every Unknown fact refuses (fails closed).
func (f *facts) refusal(c *Config) Reason {
	server, ok := f.server.Get()
	if !ok {
		return Reason(f.server.WhyUnknown())
	}
	if c.node != "" && server.Node != c.node {
		return ReasonElsewhere
	}
	if serving, ok := f.serving.Get(); !f.serving.IsAbsent() && (!ok || serving != server.Account) {
		return ReasonDestinationIdentity
	}
	plaintext := c.plaintext[server.Namespace]
	crypto, certified := f.crypto.Get()
	switch {
	case certified || plaintext:
	case f.crypto.IsAbsent():
		return ReasonNoIdentity
	default:
		return Reason(f.crypto.WhyUnknown())
	}
	client, ok := f.client.Get()
	if !ok {
		return Reason(f.client.WhyUnknown())
	}
	if certified && crypto != client.Account {
		return ReasonMismatch
	}
	if client.Account.IsZero() {
		return ReasonNoAccount
	}
	if f.source.Is4() != f.destination.Is4() {
		return ReasonAddressFamily
	}
	return ""
}

// flow is the connection as the packet path would judge it. All facts that it needs are known.
func (f *facts) flow(r *Request) eval.Flow {
	server, _ := f.server.Get()
	client, _ := f.client.Get()
	return eval.Flow{
		Source:      eval.End{Addr: f.source, Port: r.Source.port(), Workload: client},
		Destination: eval.End{Addr: f.destination, Port: r.Destination.port(), Workload: server},
		Protocol:    r.protocol(),
		ICMP:        decision.Absent[policy.ICMP](),
	}
}

// protocol is that of the destination's socket. One that is neither TCP nor UDP has no number, and matches no rule that asks
// for a protocol.
func (r *Request) protocol() uint8 {
	switch r.Destination.Protocol {
	case "", "TCP":
		return policy.ProtocolTCP
	case "UDP":
		return policy.ProtocolUDP
	default:
		return 0
	}
}
