package eval_test

import (
	"testing"

	"github.com/saguard/saguard/policy"
)

// Conditions of one rule, each with a flow that passes, one that fails and, for negations, the mirror. The rule is an
// Allow in the only policy on prod/db, so what does not match is denied; both semantics agree.
func TestConditionsOfARule(t *testing.T) {
	udp := func(port uint16) flow {
		return flow{From: "prod/web", To: "prod/db", Protocol: "UDP", Port: port, SourcePort: ptr(uint16(40000))}
	}
	icmp := func(protocol string, version, kind, code uint8) flow {
		return flow{From: "prod/web", To: "prod/db", Protocol: protocol, IPVersion: version, ICMPType: &kind, ICMPCode: &code}
	}
	v6 := func(f flow) flow { f.IPVersion = 6; return f }
	cases := map[string]struct {
		rule string
		pass []flow
		fail []flow
	}{
		"an empty rule matches everything": {
			rule: `{action: Allow}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80), v6(tcp("dev/web", "prod/db", 1)), icmp("ICMP", 4, 8, 0)},
		},
		"a protocol by name and one by number": {
			rule: `{action: Allow, protocol: TCP}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)}, fail: []flow{udp(80)},
		},
		"a protocol by number in a string": {
			rule: `{action: Allow, protocol: "17"}`,
			pass: []flow{udp(80)}, fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"notProtocol is the mirror": {
			rule: `{action: Allow, notProtocol: 6}`,
			pass: []flow{udp(80), icmp("ICMP", 4, 8, 0)}, fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"ICMP by name is IPv4": {
			rule: `{action: Allow, protocol: ICMP}`,
			pass: []flow{icmp("ICMP", 4, 8, 0)}, fail: []flow{icmp("ICMPv6", 6, 128, 0), icmp("ICMP", 6, 8, 0)},
		},
		"ICMPv6 by name is IPv6": {
			rule: `{action: Allow, protocol: ICMPv6}`,
			pass: []flow{icmp("ICMPv6", 6, 128, 0)}, fail: []flow{icmp("ICMP", 4, 8, 0), icmp("ICMPv6", 4, 128, 0)},
		},
		"ICMP type with any code": {
			rule: `{action: Allow, protocol: ICMP, icmp: {type: 3}}`,
			pass: []flow{icmp("ICMP", 4, 3, 0), icmp("ICMP", 4, 3, 4)}, fail: []flow{icmp("ICMP", 4, 8, 0)},
		},
		"ICMP type and code": {
			rule: `{action: Allow, protocol: ICMP, icmp: {type: 3, code: 4}}`,
			pass: []flow{icmp("ICMP", 4, 3, 4)}, fail: []flow{icmp("ICMP", 4, 3, 0), icmp("ICMP", 4, 4, 4)},
		},
		"notICMP needs both to exclude": {
			rule: `{action: Allow, protocol: ICMP, notICMP: {type: 3, code: 4}}`,
			pass: []flow{icmp("ICMP", 4, 3, 0), icmp("ICMP", 4, 8, 4)}, fail: []flow{icmp("ICMP", 4, 3, 4)},
		},
		"an ICMP type that the flow does not tell never allows": {
			rule: `{action: Allow, protocol: ICMP, notICMP: {type: 3}}`,
			fail: []flow{{From: "prod/web", To: "prod/db", Protocol: "ICMP"}},
		},
		"ipVersion": {
			rule: `{action: Allow, ipVersion: 6}`,
			pass: []flow{v6(tcp("prod/web", "prod/db", 80))}, fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"nets of one version do not match the other": {
			rule: `{action: Allow, source: {nets: [10.0.0.0/8, 192.0.2.7]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.7", "prod/db", 80)},
			fail: []flow{v6(tcp("prod/web", "prod/db", 80)), tcp("192.0.2.8", "prod/db", 80)},
		},
		"nets are masked": {
			rule: `{action: Allow, source: {nets: [192.0.2.77/24]}}`,
			pass: []flow{tcp("192.0.2.1", "prod/db", 80)}, fail: []flow{tcp("192.0.3.77", "prod/db", 80)},
		},
		"notNets is the mirror, and does not match the other version either": {
			rule: `{action: Allow, source: {notNets: [192.0.2.0/24]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("192.0.2.1", "prod/db", 80), v6(tcp("prod/web", "prod/db", 80))},
		},
		"notNets of both versions": {
			rule: `{action: Allow, source: {notNets: [192.0.2.0/24, "2001:db8::/32"]}}`,
			pass: []flow{v6(tcp("prod/web", "prod/db", 80)), tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("2001:db8::1", "prod/db", 80)},
		},
		"ports are alternatives, ranges are inclusive": {
			rule: `{action: Allow, protocol: TCP, destination: {ports: [80, "8000:8010", http]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("prod/web", "prod/db", 8000), tcp("prod/web", "prod/db", 8010)},
			fail: []flow{tcp("prod/web", "prod/db", 7999), tcp("prod/web", "prod/db", 8011), udp(80)},
		},
		"notPorts is the mirror": {
			rule: `{action: Allow, protocol: TCP, destination: {notPorts: [81, "8000:8010"]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("prod/web", "prod/db", 8011)},
			fail: []flow{tcp("prod/web", "prod/db", 81), tcp("prod/web", "prod/db", 8000)},
		},
		"source ports": {
			rule: `{action: Allow, protocol: TCP, source: {ports: [40000]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 80, SourcePort: ptr(uint16(40001))}},
		},
		"a source port that the flow does not tell never allows": {
			rule: `{action: Allow, protocol: TCP, source: {notPorts: [1]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 80}},
		},
		"a named port needs name, number and protocol": {
			rule: `{action: Allow, destination: {ports: [http, dns]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), udp(53)},
			fail: []flow{tcp("prod/web", "prod/db", 53), udp(80), tcp("prod/web", "prod/db", 9)},
		},
		"init containers have named ports": {
			rule: `{action: Allow, protocol: TCP, destination: {ports: [init]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 81)}, fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"a named port that is excluded": {
			rule: `{action: Allow, destination: {notPorts: [http]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 81), udp(80), icmp("ICMP", 4, 8, 0)}, fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"a named port does not match a packet without ports": {
			rule: `{action: Allow, destination: {ports: [http]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)}, fail: []flow{icmp("ICMP", 4, 8, 0)},
		},
		"an address outside the cluster has no named ports": {
			rule: `{action: Allow, source: {ports: [http]}}`,
			fail: []flow{{From: "192.0.2.1", To: "prod/db", Protocol: "TCP", Port: 1, SourcePort: ptr(uint16(80))}},
			pass: []flow{{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 1, SourcePort: ptr(uint16(80))}},
		},
		"a selector is confined to the policy's namespace": {
			rule: `{action: Allow, source: {selector: app == 'web'}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), v6(tcp("prod/web", "prod/db", 80))},
			fail: []flow{tcp("dev/web", "prod/db", 80), tcp("prod/api", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"a namespaceSelector alone": {
			rule: `{action: Allow, source: {namespaceSelector: env == 'dev'}}`,
			pass: []flow{tcp("dev/web", "prod/db", 80), tcp("dev/api", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"a namespaceSelector by name, and a selector": {
			rule: `{action: Allow, source: {namespaceSelector: projectcalico.org/name == 'dev', selector: app == 'web'}}`,
			pass: []flow{tcp("dev/web", "prod/db", 80)},
			fail: []flow{tcp("dev/api", "prod/db", 80), tcp("prod/web", "prod/db", 80)},
		},
		"namespaceSelector all() is every pod and nobody else": {
			rule: `{action: Allow, source: {namespaceSelector: all()}}`,
			pass: []flow{tcp("dev/web", "prod/db", 80), tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("192.0.2.1", "prod/db", 80), tcp("198.51.100.1", "prod/db", 80)},
		},
		"namespaceSelector global() is what has no namespace": {
			rule: `{action: Allow, source: {namespaceSelector: global()}}`,
			pass: []flow{tcp("198.51.100.1", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"notSelector with a selector filters it": {
			rule: `{action: Allow, source: {selector: has(app), notSelector: app == 'web'}}`,
			pass: []flow{tcp("prod/api", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"notSelector alone still confines a namespaced policy to its namespace": {
			rule: `{action: Allow, source: {notSelector: app == 'web'}}`,
			pass: []flow{tcp("prod/api", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("dev/api", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"accounts by name": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [web, api]}}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("prod/api", "prod/db", 80)},
			fail: []flow{tcp("dev/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"accounts by label and name have to agree": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [web, api], selector: role != 'api'}}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("prod/api", "prod/db", 80)},
		},
		"an account by its name as a label": {
			rule: `{action: Allow, source: {serviceAccounts: {selector: projectcalico.org/name == 'web'}}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)}, fail: []flow{tcp("prod/api", "prod/db", 80)},
		},
		"accounts, pod labels and namespace have to agree": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [web]}, selector: has(app), namespaceSelector: env == 'dev'}}`,
			pass: []flow{tcp("dev/web", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("dev/api", "prod/db", 80)},
		},
		"a condition on the pod's own end": {
			rule: `{action: Allow, destination: {selector: app == 'web'}}`,
			fail: []flow{tcp("prod/web", "prod/db", 80)},
		},
		"http is not asked of packets": {
			rule: `{action: Allow, http: {methods: [GET], paths: [{exact: /x}]}}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
		},
	}
	sets := []string{
		`{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: g, labels: {set: g}}, spec: {nets: [198.51.100.0/24]}}`,
		`{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: empty}, spec: {}}`,
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				docs := append([]string{np("p", "["+tc.rule+"]")}, sets...)
				for want, flows := range map[string][]flow{"Allow": tc.pass, "Deny": tc.fail} {
					for _, f := range flows {
						if r := verdict(t, sem, f, docs...); r.Ingress.Verdict.String() != want {
							t.Errorf("%s: %+v: got %s, want %s", sem, f, r.Ingress.Verdict, want)
						}
					}
				}
			}
		})
	}
}

