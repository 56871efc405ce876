package shadow_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
	"github.com/saguard/saguard/policy/shadow"
)

// draw makes policies of few words, so that many of them meet.
type draw struct{ *rand.Rand }

func (r draw) of(list ...string) string { return list[r.IntN(len(list))] }

func (r draw) selector() string {
	return r.of("all()", "app == 'web'", "app in {'web','api'}", "has(app)", "app != 'db'", "pcsa.role == 'web'", "has(pcsa.role)")
}

func (r draw) end() string {
	var parts []string
	if r.IntN(3) == 0 {
		parts = append(parts, "selector: \""+r.selector()+"\"")
	}
	if r.IntN(8) == 0 {
		parts = append(parts, "notSelector: \""+r.selector()+"\"")
	}
	if r.IntN(5) == 0 {
		parts = append(parts, "serviceAccounts: {"+r.of("names: [web]", "names: [web, api]", "selector: role == 'web'", "selector: has(role)")+"}")
	}
	if r.IntN(8) == 0 {
		parts = append(parts, "namespaceSelector: "+r.of("all()", "env == 'dev'", "has(env)"))
	}
	if r.IntN(5) == 0 {
		parts = append(parts, "nets: ["+r.of("10.0.0.0/8", "10.0.0.0/16", "10.0.0.1", "10.1.0.0/16, 10.0.0.0/24", "'fd00::/16'")+"]")
	}
	if r.IntN(10) == 0 {
		parts = append(parts, "notNets: ["+r.of("10.0.0.0/16", "10.0.0.1")+"]")
	}
	return strings.Join(parts, ", ")
}

func (r draw) rule() string {
	text := "{action: " + r.of("Allow", "Allow", "Deny", "Deny", "Pass", "Log")
	ports := ""
	switch r.IntN(3) {
	case 0:
		text += ", protocol: " + r.of("TCP", "UDP")
		if r.IntN(2) == 0 {
			ports = ", ports: [" + r.of("80", "'1:100'", "'1:65535'", "http", "80, 53") + "]"
		}
	case 1:
		if r.IntN(4) == 0 {
			text += ", " + r.of("notProtocol: UDP", "ipVersion: 4", "protocol: ICMP, ipVersion: 4")
		}
	}
	return text + ", source: {" + r.end() + "}, destination: {" + strings.TrimPrefix(r.end()+ports, ", ") + "}}"
}

func (r draw) rules() string {
	var out []string
	for range r.IntN(3) + 1 {
		if r.IntN(4) == 0 {
			out = append(out, "{action: "+r.of("Allow", "Deny", "Pass")+"}")
			continue
		}
		out = append(out, r.rule())
	}
	return strings.Join(out, ", ")
}

func (r draw) policy(name string) string {
	tier := r.of("security", "default", "default", "open")
	spec := fmt.Sprintf("tier: %s, order: %d", tier, r.IntN(4))
	switch r.IntN(3) {
	case 0:
		spec += ", selector: \"" + r.selector() + "\""
	case 1:
		spec += ", serviceAccountSelector: \"" + r.of("role == 'web'", "has(role)", "role in {'web','api'}") + "\""
	}
	if r.IntN(4) > 0 {
		spec += ", ingress: [" + r.rules() + "]"
	}
	if r.IntN(3) == 0 {
		spec += ", egress: [" + r.rules() + "]"
	}
	if tier != "default" {
		name = tier + "." + name
	}
	if r.IntN(3) == 0 {
		if r.IntN(6) == 0 {
			spec += ", namespaceSelector: " + r.of("all()", "env == 'prod'")
		}
		return gnp(name, spec)
	}
	return np(name, spec)
}

