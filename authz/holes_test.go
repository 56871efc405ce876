package authz_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

func documents(t testing.TB, sem policy.Semantics, docs string) *policy.Snapshot {
	t.Helper()
	var raws [][]byte
	for doc := range strings.SplitSeq(docs, "\n---\n") {
		raw, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		raws = append(raws, raw)
	}
	return parse(t, sem, raws)
}

// people: client (role=web), other, and ghost, which has no object; server, and what its policy is to be.
const people = `
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: client, namespace: a, labels: {role: web}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: other, namespace: a}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: server, namespace: a}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: a}, spec: {nodeName: node-n, serviceAccountName: client}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: other, namespace: a}, spec: {nodeName: node-n, serviceAccountName: other}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ghost, namespace: a}, spec: {nodeName: node-n, serviceAccountName: ghost}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: a}, spec: {nodeName: node-n, serviceAccountName: server, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]}, status: {podIPs: [{ip: 10.0.0.9}]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: lan, labels: {lan: "yes"}}, spec: {nets: [10.0.0.0/16]}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: {selector: projectcalico.org/serviceaccount == 'server', ingress: [RULE]}}`

// The holes of Calico's checker, as they were found by reading it: what each let through is refused, and the honest request
// beside it is not.
func TestHolesOfCalicosCheckerAreClosed(t *testing.T) {
	const id = "spiffe://cluster.local/ns/a/sa/"
	cases := map[string]struct {
		rule             string
		address, id      string
		http             *authz.HTTP
		reason           authz.Reason
		calico           string // what the prediction says
		honest, honestID string
		honestHTTP       *authz.HTTP
	}{
		"D1 a malformed identity satisfies every account clause": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [client]}}}`, address: "10.0.0.1", id: "CN=x", reason: authz.ReasonMalformedIdentity, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D2 no identity satisfies every account clause": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [client]}}}`, address: "10.0.0.1", id: "", reason: authz.ReasonNoIdentity, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D3 the trust domain is not looked at": {
			rule: `{action: Allow, source: {serviceAccounts: {names: [client]}}}`, address: "10.0.0.1", id: "spiffe://evil.example/ns/a/sa/client", reason: authz.ReasonForeignIdentity, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D5 an account that nobody knows satisfies negative conditions": {
			rule: `{action: Allow, source: {serviceAccounts: {selector: "role != 'batch'"}}}`, address: "10.0.0.3", id: id + "ghost", reason: authz.ReasonNoAccount, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D7 named ports never match": {
			rule: `{action: Allow, protocol: TCP, source: {serviceAccounts: {names: [client]}}, destination: {ports: [web]}}`, address: "10.0.0.2", id: id + "other", reason: authz.ReasonEndOfTier, calico: "PERMISSION_DENIED",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D8 global() is true of any namespace": {
			rule: `{action: Allow, source: {namespaceSelector: global()}}`, address: "10.0.0.2", id: id + "other", reason: authz.ReasonEndOfTier, calico: "OK",
		},
		"D9 an http clause holds for what is not known": {
			rule: `{action: Allow, http: {methods: [GET]}, source: {serviceAccounts: {names: [client]}}}`, address: "10.0.0.1", id: id + "client", reason: authz.ReasonEndOfTier, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client", honestHTTP: &authz.HTTP{Method: "GET", Path: "/"},
		},
		"D12 a stolen certificate from another pod, where rules ask for the address by a set": {
			rule: `{action: Allow, source: {selector: "lan == 'yes' || has(projectcalico.org/orchestrator)", namespaceSelector: "all() || global()"}}`, address: "10.0.0.2", id: id + "client", reason: authz.ReasonMismatch, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D12 a denied account with another's certificate": {
			rule: `{action: Deny, source: {serviceAccounts: {names: [other]}}}, {action: Allow}`, address: "10.0.0.2", id: id + "client", reason: authz.ReasonMismatch, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
		"D12 no pod's address": {
			rule: `{action: Allow}`, address: "192.0.2.1", id: id + "client", reason: authz.ReasonUnknownAddress, calico: "OK",
			honest: "10.0.0.1", honestID: id + "client",
		},
	}
	c := config(t, authz.ConfigOptions{})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			docs := strings.Replace(people, "RULE", tc.rule, 1)
			strict, calico := documents(t, policy.Strict, docs), documents(t, policy.Calico, docs)
			ask := func(s *policy.Snapshot, address, id string, h *authz.HTTP) authz.Decision {
				return authz.Decide(s, c, authz.ServerName{}, &authz.Request{
					Source: authz.Peer{Address: address, Port: 40000, Principal: id}, Destination: authz.Peer{Address: "10.0.0.9", Port: 8080}, HTTP: h,
				})
			}
			if d := ask(strict, tc.address, tc.id, tc.http); d.Reason != tc.reason || d.Code() == "OK" {
				t.Errorf("got %s (%s), want a refusal for %s", d.Code(), d.Reason, tc.reason)
			}
			if d := ask(calico, tc.address, tc.id, tc.http); d.Code() != tc.calico {
				t.Errorf("the prediction is %s (%s), want %s", d.Code(), d.Reason, tc.calico)
			}
			if tc.honest == "" {
				return
			}
			if d := ask(strict, tc.honest, tc.honestID, tc.honestHTTP); d.Code() != "OK" {
				t.Errorf("the honest request: %s (%s)", d.Code(), d.Reason)
			}
		})
	}
}

func TestServerOnAnotherNodeIsNotAnsweredFor(t *testing.T) {
	s := documents(t, policy.Strict, strings.Replace(people, "RULE", "{action: Allow}", 1))
	for node, want := range map[string]authz.Reason{"": authz.ReasonRule, "node-n": authz.ReasonRule, "node-m": authz.ReasonElsewhere} {
		d := authz.Decide(s, config(t, authz.ConfigOptions{Node: node}), authz.ServerName{}, &authz.Request{
			Source:      authz.Peer{Address: "10.0.0.1", Principal: "spiffe://cluster.local/ns/a/sa/client"},
			Destination: authz.Peer{Address: "10.0.0.9"},
		})
		if d.Reason != want {
			t.Errorf("node %q: got %s, want %s", node, d.Reason, want)
		}
	}
}

func TestZeroDecisionAndZeroConfigDeny(t *testing.T) {
	if d := (&authz.Decision{}); d.Code() != "PERMISSION_DENIED" {
		t.Errorf("the zero decision is %s", d.Code())
	}
	s := documents(t, policy.Strict, strings.Replace(people, "RULE", "{action: Allow}", 1))
	for _, id := range []string{"", "x", "spiffe://cluster.local/ns/a/sa/client"} {
		d := authz.Decide(s, &authz.Config{}, authz.ServerName{}, &authz.Request{
			Source: authz.Peer{Address: "10.0.0.1", Principal: id}, Destination: authz.Peer{Address: "10.0.0.9"},
		})
		if d.Code() == "OK" {
			t.Errorf("the zero configuration allows %q", id)
		}
	}
}
