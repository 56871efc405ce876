package authz

import (
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
	"github.com/saguard/saguard/policy/selector"
)

// predict decides as Calico's checker does (app-policy/checker, master of August 2026), which never compares the principal
// with the address: a rule's conditions on accounts have to hold for the address, as on the packet path, and once more for
// the principal, if there is one that it can parse.
func predict(s *policy.Snapshot, server ServerName, r *Request) Decision {
	d := Decision{Rule: eval.EndOfTier}
	destination, _ := r.Destination.address()
	if server == (ServerName{}) {
		if pods := s.At(destination); len(pods) > 0 {
			d.Server = pods[0]
		}
	} else {
		d.Server = s.Workload(server.Namespace, server.Name)
	}
	if d.Server == nil {
		d.Reason = ReasonServer
		return d
	}
	source, _ := r.Source.address()
	if pods := s.At(source); len(pods) == 1 {
		d.Client = pods[0]
	}
	flow := eval.Flow{
		Source:      eval.End{Addr: source, Port: decision.Known(uint16(r.Source.Port))},
		Destination: eval.End{Addr: destination, Port: decision.Known(uint16(r.Destination.Port)), Workload: d.Server},
		Protocol:    r.protocol(),
		ICMP:        decision.Absent[policy.ICMP](),
	}
	p := predictor{s: s, owner: owners(s), http: httpMatcher{http: r.HTTP}}
	p.source, p.destination = p.peer(r.Source.Principal), p.peer(r.Destination.Principal)
	judged := eval.Judge(s, flow, policy.Ingress, p.matches)
	d.conclude(&judged, p.http.invalid)
	return d
}

// predictor asks for what the checker asks beside the packet path's conditions.
type predictor struct {
	s                   *policy.Snapshot
	owner               map[*policy.Rule]string
	source, destination calicoPeer
	http                httpMatcher
}

// calicoPeer is a principal as the checker sees it. Without a name it satisfies everything.
type calicoPeer struct {
	namespace, name string
	account, within selector.Map // labels; an account that is not known has none
}

// owners maps rules to the namespaces of their policies.
func owners(s *policy.Snapshot) map[*policy.Rule]string {
	out := map[*policy.Rule]string{}
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			for i := range p.Ingress {
				out[&p.Ingress[i]] = p.ID.Namespace
			}
		}
	}
	return out
}

// peer parses a principal: ^spiffe://[^/]+/ns/([^/]+)/sa/([^/]+)$ in requestcache.go.
func (p *predictor) peer(principal string) calicoPeer {
	rest, ok := strings.CutPrefix(principal, "spiffe://")
	if !ok {
		return calicoPeer{}
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 5 || parts[0] == "" || parts[1] != "ns" || parts[2] == "" || parts[3] != "sa" || parts[4] == "" {
		return calicoPeer{}
	}
	out := calicoPeer{namespace: parts[2], name: parts[4]}
	if id, err := identity.NewServiceAccount(out.namespace, out.name); err == nil {
		if a := p.s.ServiceAccount(id); a != nil {
			out.account = named(a.Labels, a.Name)
		}
	}
	if n := p.s.Namespace(out.namespace); n != nil {
		out.within = named(n.Labels, n.Name)
	}
	return out
}

// named adds the name label that Felix derives.
func named(labels map[string]string, name string) selector.Map {
	out := selector.Map{}
	for k, v := range labels {
		out[k] = v
	}
	out[policy.LabelName] = name
	return out
}

func (p *predictor) matches(_ policy.Direction, r *policy.Rule) bool {
	namespace := p.owner[r]
	return p.source.matches(&r.Source, namespace) && p.destination.matches(&r.Destination, namespace) && p.http.matches(r.HTTP)
}

// matches asks for the account and the namespace (match.go, matchServiceAccounts, matchNamespace).
func (c calicoPeer) matches(e *policy.Entity, policyNamespace string) bool {
	if c.name == "" {
		return true
	}
	if len(e.AccountNames) > 0 && !slices.Contains(e.AccountNames, c.name) {
		return false
	}
	if e.AccountSelector != nil && !e.AccountSelector.Matches(c.account) {
		return false
	}
	switch {
	case e.NamespaceSelector != nil:
		return e.NamespaceSelector.Matches(c.within)
	case policyNamespace != "" && e.Set != nil:
		// A selector of any kind in a namespaced policy means that namespace.
		return c.namespace == policyNamespace
	}
	return true
}