// base is tiers, two namespaces, three pods in each, and a network set with addresses of pods and others.
func base() []string {
	docs := []string{
		"{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: security}, spec: {order: 100}}",
		"{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: open}, spec: {order: 200, defaultAction: Pass}}",
		"{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: s, labels: {app: web, pcsa.role: web}}, spec: {nets: [10.0.0.2/32, 192.0.2.0/24]}}",
	}
	for n, ns := range []string{"prod", "dev"} {
		docs = append(docs, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {env: %s}}}", ns, ns))
		for i, name := range []string{"web", "api", "db"} {
			docs = append(docs,
				fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s, labels: {role: %s}}}", name, ns, name),
				fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s, labels: {app: %s}}, spec: {nodeName: node, serviceAccountName: %s, containers: [{name: c, ports: [{containerPort: 80, name: http}]}]}, status: {phase: Running, podIPs: [{ip: 10.%d.0.%d}, {ip: 'fd00::1%d:%d'}]}}",
					name, ns, name, name, n, i+1, n, i+1))
		}
	}
	// A second pod claims an address.
	return append(docs, "{apiVersion: v1, kind: Pod, metadata: {name: twin, namespace: prod, labels: {app: db}}, spec: {nodeName: node, serviceAccountName: db, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}}")
}

func flows(s *policy.Snapshot) []eval.Flow {
	var out []eval.Flow
	for _, version := range []uint8{4, 6} {
		for _, to := range s.Workloads {
			for _, from := range s.Workloads {
				source, ok := from.Address(version)
				destination, also := to.Address(version)
				if !ok || !also || from.Namespace != "prod" && to.Namespace != "prod" {
					continue
				}
				f := eval.Flow{Source: eval.End{Addr: source, Workload: from}, Destination: eval.End{Addr: destination, Workload: to}}
				for _, protocol := range []uint8{policy.ProtocolTCP, policy.ProtocolUDP} {
					for _, port := range []uint16{80, 53, 8080} {
						f.Protocol, f.ICMP = protocol, decision.Absent[policy.ICMP]()
						f.Destination.Port = decision.Known(port)
						f.Source.Port = decision.Known[uint16](80)
						if port == 53 {
							f.Source.Port = decision.Unknown[uint16]("not told")
						}
						out = append(out, f)
					}
				}
			}
		}
	}
	return out
}

// What is found is never wrong: in no semantics does a rule of the policy ever match a flow.
func TestWhatIsFoundNeverMatches(t *testing.T) {
	r := draw{rand.New(rand.NewPCG(11, 12))}
	rounds := 150
	if testing.Short() {
		rounds = 50
	}
	ground := base()
	found, crossTier := 0, 0
	for range rounds {
		var texts []string
		for i := range 6 {
			texts = append(texts, r.policy(fmt.Sprintf("p%d", i)))
		}
		snapshots := map[string]*policy.Snapshot{}
		for _, text := range texts {
			findings := shadow.Find(shadow.Candidate(decode(t, text)), others(t, knownTiers(), texts...))
			for _, f := range findings {
				found++
				p := shadow.New(decode(t, text))
				if p.Tier != f.By.Tier {
					crossTier++
				}
				for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
					s := snapshots[sem.String()]
					if s == nil {
						s = snapshot(t, sem, append(append([]string{}, ground...), texts...))
						snapshots[sem.String()] = s
					}
					for _, flow := range flows(s) {
						if step := matched(eval.Judge(s, flow, f.Direction, nil), p.ID); step != nil {
							t.Fatalf("%s of %s matches in %s semantics (%+v from %v to %v), though it was found: %s\nothers:\n%s",
								f.Direction, text, sem, *step, flow.Source, flow.Destination, said(findings), strings.Join(texts, "\n"))
						}
					}
				}
			}
		}
	}
	t.Logf("%d findings, %d of them between tiers", found, crossTier)
	if found < rounds/3 || crossTier < rounds/50 {
		t.Errorf("only %d findings, %d between tiers: the law is hardly tested", found, crossTier)
	}
}

func matched(d eval.Decision, id policy.Ref) *eval.Step {
	for i := range d.Trace {
		if s := &d.Trace[i]; s.Policy == id && s.Matched && s.Rule != eval.EndOfTier {
			return s
		}
	}
	return nil
}

func snapshot(t testing.TB, sem policy.Semantics, texts []string) *policy.Snapshot {
	t.Helper()
	var resources []policy.Resource
	for _, text := range texts {
		r, _ := policy.Parse(decode(t, text), sem)
		resources = append(resources, r)
	}
	return policy.NewSnapshot(1, sem, resources)
}
