package policies_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/controlplane/controlplanetest"
	"github.com/saguard/saguard/internal/identity"
)

// network is what the tests of map, diff and verdict look at, in the API group that %s stands for. Tier security comes first.
const network = `
kind: Tier
metadata: {name: security}
spec: {order: 10}
---
kind: Tier
metadata: {name: default}
spec: {order: 1000000}
---
kind: GlobalNetworkPolicy
metadata: {name: security.no-guests}
spec:
  tier: security
  order: 5
  selector: all()
  types: [Ingress]
  ingress:
  - {action: Deny, source: {serviceAccounts: {selector: role == "guest"}}}
  - {action: Pass}
---
kind: NetworkPolicy
metadata: {name: default.db, namespace: prod}
spec:
  tier: default
  order: 100
  serviceAccountSelector: role == "db"
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [web]}}, destination: {ports: [5432, "named-port"]}}
  - {action: Allow, protocol: UDP, source: {selector: trusted == "yes", namespaceSelector: kubernetes.io/metadata.name == "stage"}}
  - {action: Allow, protocol: TCP, source: {nets: [192.0.2.0/24]}, destination: {ports: ["5000:5010"]}}
---
kind: GlobalNetworkSet
metadata: {name: partners, labels: {who: partner}}
spec: {nets: [198.51.100.0/24]}
---
kind: NetworkPolicy
metadata: {name: default.web, namespace: prod}
spec:
  tier: default
  selector: app == "web"
  types: [Ingress, Egress]
  ingress:
  - {action: Allow, source: {selector: who == "partner", namespaceSelector: global()}}
  egress:
  - {action: Allow, destination: {serviceAccounts: {names: [db]}}}
`

// kubernetesNetwork is what Kubernetes itself has, with the addresses of pods in place of a network plugin's.
const kubernetesNetwork = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {env: prod}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: stage}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: web}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: db, namespace: prod, labels: {role: db}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: batch, namespace: stage}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: guest, namespace: stage, labels: {role: guest}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: batch, namespace: stage}
spec:
  podSelector: {matchLabels: {app: batch}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {env: prod}}}]
    ports: [{protocol: TCP, port: 8080, endPort: 8090}]
`

// clusterPods are pods as kubelets would leave them. One has both IP versions, one shares its node's address, one has
// finished and its address may be another's.
func clusterPods() []corev1.Pod {
	make := func(namespace, name, account, app string, change func(*corev1.Pod), ips ...string) corev1.Pod {
		p := corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}},
			Spec: corev1.PodSpec{ServiceAccountName: account, NodeName: "node", Containers: []corev1.Container{{
				Name: "c", Image: "example/app:1", Ports: []corev1.ContainerPort{{Name: "named-port", ContainerPort: 9000, Protocol: corev1.ProtocolTCP}},
			}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ips[0]},
		}
		for _, ip := range ips {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	return []corev1.Pod{
		make("prod", "web-0", "web", "web", nil, "10.65.0.1"),
		make("prod", "web-1", "web", "other", nil, "10.65.0.2", "fd00::2"),
		make("prod", "db-0", "db", "db", nil, "10.65.0.3"),
		make("stage", "batch-0", "batch", "batch", func(p *corev1.Pod) { p.Labels["trusted"] = "yes" }, "10.65.0.4"),
		make("stage", "guest-0", "guest", "guest", nil, "10.65.0.5"),
		make("stage", "agent", "guest", "agent", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "192.0.2.1"),
		make("prod", "done", "db", "db", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, "10.65.0.5"),
	}
}

const change = `
# Two documents of three are flow mappings.
{apiVersion: v1, kind: ServiceAccount, metadata: {name: batch, namespace: stage, labels: {role: guest}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: batch, namespace: stage}
spec:
  podSelector: {matchLabels: {app: batch}}
  ingress:
  - from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: prod, labels: {app: web}}
spec: {serviceAccountName: web, nodeName: node, containers: [{name: c, image: "example/app:1"}]}
`

// closed is the policy "db" as Calico's API has it, without what it allowed.
const closed = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: %s, namespace: prod}
spec: {tier: default, order: 100, serviceAccountSelector: role == "db", types: [Ingress]}
`

