package authz_test

import (
	"testing"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

// street: namespaces a and b with a client each, b's inside a network set of a; two pods with one address, a static pod
// without account, and a server in a that lets the network set in by TCP.
const street = `
{apiVersion: v1, kind: Namespace, metadata: {name: a}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: b}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: a}, spec: {nodeName: node-n, serviceAccountName: client}, status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: b}, spec: {nodeName: node-n, serviceAccountName: client}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: old, namespace: a}, spec: {nodeName: node-n, serviceAccountName: client}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: a}, spec: {nodeName: node-n, serviceAccountName: client}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: static, namespace: a, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: node-n}, status: {podIPs: [{ip: 10.0.0.4}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: a}, spec: {nodeName: node-n, serviceAccountName: server}, status: {podIPs: [{ip: 10.0.0.9}]}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: lan, namespace: a, labels: {lan: "yes"}}, spec: {nets: [10.0.0.0/24, "fd00::/64"]}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: {selector: projectcalico.org/serviceaccount == 'server', ingress: [{action: Allow, protocol: TCP, source: {selector: lan == 'yes'}}]}}`

func TestWhoIsThere(t *testing.T) {
	s := documents(t, policy.Strict, street)
	c, plain := config(t, authz.ConfigOptions{}), config(t, authz.ConfigOptions{PlaintextNamespaces: []string{"a"}})
	const idA, idB = "spiffe://cluster.local/ns/a/sa/client", "spiffe://cluster.local/ns/b/sa/client"
	cases := []struct {
		name        string
		config      *authz.Config
		address, id string
		protocol    string
		server      authz.ServerName
		to          string
		want        authz.Reason
		allowed     bool
	}{
		{name: "a pod of the policy's namespace, in its network set", address: "10.0.0.1", id: idA, want: authz.ReasonRule, allowed: true},
		{name: "the same by UDP", address: "10.0.0.1", id: idA, protocol: "UDP", want: authz.ReasonEndOfTier},
		{name: "the same by a protocol that nobody knows", address: "10.0.0.1", id: idA, protocol: "x", want: authz.ReasonEndOfTier},
		{name: "by TCP again", address: "10.0.0.1", id: idA, protocol: "TCP", want: authz.ReasonRule, allowed: true},
		{name: "a pod of another namespace, in the network set", address: "10.0.0.2", id: idB, want: authz.ReasonEndOfTier},
		{name: "an account of the same name in another namespace", address: "10.0.0.2", id: idA, want: authz.ReasonMismatch},
		{name: "an address that is changing hands", address: "10.0.0.3", id: idA, want: authz.ReasonSharedAddress},
		{name: "a static pod without account, in the clear", config: plain, address: "10.0.0.4", want: authz.ReasonNoAccount},
		{name: "a static pod with a certificate", address: "10.0.0.4", id: idA, want: authz.ReasonMismatch},
		{name: "two IP versions", address: "fd00::1", id: idA, want: authz.ReasonAddressFamily},
		{name: "in the clear", config: plain, address: "10.0.0.1", want: authz.ReasonRule, allowed: true},
		{name: "in the clear, two IP versions", config: plain, address: "fd00::1", want: authz.ReasonAddressFamily},
		{name: "the server by name", address: "10.0.0.1", id: idA, server: authz.ServerName{Namespace: "a", Name: "server"}, want: authz.ReasonRule, allowed: true},
		{name: "another server by name", address: "10.0.0.1", id: idA, server: authz.ServerName{Namespace: "b", Name: "client"}, want: authz.ReasonDestinationAddress},
		{name: "another server of the namespace by name", address: "10.0.0.1", id: idA, server: authz.ServerName{Namespace: "a", Name: "client"}, want: authz.ReasonDestinationAddress},
		{name: "a server that is not there", address: "10.0.0.1", id: idA, server: authz.ServerName{Namespace: "a", Name: "x"}, want: authz.ReasonServer},
		{name: "a server whose address is changing hands", address: "10.0.0.1", id: idA, to: "10.0.0.3", want: authz.ReasonServer},
		{name: "one of the pods whose address is changing hands, by name", address: "10.0.0.1", id: idA, to: "10.0.0.3", server: authz.ServerName{Namespace: "a", Name: "old"}, want: authz.ReasonDestinationAddress},
	}
	var memory authz.Memory // one for all: what is remembered of one request must not answer another
	for range 2 {
		for _, tc := range cases {
			if tc.config == nil {
				tc.config = c
			}
			if tc.to == "" {
				tc.to = "10.0.0.9"
			}
			r := authz.Request{Source: authz.Peer{Address: tc.address, Port: 40000, Principal: tc.id}, Destination: authz.Peer{Address: tc.to, Port: 80, Protocol: tc.protocol}}
			for name, d := range map[string]authz.Decision{"Decide": authz.Decide(s, tc.config, tc.server, &r), "Memory": memory.Decide(s, tc.config, tc.server, &r)} {
				if d.Reason != tc.want || (d.Code() == "OK") != tc.allowed {
					t.Errorf("%s: %s says %s (%s), want %s", tc.name, name, d.Code(), d.Reason, tc.want)
				}
			}
		}
	}
}
