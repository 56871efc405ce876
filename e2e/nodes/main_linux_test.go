// Package nodes_test plays stories on real nodes: kubelets, containerd, CNI, kube-proxy and packets between pods.
package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/node"
	"github.com/saguard/saguard/internal/testenv"
)

// victimEnv makes the test binary be the [victim].
const victimEnv = "SAGUARD_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		fmt.Fprintln(os.Stderr, victim(context.Background()))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is ample for what takes seconds.
const patience = 90 * time.Second

// lacking skips or fails a test where nodes cannot run.
func lacking(t *testing.T) {
	t.Helper()
	if err := node.Available(); err != nil {
		testenv.Lacking(t, testenv.Nodes, err.Error())
	}
	if _, err := node.Packages(t.Context(), os.Stderr); err != nil {
		testenv.Lacking(t, testenv.Nodes, err.Error())
	}
}

var errAllowed = errors.New("allowed")

// cluster starts nodes that end with the test, and checks that nothing of them is left.
func cluster(t *testing.T, o node.Options) *node.Cluster {
	t.Helper()
	lacking(t)
	o.Log = os.Stderr
	before := traces{settings: machine(t)}
	started := time.Now()
	c, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes ready after %.1f s", len(c.Nodes), time.Since(started).Seconds())
	t.Cleanup(func() {
		ended := time.Now()
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		t.Logf("nodes ended after %.1f s", time.Since(ended).Seconds())
		before.of(c).gone(t)
	})
	return c
}

// user runs kubectl as somebody.
type user struct {
	t          *testing.T
	cp         *controlplane.ControlPlane
	kubeconfig string
}

func as(t *testing.T, cp *controlplane.ControlPlane, name string, groups ...string) user {
	t.Helper()
	kubeconfig, err := cp.Kubeconfig(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return user{t: t, cp: cp, kubeconfig: kubeconfig}
}

func (u user) try(ctx context.Context, args ...string) (string, error) {
	out, err := u.cp.Kubectl(ctx, u.kubeconfig, args...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("kubectl %s: exit code %d: %s%s", strings.Join(args, " "), out.Code, out.Stderr, out.Stdout)
	}
	return out.Stdout, err
}

func (u user) do(args ...string) string {
	u.t.Helper()
	out, err := u.try(u.t.Context(), args...)
	if err != nil {
		u.t.Fatal(err)
	}
	return out
}

func (u user) apply(manifest string) {
	u.t.Helper()
	out, err := u.cp.KubectlStdin(u.t.Context(), u.kubeconfig, strings.NewReader(manifest), "apply", "-f", "-")
	if err != nil || out.Code != 0 {
		u.t.Fatalf("apply: %v, exit code %d: %s", err, out.Code, out.Stderr)
	}
}

// eventually polls until the condition has no error.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("wait for %s: %v", what, last)
	}
}

// pod is a manifest of a pod of the workload on a node.
func pod(name, node, account string, args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  nodeSelector: {kubernetes.io/hostname: %[2]s}
  serviceAccountName: %[3]s
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: saguard.test/workload:1
      imagePullPolicy: Never
      args: [%[4]s]
---
`, name, node, account, strings.Join(quoted, ", "))
}