func TestWhatAFlowDoesNotTellHelpsDenyAlone(t *testing.T) {
	noPort := flow{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 80}
	noType := flow{From: "prod/web", To: "prod/db", Protocol: "ICMP"}
	cases := map[string]struct {
		rules string
		f     flow
		want  string
	}{
		"Allow of a source port":          {rules: `[{action: Allow, protocol: TCP, source: {ports: ["1:65535"]}}]`, f: noPort, want: "Deny"},
		"Deny of a source port":           {rules: `[{action: Deny, protocol: TCP, source: {ports: [1]}}, {action: Allow}]`, f: noPort, want: "Deny"},
		"Deny of all source ports but":    {rules: `[{action: Deny, protocol: TCP, source: {notPorts: [1]}}, {action: Allow}]`, f: noPort, want: "Deny"},
		"Deny of a UDP source port":       {rules: `[{action: Deny, protocol: UDP, source: {ports: [1]}}, {action: Allow}]`, f: noPort, want: "Allow"},
		"Pass of a source port":           {rules: `[{action: Pass, protocol: TCP, source: {ports: ["1:65535"]}}]`, f: noPort, want: "Deny"},
		"Allow of an ICMP type":           {rules: `[{action: Allow, protocol: ICMP, icmp: {type: 8}}]`, f: noType, want: "Deny"},
		"Deny of an ICMP type":            {rules: `[{action: Deny, protocol: ICMP, icmp: {type: 8}}, {action: Allow}]`, f: noType, want: "Deny"},
		"Deny of all ICMP types but":      {rules: `[{action: Deny, protocol: ICMP, notICMP: {type: 8}}, {action: Allow}]`, f: noType, want: "Deny"},
		"Deny of an ICMPv6 type for IPv4": {rules: `[{action: Deny, protocol: ICMPv6, icmp: {type: 8}}, {action: Allow}]`, f: noType, want: "Allow"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if r := verdict(t, policy.Strict, tc.f, np("p", tc.rules)); r.Ingress.Verdict.String() != tc.want {
				t.Errorf("got %s, want %s", r.Ingress.Verdict, tc.want)
			}
		})
	}
}

