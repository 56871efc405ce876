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

	"github.com/saguard/saguard/e2e/node"
)

// victim starts nodes with a pod, says so, and waits to be killed.
func victim(ctx context.Context) error {
	c, err := node.Start(ctx, node.Options{})
	if err != nil {
		return err
	}
	admin, err := c.CP.Kubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	out, err := c.CP.KubectlStdin(ctx, admin, strings.NewReader(pod("one", "node-1", "default")), "apply", "-f", "-")
	if err == nil && out.Code == 0 {
		out, err = c.CP.Kubectl(ctx, admin, "wait", "pod/one", "--for=condition=Ready", "--timeout=60s")
	}
	if err != nil || out.Code != 0 {
		return errors.Join(err, fmt.Errorf("start a pod: %s", out.Stderr), c.Close(ctx))
	}
	fmt.Println(c.Dir(), c.CP.Dir())
	return c.CP.Wait(ctx)
}

func TestKilledStarterLeavesNothing(t *testing.T) {
	lacking(t)
	tr := traces{settings: machine(t)}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), victimEnv+"=1"), os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(bufio.NewReader(stdout), &tr.nodes, &tr.controlPlane); err != nil {
		t.Fatalf("read the victim's folders: %v", err)
	}
	if got := len(tr.processes(t)); got < 8 {
		t.Errorf("%d processes of nodes run, want two of each kind at least", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its error is the kill
	killed := time.Now()
	eventually(t, "nothing to be left", func(context.Context) error {
		if left := tr.left(t); len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, "\n"))
		}
		return nil
	})
	t.Logf("nothing is left %.1f s after the kill", time.Since(killed).Seconds())
	tr.gone(t)
}

func TestPowerCut(t *testing.T) {
	c := cluster(t, node.Options{})
	admin := as(t, c.CP, "admin", "system:masters")
	admin.apply(pod("server", "node-1", "default", "serve", "tcp:8080") + pod("client", "node-2", "default"))
	admin.do("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
	n := c.Nodes[0]
	answers := func(ctx context.Context) error {
		ip, err := admin.try(ctx, "get", "pod", "server", "-o", "jsonpath={.status.podIP}")
		if err != nil {
			return err
		}
		_, err = admin.try(ctx, "exec", "client", "--", "/workload", "dial", "tcp", ip+":8080")
		return err
	}
	eventually(t, "an answer", answers)
	running := len(traces{}.of(c).processes(t))

	cut := time.Now()
	if err := n.PowerCut(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("down after %.2f s", time.Since(cut).Seconds())
	if left := len(traces{}.of(c).processes(t)); left >= running {
		t.Errorf("%d processes of nodes were running, and %d are", running, left)
	}
	if err := answers(t.Context()); err == nil {
		t.Error("a pod of a node without power answers")
	}
	if _, err := n.Run(t.Context(), "true"); err == nil {
		t.Error("a command runs on a node without power")
	}
	if err := n.PowerCut(t.Context()); err == nil {
		t.Error("a node without power is switched off again")
	}

	booted := time.Now()
	if err := n.Boot(); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitReady(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready again after %.1f s", time.Since(booted).Seconds())
	eventually(t, "an answer after the boot", answers)
	t.Logf("the pod answers after %.1f s", time.Since(booted).Seconds())
	if err := n.Boot(); err == nil {
		t.Error("a node that is on is booted")
	}
}
