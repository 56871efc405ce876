package eval_test

import (
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
)

// A policy on prod/db allows account web and pods with label app=web, and nobody else. Each case adds or changes a pod
// that is no proper endpoint, or whose account or namespace is missing.
func TestUnusualPods(t *testing.T) {
	allowAccount := np("p", `[{action: Allow, source: {serviceAccounts: {names: [web]}}}]`)
	allowLabel := np("p", `[{action: Allow, source: {serviceAccounts: {selector: role == 'web'}}}]`)
	allowNotWeb := np("p", `[{action: Allow, source: {serviceAccounts: {selector: role != 'web'}}}]`)
	// impostor claims an address with the account that is allowed.
	impostor := func(change ...string) string {
		doc := strings.NewReplacer(change...).Replace(pod("prod", "old", "10.9.0.1", "fd00::9"))
		return strings.Replace(doc, "serviceAccountName: old", "serviceAccountName: web", 1)
	}
	reused := strings.Replace(pod("prod", "new", "10.9.0.1", "fd00::9"), "serviceAccountName: new", "serviceAccountName: api", 1)
	cases := map[string]struct {
		docs           []string
		from           string
		version        uint8
		calico, strict string
	}{
		"a running pod of the account is allowed (mirror of all below)": {
			docs: []string{allowAccount, impostor()}, from: "10.9.0.1", calico: "Allow", strict: "Allow",
		},
		"a succeeded pod matches nothing": {
			docs: []string{allowAccount, impostor("phase: Running", "phase: Succeeded")}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"a failed pod matches nothing": {
			docs: []string{allowAccount, impostor("phase: Running", "phase: Failed")}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"a pod on the host's network matches nothing": {
			docs: []string{allowAccount, impostor("nodeName: node", "nodeName: node\n  hostNetwork: true")}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"a pod that is not scheduled matches nothing": {
			docs: []string{allowAccount, impostor("nodeName: node", "nodeName: ''")}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"a pending pod with an address is an endpoint": {
			docs: []string{allowAccount, impostor("phase: Running", "phase: Pending")}, from: "10.9.0.1", calico: "Allow", strict: "Allow",
		},
		"a pod without address matches nothing": {
			docs: []string{allowAccount, strings.Replace(impostor(), "podIPs: [", "podIPs: []} #", 1)}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"podIP stands in for podIPs": {
			docs: []string{allowAccount, strings.Replace(impostor(), "podIPs: [", "podIP: 10.9.0.1} #", 1)}, from: "10.9.0.1", calico: "Allow", strict: "Allow",
		},
		"a pod with an address that does not parse matches nothing": {
			docs: []string{allowAccount, impostor("fd00::9", "fd00::zz")}, from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"a pod that is being deleted keeps its address": {
			docs: []string{allowAccount, impostor("metadata: {", `metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", `)}, from: "10.9.0.1", calico: "Allow", strict: "Allow",
		},
		"a pod that has lost its address while it is being deleted": {
			docs: []string{allowAccount, impostor("metadata: {", `metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", annotations: {cni.projectcalico.org/podIP: ""}, `)},
			from: "10.9.0.1", calico: "Deny", strict: "Deny",
		},
		"the address of a finished pod is its new owner's": {
			docs: []string{allowAccount, impostor("phase: Running", "phase: Succeeded"), reused}, from: "prod/new", calico: "Deny", strict: "Deny",
		},
		"two running pods at one address": {
			docs: []string{allowAccount, impostor(), reused}, from: "prod/new", calico: "Allow", strict: "Deny",
		},
		"two running pods at one IPv6 address": {
			docs: []string{allowAccount, impostor(), reused}, from: "prod/new", version: 6, calico: "Allow", strict: "Deny",
		},
		"two running pods of the same account at one address": {
			docs: []string{allowAccount, impostor(), strings.Replace(reused, "serviceAccountName: api", "serviceAccountName: web", 1)},
			from: "prod/new", calico: "Allow", strict: "Allow",
		},
		"both addresses of a dual-stack pod: IPv4": {docs: []string{allowAccount}, from: "prod/web", version: 4, calico: "Allow", strict: "Allow"},
		"both addresses of a dual-stack pod: IPv6": {docs: []string{allowAccount}, from: "prod/web", version: 6, calico: "Allow", strict: "Allow"},
		"no object of the account: its name still matches": {
			docs: []string{allowAccount, strings.ReplaceAll(pod("prod", "web2", "10.9.0.2"), "serviceAccountName: web2", "serviceAccountName: ghost"),
				np("q", `[{action: Allow, source: {serviceAccounts: {names: [ghost]}}}]`)},
			from: "prod/web2", calico: "Allow", strict: "Allow",
		},
		"no object of the account: no labels, not even its name": {
			docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {selector: has(projectcalico.org/name)}}}]`), pod("prod", "ghost", "10.9.0.2")},
			from: "prod/ghost", calico: "Deny", strict: "Deny",
		},
		"no object of the account: negative tests are true": {
			docs: []string{allowNotWeb, pod("prod", "ghost", "10.9.0.2")}, from: "prod/ghost", calico: "Allow", strict: "Allow",
		},
		"an account with a name too long for a label has no labels": {
			docs: []string{
				allowLabel,
				`{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: prod, name: ` + strings.Repeat("a", 64) + `, labels: {role: web}}}`,
				pod("prod", strings.Repeat("a", 64), "10.9.0.2"),
			},
			from: "prod/" + strings.Repeat("a", 64), calico: "Deny", strict: "Deny",
		},
		"an account with the longest name that fits has": {
			docs: []string{
				allowLabel,
				`{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: prod, name: ` + strings.Repeat("a", 63) + `, labels: {role: web}}}`,
				pod("prod", strings.Repeat("a", 63), "10.9.0.2"),
			},
			from: "prod/" + strings.Repeat("a", 63), calico: "Allow", strict: "Allow",
		},
		"no account named is default": {
			docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: [default]}}}]`), strings.Replace(pod("prod", "x", "10.9.0.2"), "serviceAccountName: x", "", 1)},
			from: "prod/x", calico: "Allow", strict: "Allow",
		},
		"the deprecated alias of the account": {
			docs: []string{allowAccount, strings.Replace(pod("prod", "x", "10.9.0.2"), "serviceAccountName: x", "serviceAccount: web", 1)},
			from: "prod/x", calico: "Allow", strict: "Allow",
		},
		"a pod's label cannot be its account": {
			docs: []string{allowAccount, strings.Replace(pod("prod", "x", "10.9.0.2"), "labels: {", "labels: {projectcalico.org/serviceaccount: web, ", 1)},
			from: "prod/x", calico: "Deny", strict: "Deny",
		},
		"a pod's label cannot be its account's label": {
			docs: []string{allowLabel, strings.Replace(pod("prod", "x", "10.9.0.2"), "labels: {", "labels: {pcsa.role: web, ", 1)},
			from: "prod/x", calico: "Deny", strict: "Deny",
		},
		"a pod's label cannot be its namespace": {
			docs: []string{np("p", `[{action: Allow, source: {selector: app == 'x'}}]`), strings.Replace(pod("dev", "x", "10.9.0.2"), "labels: {", "labels: {projectcalico.org/namespace: prod, ", 1)},
			from: "dev/x", calico: "Deny", strict: "Deny",
		},
		"a mirror pod has no account": {
			docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: [default]}}}]`),
				strings.NewReplacer("serviceAccountName: x", "", "metadata: {", "metadata: {annotations: {kubernetes.io/config.mirror: a}, ").Replace(pod("prod", "x", "10.9.0.2"))},
			from: "prod/x", calico: "Deny", strict: "Deny",
		},
		"a network set at a pod's address puts it into sets of addresses": {
			docs: []string{np("p", `[{action: Allow, source: {selector: set == 'x'}}]`),
				`{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: nets, namespace: prod, labels: {set: x}}, spec: {nets: [10.1.0.0/16]}}`},
			from: "dev/web", calico: "Allow", strict: "Allow",
		},
		"a network set of another namespace does not": {
			docs: []string{np("p", `[{action: Allow, source: {selector: set == 'x'}}]`),
				`{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: nets, namespace: dev, labels: {set: x}}, spec: {nets: [10.1.0.0/16]}}`},
			from: "dev/web", calico: "Deny", strict: "Deny",
		},
		"a network set has its namespace's labels": {
			docs: []string{np("p", `[{action: Allow, source: {selector: set == 'x', namespaceSelector: env == 'dev'}}]`),
				`{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: nets, namespace: dev, labels: {set: x}}, spec: {nets: [192.0.2.1/32]}}`},
			from: "192.0.2.1", calico: "Allow", strict: "Allow",
		},
		"a network set from crd.projectcalico.org/v1 has its labels in an annotation": {
			docs: []string{np("p", `[{action: Allow, source: {selector: set == 'x'}}]`),
				`{apiVersion: crd.projectcalico.org/v1, kind: NetworkSet, metadata: {name: nets, namespace: prod, annotations: {projectcalico.org/metadata: '{"labels":{"set":"x"}}'}}, spec: {nets: [192.0.2.1/32]}}`},
			from: "192.0.2.1", calico: "Allow", strict: "Allow",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for sem, want := range map[policy.Semantics]string{policy.Calico: tc.calico, policy.Strict: tc.strict} {
				f := tcp(tc.from, "prod/db", 80)
				f.IPVersion = tc.version
				if r := verdict(t, sem, f, tc.docs...); r.Ingress.Verdict.String() != want {
					t.Errorf("%s: got %s, want %s", sem, r.Ingress.Verdict, want)
				}
			}
		})
	}
}

// Deleting what others refer to never makes a verdict wider.
func TestDeletionsDoNotWiden(t *testing.T) {
	tier := `{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: x}, spec: {order: 1, defaultAction: Pass}}`
	withTier := gnp("x.p", `{tier: x, selector: app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]}`)
	cases := map[string]struct {
		docs    []string
		without string // the document that is deleted
		before  string
		after   string
	}{
		"the account: positive label tests stop matching": {
			docs:    []string{np("p", `[{action: Allow, source: {serviceAccounts: {selector: role == 'web'}}}]`)},
			without: "kind: ServiceAccount, metadata: {name: web, namespace: prod", before: "Allow", after: "Deny",
		},
		"the account: its name keeps matching": {
			docs:    []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: [web]}}}]`)},
			without: "kind: ServiceAccount, metadata: {name: web, namespace: prod", before: "Allow", after: "Allow",
		},
		"the namespace: its profile stops allowing": {
			without: "kind: Namespace, metadata: {name: prod", before: "Allow", after: "Deny",
		},
		"the namespace: labels stop matching": {
			docs:    []string{np("p", `[{action: Allow, source: {namespaceSelector: env == 'prod'}}]`)},
			without: "kind: Namespace, metadata: {name: prod", before: "Allow", after: "Deny",
		},
		"the tier: its policies go on, last and denying": {
			docs: []string{tier, withTier}, without: "kind: Tier", before: "Allow", after: "Allow",
		},
		"the tier: what it passed is denied": {
			docs: []string{tier, strings.Replace(withTier, "app == 'web'", "app == 'api'", 1)}, without: "kind: Tier", before: "Allow", after: "Deny",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			docs := append(base(), tc.docs...)
			var rest []string
			for _, d := range docs {
				if !strings.Contains(d, tc.without) {
					rest = append(rest, d)
				}
			}
			if len(rest) != len(docs)-1 {
				t.Fatalf("%d documents contain %q, want 1", len(docs)-len(rest), tc.without)
			}
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				for want, docs := range map[string][]string{"before " + tc.before: docs, "after " + tc.after: rest} {
					when, verdict, _ := strings.Cut(want, " ")
					if got := ingress(t, sem, docs); got != verdict {
						t.Errorf("%s: %s deletion: got %s, want %s", sem, when, got, verdict)
					}
				}
			}
		})
	}
}