const flows = `[
  {"from":"prod/web-0","to":"prod/db-0","protocol":"TCP","port":5432},
  {"from":"prod/web-0","to":"prod/db-0","protocol":"TCP","port":9000},
  {"from":"prod/web-0","to":"prod/db-0","protocol":"UDP","port":53},
  {"from":"prod/web-1","to":"prod/db-0","protocol":"TCP","port":5432},
  {"from":"stage/batch-0","to":"prod/db-0","protocol":"UDP","port":53},
  {"from":"stage/guest-0","to":"prod/db-0","protocol":"UDP","port":53},
  {"from":"prod/web-0","to":"stage/batch-0","protocol":"TCP","port":8085},
  {"from":"prod/db-0","to":"stage/batch-0","protocol":"TCP","port":8085},
  {"from":"prod/db-0","to":"stage/batch-0","protocol":"TCP","port":8091},
  {"from":"198.51.100.7","to":"prod/web-0","protocol":"TCP","port":443},
  {"from":"192.0.2.77","to":"prod/db-0","protocol":"TCP","port":5005},
  {"from":"fd00::9","to":"prod/web-1","protocol":"TCP","port":443,"ipVersion":6}
]`

// What map, diff and verdict read from an API server answers as the same objects do as kubectl exports them, whichever of
// Calico's groups the cluster serves.
func TestTheClustersAnswersAreThoseOfItsManifests(t *testing.T) {
	if err := shared.BuildCLI(t.Context()); err != nil {
		t.Fatal(err)
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		// A cluster of its own, which serves this one group only.
		cp := controlplanetest.Start(t, controlplane.Options{})
		if err := cp.InstallCRDs(t.Context(), crdsOf(t, gv.Group)); err != nil {
			t.Fatal(err)
		}
		kubeconfig := controlplanetest.Kubeconfig(t, cp, "admin", identity.SystemMasters)
		populate(t, cp, kubeconfig, gv)
		db := `"prod/default.db"`
		if gv.Group == "crd.projectcalico.org" {
			db = `"prod/db"` // as Calico's API calls what its store has
		}
		dir := t.TempDir()
		exported, changed, flowsFile := filepath.Join(dir, "exported.yaml"), filepath.Join(dir, "change.yaml"), filepath.Join(dir, "flows.json")
		rewritten := filepath.Join(dir, "rewritten.yaml")
		name := strings.Trim(strings.TrimPrefix(db, `"prod/`), `"`)
		kinds := []string{"namespaces", "serviceaccounts", "pods", "networkpolicies.networking.k8s.io"}
		for _, kind := range []string{"Tier", "GlobalNetworkPolicy", "NetworkPolicy", "GlobalNetworkSet", "NetworkSet"} {
			kinds = append(kinds, plurals[kind]+"."+gv.Group)
		}
		for file, text := range map[string]string{exported: kubectl(t, cp, kubeconfig, "", "get", strings.Join(kinds, ","), "-A", "-o", "yaml"), changed: change, flowsFile: flows, rewritten: fmt.Sprintf(closed, name)} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for name, tc := range map[string]struct {
			cluster, files []string
			code           int
			says           []string
		}{
			"map": {
				cluster: []string{"map", "--denied", "-o", "json"}, files: []string{"map", "--denied", "-o", "json", "-f", exported},
				says: []string{`"5432"`, `"9000"`, `security.no-guests`, `GlobalNetworkSet partners`, `stage/knp.default.batch`, db},
			},
			"map as a table": {
				cluster: []string{"map", "-o", "wide"}, files: []string{"map", "-o", "wide", "-f", exported}, says: []string{"prod/web", "stage/batch"},
			},
			"map as Calico has it": {
				cluster: []string{"map", "--semantics=calico", "-o", "json"}, files: []string{"map", "--semantics=calico", "-o", "json", "-f", exported}, says: []string{"prod/web"},
			},
			"map from a namespace": {
				cluster: []string{"map", "--from", "stage", "-o", "json"}, files: []string{"map", "--from", "stage", "-o", "json", "-f", exported}, says: []string{"stage/batch"},
			},
			"diff": {
				cluster: []string{"diff", "-o", "json", "-f", changed}, files: []string{"diff", "-o", "json", "-f", exported, "--change", changed}, code: 1,
				says: []string{`"now": "Allow"`, `"now": "Deny"`, "security.no-guests"},
			},
			"diff of what goes": {
				cluster: []string{"diff", "-o", "json", "--delete", "networkpolicy." + gv.Group + "/prod/default.db"},
				files:   []string{"diff", "-o", "json", "-f", exported, "--delete", "networkpolicy." + gv.Group + "/prod/default.db"}, code: 1,
				says: []string{`"now": "Allow"`},
			},
			"diff of what Calico's API would write": {
				cluster: []string{"diff", "-o", "json", "-f", rewritten}, files: []string{"diff", "-o", "json", "-f", exported, "--change", rewritten}, code: 1,
				says: []string{`"now": "Deny"`},
			},
			"diff of nothing": {
				cluster: []string{"diff", "-o", "json", "-f", exported}, files: []string{"diff", "-o", "json", "-f", exported, "--change", exported},
			},
			"verdict": {
				cluster: []string{"verdict", "--flows", flowsFile, "-o", "json"}, files: []string{"verdict", "--flows", flowsFile, "-o", "json", "-f", exported},
				says: []string{`"verdict": "Allow"`, `"verdict": "Deny"`, "security.no-guests", db},
			},
			"verdict as Calico has it": {
				cluster: []string{"verdict", "--semantics=calico", "--flows", flowsFile, "-o", "json"},
				files:   []string{"verdict", "--semantics=calico", "--flows", flowsFile, "-o", "json", "-f", exported}, says: []string{`"verdict": "Allow"`, `"verdict": "Deny"`},
			},
		} {
			t.Run(name, func(t *testing.T) {
				var texts []string
				for _, args := range [][]string{tc.cluster, tc.files} {
					out, err := shared.Saguard(t.Context(), kubeconfig, args...)
					if err != nil {
						t.Fatal(err)
					}
					if out.Code != tc.code {
						t.Errorf("%q: exit code %d, want %d\n%s", args, out.Code, tc.code, out.Stderr)
					}
					texts = append(texts, out.Stdout)
				}
				if texts[0] != texts[1] {
					t.Errorf("the cluster:\n%s\nits manifests:\n%s", texts[0], texts[1])
				}
				for _, text := range tc.says {
					if !strings.Contains(texts[0], text) {
						t.Errorf("does not say %s:\n%s", text, texts[0])
					}
				}
			})
		}
	})
}

