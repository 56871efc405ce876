package reachview

import (
	"math"
	"strings"

	"github.com/saguard/saguard/internal/reach"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// Party is a service account with its pods, or addresses outside of the cluster.
type Party struct {
	Name           string `json:"name"`
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// NetworkSets and Nets are of addresses outside: the sets that contain them, and their prefixes, less longer ones that
	// are others'.
	NetworkSets []string `json:"networkSets,omitempty"`
	Nets        []string `json:"nets,omitempty"`
	Pods        int      `json:"pods,omitempty"`
	Groups      []Group  `json:"groups"`
}

// Group is the pods of a party, or the addresses, that nothing tells apart.
type Group struct {
	// Name says how the group differs from the party's others; empty for the only one.
	Name      string   `json:"name,omitempty"`
	IPVersion uint8    `json:"ipVersion"`
	Pods      []string `json:"pods,omitempty"`
}

// Packets is a block of packets: of one protocol or "any", and where they are not all of it, which.
type Packets struct {
	Protocol string `json:"protocol"`
	// Except are the protocols that "any" leaves out.
	Except []string `json:"except,omitempty"`
	// Ports and SourcePorts are "80" or "80-90"; empty for all.
	Ports       string `json:"ports,omitempty"`
	SourcePorts string `json:"sourcePorts,omitempty"`
	// ICMP is "type 8" or "type 3 code 0-4"; empty for all.
	ICMP string `json:"icmp,omitempty"`
}

// By is what decided in one direction.
type By struct {
	Verdict string `json:"verdict"`
	Tier    string `json:"tier"`
	// Kind and Policy are empty for the namespace's profile, which allows what no policy decides.
	Kind string `json:"kind,omitempty"`
	// Policy is "namespace/name", or "name" of a global one; as in the answers of verdict.
	Policy string `json:"policy"`
	// Rule is the rule's place in the policy's list, from 0; -1 at the end of a tier.
	Rule int `json:"rule"`
	// Unparsed says that the rule denies because it could not be read.
	Unparsed bool `json:"unparsed,omitempty"`
}

// Way is how a verdict comes about: EgressBy is null where the source is outside of the cluster, IngressBy where the
// destination is, and both where there are no such pods.
type Way struct {
	Verdict   string `json:"verdict"`
	EgressBy  *By    `json:"egressBy"`
	IngressBy *By    `json:"ingressBy"`
}

// Pairs are every group of From with every one of To of its IP version, by name; empty is the only group.
type Pairs struct {
	From []string `json:"from"`
	To   []string `json:"to"`
}

func partyOf(p reach.Party) Party {
	out := Party{Name: p.Name, Namespace: p.Namespace, ServiceAccount: p.Account, NetworkSets: p.Sets, Pods: p.Pods}
	for _, n := range p.Nets {
		out.Nets = append(out.Nets, n.String())
	}
	for _, g := range p.Groups {
		out.Groups = append(out.Groups, Group{Name: g.Name, IPVersion: g.IPVersion, Pods: g.Pods})
	}
	return out
}

func packetsOf(b reach.Box) Packets {
	out := Packets{Protocol: reach.Box{Protocol: b.Protocol}.ProtocolText()}
	for _, p := range b.Except {
		out.Except = append(out.Except, reach.Box{Protocol: p}.ProtocolText())
	}
	destination := b
	destination.SourceFirst, destination.SourceLast = 0, math.MaxUint16
	if b.Protocol == policy.ProtocolICMP || b.Protocol == policy.ProtocolICMPv6 {
		out.ICMP = destination.PortText()
	} else {
		out.Ports = destination.PortText()
	}
	if b.SourceFirst != 0 || b.SourceLast != math.MaxUint16 {
		out.SourcePorts = reach.Box{First: b.SourceFirst, Last: b.SourceLast, SourceLast: math.MaxUint16}.PortText()
	}
	return out
}

func verdict(allow bool) string {
	if allow {
		return "Allow"
	}
	return "Deny"
}

func byOf(r *ruleset.Rule, allows bool) *By {
	if r == nil {
		return nil
	}
	kind, path, _ := strings.Cut(r.Policy, " ") // as policy.Ref.String writes it; "" for the profile
	return &By{Verdict: verdict(allows), Tier: r.Tier, Kind: kind, Policy: path, Rule: r.Index, Unparsed: r.Unparsed}
}

func wayOf(w reach.Way) Way {
	return Way{Verdict: verdict(w.Allow), EgressBy: byOf(w.Egress, w.EgressAllows), IngressBy: byOf(w.Ingress, w.IngressAllows)}
}

func pairsOf(pairs []reach.Pairs, from, to *reach.Party) []Pairs {
	var out []Pairs
	for _, p := range pairs {
		out = append(out, Pairs{From: groupNames(p.From, from), To: groupNames(p.To, to)})
	}
	return out
}

func groupNames(groups []int, of *reach.Party) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = of.Groups[g].Name
	}
	return out
}

// pairsText says which pairs in a line; groups of a party that are all there are left out.
func pairsText(pairs []reach.Pairs, from, to *reach.Party) string {
	var out []string
	for _, p := range pairs {
		var parts []string
		if len(from.Groups) > 1 && len(p.From) < len(from.Groups) {
			parts = append(parts, "from "+strings.Join(groupNames(p.From, from), " | "))
		}
		if len(to.Groups) > 1 && len(p.To) < len(to.Groups) {
			parts = append(parts, "to "+strings.Join(groupNames(p.To, to), " | "))
		}
		out = append(out, strings.Join(parts, " "))
	}
	return strings.Join(out, "; ")
}
