package offline_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

func readText(t *testing.T, text string) *offline.Objects {
	t.Helper()
	o := &offline.Objects{}
	if err := o.Read("text", strings.NewReader("# YAML, although it begins with a brace\n"+text), policy.Strict); err != nil {
		t.Fatal(err)
	}
	if err := o.ReadTemplates(); err != nil {
		t.Fatal(err)
	}
	return o
}

const base = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {a: b}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: web, old: "1"}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: prod, labels: {app: web}}, spec: {nodeName: n1, serviceAccountName: web}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: prod}, spec: {podSelector: {}}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: prod}, spec: {selector: "a =="}}
---
{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: t}, spec: {order: 1}}
`

func policies(s *policy.Snapshot) string {
	var out []string
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			out = append(out, p.ID.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestOverlay(t *testing.T) {
	before := readText(t, base)
	after := before.Overlay(readText(t, `
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: db}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: prod, labels: {app: db}}, spec: {serviceAccountName: web}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: prod}, spec: {selector: all()}}
---
{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: q, namespace: prod}, spec: {selector: all()}}
`), policy.Strict)
	s := after.Snapshot(policy.Strict)
	w := s.Workload("prod", "web")
	if w == nil || w.Labels["app"] != "db" || w.Addresses[0].String() != "10.0.0.1" {
		t.Errorf("the pod is %+v: want its new labels and its address", w)
	}
	if labels := s.ServiceAccount(w.Account).Labels; len(labels) != 1 || labels["role"] != "db" {
		t.Errorf("labels %v: want those of the change alone", labels)
	}
	if got, want := policies(s), "KubernetesNetworkPolicy prod/knp.default.p, NetworkPolicy prod/p, NetworkPolicy prod/q"; got != want {
		t.Errorf("policies %s, want %s", got, want)
	}
	if len(before.Problems()) != 1 || len(after.Problems()) != 0 {
		t.Errorf("problems before %v, after %v: want those of what is there", before.Problems(), after.Problems())
	}
	if got := before.Snapshot(policy.Strict).Workload("prod", "web").Labels["app"]; got != "web" {
		t.Errorf("the base was changed: %s", got)
	}
}

// Calico's store has the policy NAME of the default tier as default.NAME: a change in either group is of the same policy.
func TestPoliciesAreTheSameInBothGroups(t *testing.T) {
	text := func(group, kind, tier, name, selector string) string {
		return "{apiVersion: " + group + ", kind: " + kind + ", metadata: {name: " + name + "}, spec: {tier: " + tier + ", selector: " + selector + "}}\n"
	}
	const store, api = "crd.projectcalico.org/v1", "projectcalico.org/v3"
	for name, tc := range map[string]struct {
		base, change string
		policies     int
	}{
		"a change by Calico's API": {base: text(store, "GlobalNetworkPolicy", "default", "default.p", "all()"), change: text(api, "GlobalNetworkPolicy", "default", "p", "none()"), policies: 1},
		"a change in the store":    {base: text(api, "GlobalNetworkPolicy", `""`, "p", "all()"), change: text(store, "GlobalNetworkPolicy", `""`, "default.p", "none()"), policies: 1},
		"another tier's":           {base: text(store, "GlobalNetworkPolicy", "t", "t.p", "all()"), change: text(api, "GlobalNetworkPolicy", "t", "t.p", "none()"), policies: 1},
		"the name in another tier": {base: text(store, "GlobalNetworkPolicy", "t", "default.p", "all()"), change: text(api, "GlobalNetworkPolicy", "default", "p", "none()"), policies: 2},
		"another name":             {base: text(store, "GlobalNetworkPolicy", "default", "default.p", "all()"), change: text(api, "GlobalNetworkPolicy", "default", "q", "none()"), policies: 2},
	} {
		t.Run(name, func(t *testing.T) {
			after := readText(t, tc.base).Overlay(readText(t, tc.change), policy.Strict).Snapshot(policy.Strict)
			got := policies(after)
			if n := strings.Count(got, "GlobalNetworkPolicy"); n != tc.policies {
				t.Errorf("%d policies, want %d: %s", n, tc.policies, got)
			}
		})
	}
	for _, kind := range []string{"globalnetworkpolicy", "globalnetworkpolicies.crd.projectcalico.org", "globalnetworkpolicy.projectcalico.org"} {
		for _, name := range []string{"p", "default.p"} {
			after, err := readText(t, text(store, "GlobalNetworkPolicy", "default", "default.p", "all()")).Delete(kind + "/" + name)
			if err != nil {
				t.Errorf("%s/%s: %v", kind, name, err)
				continue
			}
			if got := policies(after.Snapshot(policy.Strict)); got != "" {
				t.Errorf("%s/%s leaves %s", kind, name, got)
			}
		}
	}
}

func TestDelete(t *testing.T) {
	cases := map[string]struct {
		name     string
		policies string
		err      string
	}{
		"one of Kubernetes":             {name: "networkpolicy.networking.k8s.io/prod/p", policies: "NetworkPolicy prod/p"},
		"one of Calico, plural":         {name: "networkpolicies.projectcalico.org/prod/p", policies: "KubernetesNetworkPolicy prod/knp.default.p"},
		"a tier leaves its policies":    {name: "Tier/t", policies: "KubernetesNetworkPolicy prod/knp.default.p, NetworkPolicy prod/p"},
		"an account by its short name":  {name: "sa/prod/web", policies: "KubernetesNetworkPolicy prod/knp.default.p, NetworkPolicy prod/p"},
		"a name that two kinds have":    {name: "networkpolicy/prod/p", err: "one of Kubernetes and one of Calico"},
		"one that is not there":         {name: "tier/x", err: "no such object"},
		"one of another namespace":      {name: "pod/dev/web", err: "no such object"},
		"a kind that does not matter":   {name: "service/prod/web", err: "want KIND"},
		"a group that does not have it": {name: "pods.projectcalico.org/prod/web", err: "want KIND"},
		"Calico's store has no pods":    {name: "pods.crd.projectcalico.org/prod/web", err: "want KIND"},
		"no name":                       {name: "pod", err: "want KIND"},
		"too many parts":                {name: "pod/a/b/c", err: "want KIND"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := readText(t, base)
			after, err := before.Delete(tc.name)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := policies(after.Snapshot(policy.Strict)); got != tc.policies {
				t.Errorf("policies %s, want %s", got, tc.policies)
			}
			if _, err := after.Delete(tc.name); !errors.Is(err, offline.ErrNotThere) {
				t.Errorf("it can be deleted twice: %v", err)
			}
			if got := policies(before.Snapshot(policy.Strict)); !strings.Contains(got, "NetworkPolicy prod/p") {
				t.Errorf("the base was changed: %s", got)
			}
		})
	}
}

const workloads = `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: prod}, spec: {template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: night, namespace: prod}, spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: night}}, spec: {containers: [{name: c}]}}}}}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: host, namespace: prod}, spec: {template: {metadata: {labels: {app: host}}, spec: {hostNetwork: true}}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: prod, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: x}]}, spec: {template: {metadata: {labels: {app: web}}, spec: {}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: waits, namespace: prod}, spec: {}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: prod}, spec: {nodeName: n1}, status: {phase: Succeeded}}
---
{apiVersion: v1, kind: Pod, metadata: {name: runs, namespace: prod}, spec: {nodeName: n1}, status: {podIPs: [{ip: 198.18.0.2}]}}
`

func pods(s *policy.Snapshot) string {
	var out []string
	for _, w := range s.Workloads {
		out = append(out, w.Name+"="+w.Addresses[0].String()+"/"+w.Account.Name())
	}
	return strings.Join(out, " ")
}

// Manifests say what will run: every workload counts as one pod, with an address that nobody else has.
func TestStandIns(t *testing.T) {
	o := readText(t, workloads)
	addresses := offline.NewAddresses(offline.DefaultPodCIDR())
	if err := o.StandIns(addresses, policy.Strict); err != nil {
		t.Fatal(err)
	}
	const want = "cronjob:night=198.18.0.1/default deployment:web=198.18.0.3/web runs=198.18.0.2/default waits=198.18.0.4/default"
	if got := pods(o.Snapshot(policy.Strict)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var notes bytes.Buffer
	if err := o.Note(&notes); err != nil || strings.Contains(notes.String(), "ignored") ||
		!strings.Contains(notes.String(), "1 pods without address") || !strings.Contains(notes.String(), "2 workloads without pods") {
		t.Errorf("notes %q, %v", &notes, err)
	}

	// The same pod has the same address in another set of objects.
	other := readText(t, strings.Replace(workloads, "name: night", "name: zzz", 1))
	if err := other.StandIns(addresses, policy.Strict); err != nil {
		t.Fatal(err)
	}
	if got := pods(other.Snapshot(policy.Strict)); !strings.Contains(got, "deployment:web=198.18.0.3/web") || !strings.Contains(got, "cronjob:zzz=198.18.0.5/") {
		t.Errorf("got %s", got)
	}

	small := readText(t, workloads)
	if err := small.StandIns(offline.NewAddresses(netip.MustParsePrefix("192.0.2.0/31")), policy.Strict); err == nil {
		t.Error("three pods found room in two addresses")
	}
}

// A dump of a cluster has the workloads and their pods.
func TestWorkloadWithPodsHasNoStandIn(t *testing.T) {
	o := readText(t, workloads+`---
{apiVersion: v1, kind: Pod, metadata: {name: web-1-x, namespace: prod, labels: {app: web, pod-template-hash: "1"}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: x}]}, spec: {nodeName: n1, serviceAccountName: web}, status: {podIPs: [{ip: 10.0.0.1}]}}
`)
	if err := o.StandIns(offline.NewAddresses(offline.DefaultPodCIDR()), policy.Strict); err != nil {
		t.Fatal(err)
	}
	if got := pods(o.Snapshot(policy.Strict)); strings.Contains(got, "deployment:web") || !strings.Contains(got, "web-1-x=10.0.0.1/web") {
		t.Errorf("got %s", got)
	}
}

func TestWorkloadsThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"no template":   "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {}}",
		"no name":       "{apiVersion: apps/v1, kind: Deployment, metadata: {}, spec: {template: {spec: {}}}}",
		"a wrong type":  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: 1}}",
		"the same name": "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {}}}}\n---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: default}, spec: {template: {spec: {}}}}",
	} {
		o := &offline.Objects{}
		if err := o.Read("text", strings.NewReader("# YAML, although it begins with a brace\n"+text), policy.Strict); err != nil {
			t.Errorf("%s: verdict, which has no use for workloads, fails: %v", name, err)
		}
		if err := o.ReadTemplates(); err == nil || !strings.Contains(err.Error(), "Deployment") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
