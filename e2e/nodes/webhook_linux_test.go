package nodes_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/e2e/node"
)

// installation is saguard on nodes that end with the test.
func installation(t *testing.T, o install.Options, nodes node.Options) (*install.Installation, *node.Cluster) {
	t.Helper()
	lacking(t)
	o.Log = os.Stderr
	before := traces{settings: machine(t)}
	started := time.Now()
	i, c, err := install.OnNodes(t.Context(), o, nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes and saguard ready after %.1f s", len(c.Nodes), time.Since(started).Seconds())
	t.Cleanup(func() {
		if err := i.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		before.of(c).gone(t)
	})
	return i, c
}

const guard = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"roles"},"spec":{"labels":{"mode":"Enforce","keys":["role"]}}}`

func TestWebhookAsDeploymentBehindItsService(t *testing.T) {
	i, c := installation(t, install.Options{}, node.Options{})
	admin := as(t, c.CP, "admin", "system:masters")
	admin.apply(guard)
	admin.do("create", "namespace", "prod")
	admin.do("create", "serviceaccount", "web", "-n", "prod")
	admin.do("create", "rolebinding", "alice", "--clusterrole=admin", "--user=alice", "-n", "prod")
	alice := as(t, c.CP, "alice")
	denied := func(ctx context.Context) error {
		_, err := alice.try(ctx, "label", "serviceaccount", "web", "role=trusted", "-n", "prod", "--dry-run=server")
		if err == nil {
			return errAllowed
		}
		if !strings.Contains(err.Error(), "denied the request: you may not put label role=trusted") {
			return err
		}
		return nil
	}
	eventually(t, "a denial by the webhook", denied)

	t.Run("it runs on both nodes, without rights", func(t *testing.T) {
		nodes := admin.do("get", "pods", "-n", install.Namespace, "-o", `jsonpath={range .items[*]}{.spec.nodeName} {end}`)
		if !strings.Contains(nodes, "node-1") || !strings.Contains(nodes, "node-2") {
			t.Errorf("replicas on %s, want one on each node", nodes)
		}
		for _, n := range c.Nodes {
			status, err := n.Run(t.Context(), "sh", "-c", `cat /proc/$(pgrep -f ^/saguard-webhook)/status`)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Uid:\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
				if !strings.Contains(status, want) {
					t.Errorf("status of the webhook on %s lacks %q:\n%s", n.Name, want, status)
				}
			}
		}
	})
	t.Run("it answers while either node is down", func(t *testing.T) {
		if err := c.Nodes[0].PowerCut(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Until the node is found missing, half of the connections lead to it; the API server asks again for none.
		eventually(t, "a denial by the replica that is left", denied)
		if err := c.Nodes[0].Boot(); err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitReady(t.Context(), c.Nodes[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := i.Kubectl(t.Context(), i.Admin, "rollout", "status", "deployment/saguard", "-n", install.Namespace, "--timeout=60s"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a denial after the node is back", denied)
	})
}
