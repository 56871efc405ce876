package nodes_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/e2e/node"
)

const dbPolicy = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db}
spec:
  types: [Ingress]
  serviceAccountSelector: app == 'db'
  ingress:
    - {action: Allow, protocol: TCP, source: {serviceAccounts: {selector: role == 'trusted'}}, destination: {ports: [8080]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: db, labels: {app: db}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, labels: {role: trusted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: intern, labels: {role: intern}}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 5432, targetPort: 8080}]}
---
`

func TestAgentAsDaemonSet(t *testing.T) {
	for name, tc := range map[string]struct {
		backend string
		nodes   node.Options
	}{
		"bpf, ptp, and kube-proxy with nftables":    {backend: "bpf"},
		"nft, bridge, and kube-proxy with iptables": {backend: "nft", nodes: node.Options{CNI: node.Bridge, ProxyMode: "iptables"}},
	} {
		t.Run(name, func(t *testing.T) { testAgent(t, tc.backend, tc.nodes) })
	}
}

func testAgent(t *testing.T, backend string, o node.Options) {
	_, c := installation(t, install.Options{Agent: true, Values: []string{"agent.backend=" + backend}}, o)
	admin := as(t, c.CP, "admin", "system:masters")
	admin.apply(dbPolicy + pod("db", "node-1", "db", "serve", "tcp:8080"))
	for _, n := range c.Nodes {
		admin.apply(pod("web-"+n.Name, n.Name, "web") + pod("intern-"+n.Name, n.Name, "intern"))
	}
	admin.do("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
	addresses := []string{
		admin.do("get", "pod", "db", "-o", "jsonpath={.status.podIP}") + ":8080",
		admin.do("get", "service", "db", "-o", "jsonpath={.spec.clusterIP}") + ":5432",
	}
	dial := func(ctx context.Context, client, address string) error {
		_, err := admin.try(ctx, "exec", client, "--", "/workload", "dial", "-patience=400ms", "tcp", address)
		return err
	}
	reach := func(t *testing.T, client string, want bool) {
		t.Helper()
		for _, address := range addresses {
			eventually(t, fmt.Sprintf("%s reaches %s: %t", client, address, want), func(ctx context.Context) error {
				err := dial(ctx, client, address)
				if want {
					return err
				}
				if err == nil {
					return errAllowed
				}
				if !strings.Contains(err.Error(), "i/o timeout") {
					return err
				}
				return nil
			})
		}
	}
	all := func(t *testing.T, interns bool) {
		t.Helper()
		for _, n := range c.Nodes {
			reach(t, "web-"+n.Name, true)
			reach(t, "intern-"+n.Name, interns)
		}
	}

	t.Run("it says how the node is enforced", func(t *testing.T) {
		if out := admin.do("exec", "-n", install.Namespace, "daemonset/saguard-agent", "--", "/saguard-agent", "status"); !strings.Contains(out, backend) {
			t.Errorf("status does not name the backend %s:\n%s", backend, out)
		}
	})
	t.Run("the accounts' labels decide, on the same node and across", func(t *testing.T) { all(t, false) })
	t.Run("a label put on lets in, and taken off cuts live connections alone", func(t *testing.T) {
		admin.do("label", "serviceaccount", "intern", "role=trusted", "--overwrite")
		all(t, true)
		var interns, webs []*held
		for _, n := range c.Nodes {
			for _, address := range addresses {
				interns = append(interns, hold(t, admin, "intern-"+n.Name, address))
				webs = append(webs, hold(t, admin, "web-"+n.Name, address))
			}
		}
		admin.do("label", "serviceaccount", "intern", "role=intern", "--overwrite")
		labelled := time.Now()
		for _, h := range interns {
			last := h.cut(t)
			t.Logf("%s: the last answer came %d ms after kubectl came back", h.name, last.Sub(labelled).Milliseconds())
			if last.Sub(labelled) > time.Second {
				t.Errorf("%s lived on for %s", h.name, last.Sub(labelled))
			}
		}
		all(t, false)
		for _, h := range webs {
			h.still(t)
		}
	})
	t.Run("a pod that is born while no agent runs is not reached until one does", func(t *testing.T) {
		elsewhere := func(value string) {
			admin.do("patch", "daemonset", "saguard-agent", "-n", install.Namespace, "--type=merge",
				"-p", `{"spec":{"template":{"spec":{"nodeSelector":{"saguard.test/none":`+value+`}}}}}`)
		}
		elsewhere(`"true"`)
		admin.do("wait", "pod", "-n", install.Namespace, "-l", "app.kubernetes.io/component=agent", "--for=delete", "--timeout=60s")
		admin.apply(pod("late", "node-1", "web", "serve", "tcp:8080"))
		admin.do("wait", "pod", "late", "--for=condition=Ready", "--timeout=60s") // the kubelet's own way is not in question
		late := admin.do("get", "pod", "late", "-o", "jsonpath={.status.podIP}") + ":8080"
		for _, client := range []string{"web-node-1", "web-node-2"} {
			if err := dial(t.Context(), client, late); err == nil {
				t.Errorf("%s reaches a pod that no agent knows", client)
			} else if !strings.Contains(err.Error(), "i/o timeout") {
				t.Errorf("%s: %v", client, err)
			}
		}
		all(t, false)
		elsewhere("null")
		admin.do("rollout", "status", "daemonset/saguard-agent", "-n", install.Namespace, "--timeout=60s")
		for _, client := range []string{"web-node-1", "web-node-2"} {
			eventually(t, client+" reaches the pod", func(ctx context.Context) error { return dial(ctx, client, late) })
		}
	})
	t.Run("the agent's end and start change nothing for packets", func(t *testing.T) {
		var webs []*held
		for _, n := range c.Nodes {
			webs = append(webs, hold(t, admin, "web-"+n.Name, addresses[0]))
		}
		admin.do("delete", "pod", "-n", install.Namespace, "-l", "app.kubernetes.io/component=agent", "--wait=false")
		for range 5 {
			for _, n := range c.Nodes {
				if err := dial(t.Context(), "intern-"+n.Name, addresses[0]); err == nil {
					t.Errorf("intern-%s reaches the database while the agent is away", n.Name)
				}
			}
		}
		admin.do("rollout", "status", "daemonset/saguard-agent", "-n", install.Namespace, "--timeout=60s")
		all(t, false)
		for _, h := range webs {
			h.still(t)
		}
	})
}

// held is a connection of a pod that is kept busy.
type held struct {
	name   string
	exited <-chan error
	stop   context.CancelFunc
	out    *bufio.Scanner
}

func hold(t *testing.T, u user, client, address string) *held {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, u.cp.Paths().Kubectl, "--kubeconfig", u.kubeconfig, "exec", client, "--", "/workload", "hold", "-patience=2s", "-every=2ms", "tcp", address)
	cmd.Env = []string{"HOME=" + u.cp.Dir()}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = out.Close()
	})
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	h := &held{name: client + " to " + address, stop: stop, out: bufio.NewScanner(out)}
	h.exited, err = controlplane.StartTied(cmd)
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	if !h.out.Scan() {
		t.Fatalf("%s: no answer: %v", h.name, <-h.exited)
	}
	return h
}

// cut waits for the end of the connection and returns when its last answer came.
func (h *held) cut(t *testing.T) time.Time {
	t.Helper()
	if !h.out.Scan() {
		t.Fatalf("%s: ended without a word", h.name)
	}
	_, after, ok := strings.Cut(h.out.Text(), ", the last at ")
	stamp, _, _ := strings.Cut(after, " ")
	last, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(stamp, ":"))
	if !ok || err != nil {
		t.Fatalf("%s says %q: %v", h.name, h.out.Text(), err)
	}
	return last
}

// still fails if the connection has ended.
func (h *held) still(t *testing.T) {
	t.Helper()
	select {
	case <-h.exited:
		h.out.Scan()
		t.Errorf("%s ended: %s", h.name, h.out.Text())
	default:
	}
	h.stop()
}