// crdsOf are the definitions of one of Calico's groups.
func crdsOf(t *testing.T, group string) fs.FS {
	t.Helper()
	all := os.DirFS("../testdata/calico-crds")
	names, err := fs.Glob(all, group+"_*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no CRDs of %s: %v", group, err)
	}
	out := fstest.MapFS{}
	for _, name := range names {
		raw, err := fs.ReadFile(all, name)
		if err != nil {
			t.Fatal(err)
		}
		out[path.Base(name)] = &fstest.MapFile{Data: raw}
	}
	return out
}

// populate makes the objects. Addresses and phases of pods come by the status subresource, as from a kubelet.
func populate(t *testing.T, cp *controlplane.ControlPlane, kubeconfig string, gv schema.GroupVersion) {
	t.Helper()
	kubectl(t, cp, kubeconfig, kubernetesNetwork, "apply", "-f", "-")
	tn := &tenant{t: t}
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("v1")
	list.SetKind("List")
	for _, text := range strings.Split(network, "---\n") {
		o := tn.object(gv, text)
		if strings.HasSuffix(o.GetKind(), "Set") {
			o.SetName(strings.TrimPrefix(o.GetName(), "default.")) // only policies are stored with their tier
		}
		if namespaced(o) {
			o.SetNamespace("prod")
		}
		list.Items = append(list.Items, *o)
	}
	text, err := list.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, cp, kubeconfig, string(text), "apply", "-f", "-")
	client, err := kubernetes.NewForConfig(config(t, cp.AdminConfig()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range clusterPods() {
		made, err := client.CoreV1().Pods(p.Namespace).Create(t.Context(), &p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made.Status = p.Status
		if _, err := client.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func kubectl(t *testing.T, cp *controlplane.ControlPlane, kubeconfig, stdin string, args ...string) string {
	t.Helper()
	out, err := cp.KubectlStdin(t.Context(), kubeconfig, strings.NewReader(stdin), args...)
	if err != nil || out.Code != 0 {
		t.Fatalf("kubectl %q: %v, exit code %d: %s", args, err, out.Code, out.Stderr)
	}
	return out.Stdout
}
