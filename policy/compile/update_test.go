package compile_test

import (
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
)

// Every part of a policy counts: one that changes in one part alone is compiled again, and there and back is as before.
func TestEveryPartOfAPolicyIsNoticed(t *testing.T) {
	const around = `
{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {env: x}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: a, labels: {role: web}}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: t}, spec: {order: 1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: a, labels: {app: one}}, spec: {nodeName: local, serviceAccountName: web, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: alt, containerPort: 8081}]}]}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: two, namespace: a, labels: {app: two}}, spec: {nodeName: local, serviceAccountName: web}, status: {phase: Running, podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: q, namespace: a}, spec: {order: 5, selector: app == 'one', types: [Ingress], ingress: [{action: Deny, protocol: UDP}]}}`
	const base = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: a}
spec:
  order: 1
  selector: app == 'one'
  types: [Ingress]
  ingress:
  - action: Allow
    protocol: TCP
    source: {selector: app == 'two', notSelector: app == 'x', nets: [10.0.0.0/8], notNets: [10.9.0.0/16], ports: [7], notPorts: [70]}
    destination: {ports: [80, http], notPorts: [90]}
  - {action: Allow, protocol: ICMP, icmp: {type: 8}}
  - {action: Allow, protocol: ICMPv6, notICMP: {type: 8, code: 1}}
  - {action: Deny, notProtocol: UDP, ipVersion: 4}
  - {action: Allow}`
	cases := map[string][2]string{
		"order":                  {"order: 1", "order: 6"},
		"tier":                   {"order: 1", "order: 1\n  tier: t"},
		"selector":               {"selector: app == 'one'", "selector: app == 'two'"},
		"account selector":       {"order: 1", "order: 1\n  serviceAccountSelector: role == 'db'"},
		"types":                  {"types: [Ingress]", "types: [Ingress, Egress]"},
		"source selector":        {"app == 'two'", "app == 'one'"},
		"notSelector":            {"app == 'x'", "app == 'two'"},
		"nets":                   {"10.0.0.0/8]", "10.0.0.0/16]"},
		"notNets":                {"10.9.0.0/16", "10.0.0.0/16"},
		"source ports":           {"ports: [7]", "ports: [8]"},
		"notPorts of the source": {"[70]", "[7]"},
		"ports":                  {"[80, http]", "[81, http]"},
		"named ports":            {"[80, http]", "[80, alt]"},
		"notPorts":               {"[90]", "[80]"},
		"protocol":               {"protocol: TCP", "protocol: SCTP"},
		"action":                 {"- action: Allow", "- action: Deny"},
		"icmp type":              {"icmp: {type: 8}", "icmp: {type: 9}"},
		"icmp code":              {"icmp: {type: 8}", "icmp: {type: 8, code: 0}"},
		"notICMP":                {"code: 1", "code: 2"},
		"notProtocol":            {"notProtocol: UDP", "notProtocol: SCTP"},
		"ipVersion":              {"ipVersion: 4", "ipVersion: 6"},
		"a rule that breaks":     {"- {action: Allow}", "- {action: allow}"},
		"one rule more":          {"- {action: Allow}", "- {action: Log}\n  - {action: Allow}"},
		"one rule less":          {"\n  - {action: Allow}", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := follow("local", policy.Strict)
			for _, ch := range pods(t, around+"\n---"+base) {
				f.apply(ch)
			}
			f.flush()
			before := f.shadow.String()
			changed := strings.Replace(base, tc[0], tc[1], 1)
			f.apply(pods(t, changed)[0])
			f.flush()
			f.mustEqualCompiled(t, name)
			if f.shadow.String() == before {
				t.Errorf("the change is not seen in\n%s", before)
			}
			f.apply(pods(t, base)[0])
			f.flush()
			f.mustEqualCompiled(t, name+", undone")
			if f.shadow.String() != before {
				t.Errorf("undone it is\n%s\nwant\n%s", f.shadow, before)
			}
			f.apply(pods(t, base)[0])
			if d := f.flush(); d.Len() != 0 {
				t.Errorf("the same policy once more gave %+v", d)
			}
		})
	}
}

// IDs are indexes of maps in kernels: they stay small however much comes and goes.
func TestIDsAreUsedAgain(t *testing.T) {
	f := follow("local", policy.Strict)
	for _, ch := range pods(t, guarded) {
		f.apply(ch)
	}
	f.flush()
	highest := func() uint32 {
		most := uint32(0)
		for id := range f.shadow.Identities {
			most = max(most, uint32(id))
		}
		for id := range f.shadow.Programs {
			most = max(most, uint32(id))
		}
		for id := range f.shadow.Rows {
			most = max(most, uint32(id))
		}
		for id := range f.shadow.Rules {
			most = max(most, uint32(id))
		}
		for id := range f.shadow.Subjects {
			most = max(most, uint32(id))
		}
		return most
	}
	before := highest()
	for range 50 {
		for _, ch := range pods(t, guarded) {
			f.apply(change{ref: ch.ref})
			f.flush()
		}
		for _, ch := range pods(t, guarded) {
			f.apply(ch)
			f.flush()
		}
	}
	if most := highest(); most > 2*before {
		t.Errorf("the highest ID is %d, it was %d before pods and policies came and went", most, before)
	}
}