// In a Kubernetes policy; prod/db is selected by it alone.
func TestKubernetesPolicies(t *testing.T) {
	cases := map[string]struct {
		spec string
		pass []flow
		fail []flow
	}{
		"no rules deny everything": {
			spec: `{podSelector: {matchLabels: {app: db}}}`,
			fail: []flow{tcp("prod/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
			pass: []flow{tcp("prod/db", "prod/web", 80), tcp("prod/web", "prod/api", 80)},
		},
		"an empty rule allows everything": {
			spec: `{podSelector: {}, ingress: [{}]}`,
			pass: []flow{tcp("dev/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"a pod selector is confined to the namespace": {
			spec: `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("dev/web", "prod/db", 80), tcp("prod/api", "prod/db", 80)},
		},
		"an empty pod selector is every pod of the namespace": {
			spec: `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("dev/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"an empty namespace selector is every pod": {
			spec: `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("dev/web", "prod/db", 80)},
			fail: []flow{tcp("192.0.2.1", "prod/db", 80)},
		},
		"expressions of every operator": {
			spec: `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: env, operator: In, values: [dev, x]}]},
				podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [api]}, {key: app, operator: Exists}, {key: gone, operator: DoesNotExist}]}}]}]}`,
			pass: []flow{tcp("dev/web", "prod/db", 80)},
			fail: []flow{tcp("dev/api", "prod/db", 80), tcp("prod/web", "prod/db", 80)},
		},
		"a block with exceptions": {
			spec: `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("dev/web", "prod/db", 80), tcp("192.0.2.1", "prod/db", 80)},
		},
		"a port without protocol is TCP": {
			spec: `{podSelector: {}, ingress: [{ports: [{port: 80}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 81), {From: "prod/web", To: "prod/db", Protocol: "UDP", Port: 80}},
		},
		"a protocol without port is every port of it": {
			spec: `{podSelector: {}, ingress: [{ports: [{protocol: UDP}, {port: 53, protocol: UDP}, {port: 80}]}]}`,
			pass: []flow{{From: "prod/web", To: "prod/db", Protocol: "UDP", Port: 9}, tcp("prod/web", "prod/db", 80)},
			fail: []flow{tcp("prod/web", "prod/db", 9)},
		},
		"endPort is inclusive": {
			spec: `{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80), tcp("prod/web", "prod/db", 90)},
			fail: []flow{tcp("prod/web", "prod/db", 79), tcp("prod/web", "prod/db", 91)},
		},
		"a named port": {
			spec: `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`,
			pass: []flow{tcp("prod/web", "prod/db", 80)}, fail: []flow{tcp("prod/web", "prod/db", 53)},
		},
		"egress rules without types apply in both directions": {
			spec: `{podSelector: {}, egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]}`,
			fail: []flow{tcp("192.0.2.1", "prod/db", 80), tcp("prod/db", "192.0.2.1", 80)},
			pass: []flow{tcp("198.51.100.1", "dev/db", 80)},
		},
		"types hold against rules": {
			spec: `{podSelector: {}, policyTypes: [Egress], ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}`,
			pass: []flow{tcp("198.51.100.1", "prod/db", 80)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				for want, flows := range map[string][]flow{"Allow": tc.pass, "Deny": tc.fail} {
					for _, f := range flows {
						if r := verdict(t, sem, f, knp("p", tc.spec)); r.Verdict().String() != want {
							t.Errorf("%s: %+v: got %s, want %s", sem, f, r.Verdict(), want)
						}
					}
				}
			}
		})
	}
}
