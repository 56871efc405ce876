package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/e2e/controlplane"
)

// The label is what policy trusts: the database answers accounts with role=trusted, and nobody else.
const policyYAML = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: db
  namespace: prod
spec:
  types: [Ingress]
  serviceAccountSelector: app == 'db'
  ingress:
    - action: Allow
      protocol: TCP
      source: {serviceAccounts: {selector: role == 'trusted'}}
      destination: {ports: [5432]}
`

// database is the Service's address, fixed so that commands can be read.
const database = "10.96.100.100:5432"

const podsYAML = `apiVersion: v1
kind: ServiceAccount
metadata: {name: db, namespace: prod, labels: {app: db}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: prod}
spec: {clusterIP: 10.96.100.100, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: prod, labels: {app: db}}
spec:
  serviceAccountName: db
  nodeSelector: {kubernetes.io/hostname: node-1}
  terminationGracePeriodSeconds: 0
  containers: [{name: db, image: "saguard.test/workload:1", args: [serve, "tcp:5432"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: prod}
spec:
  serviceAccountName: web
  nodeSelector: {kubernetes.io/hostname: node-1}
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: "saguard.test/workload:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: intern, namespace: prod}
spec:
  serviceAccountName: intern-job
  nodeSelector: {kubernetes.io/hostname: node-2}
  terminationGracePeriodSeconds: 0
  containers: [{name: intern, image: "saguard.test/workload:1"}]
`

// packets shows that the label is worth guarding: pods' packets pass or not as it says, on connections that live, too.
func packets(s *stage, admin, alice, sam person) error {
	const cutOff, answer = "i/o timeout", "ok"
	label := func(p person, want, value string) error {
		return s.expect(p, want, "label", "serviceaccount", "intern-job", "role="+value, "--overwrite", "-n", namespace)
	}
	dial := func(pod, want string) error {
		args := []string{"exec", pod, "-n", namespace, "--", "/workload", "dial", "tcp", database}
		return errors.Join(s.settle(admin, want, args...), s.expect(admin, want, args...))
	}
	s.chapter("Packets: real pods on two nodes")
	return steps(
		func() error {
			s.say("A policy opens the database to trusted accounts alone. Pods: db and web (role=trusted) on node-1, intern (role=contractor) on node-2.")
			return s.expectStdin(admin, "ok", policyYAML, "apply", "-f", "-")
		},
		func() error { return s.quietly(admin, podsYAML, "apply", "-f", "-") },
		func() error {
			return s.until(admin, "wait", "pod", "--all", "-n", namespace, "--for=condition=Ready", "--timeout=20s")
		},
		func() error { return dial("web", answer) },
		func() error { return dial("intern", cutOff) },
		func() error {
			s.say("Alice wants the intern's pod in, and may not:")
			return label(alice, "denied the request: you may not", "trusted")
		},
		func() error {
			s.say("so it stays cut off.")
			return dial("intern", cutOff)
		},
		func() error {
			s.say("Sam may, and from then on it is let in:")
			return label(sam, "ok", "trusted")
		},
		func() error { return dial("intern", answer) },
		func() error {
			s.say("A connection is made and kept busy while sam takes the label back:")
			return s.cutLive(admin, []string{"exec", "intern", "-n", namespace, "--", "/workload", "hold", "-patience=1s", "-every=2ms", "tcp", database},
				func() error { return label(sam, "ok", "intern") })
		},
		func() error {
			s.say("and a new one is not made:")
			return dial("intern", cutOff)
		},
	)
}

// settle waits until a silent command answers as wanted: rules follow the API server's objects within moments.
func (s *stage) settle(p person, want string, args ...string) error {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		out, err := s.i.CP.Kubectl(ctx, p.kubeconfig, args...)
		return (out.Code == 0) == (want == "ok"), err
	})
	if err != nil && s.ctx.Err() == nil && ctx.Err() != nil {
		return nil // shown, and counted, by the command that follows
	}
	return err
}

// quietly runs kubectl and prints nothing unless it fails.
func (s *stage) quietly(p person, stdin string, args ...string) error {
	out, err := s.i.CP.KubectlStdin(s.ctx, p.kubeconfig, strings.NewReader(stdin), args...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("kubectl %s: %s", strings.Join(args, " "), out.Stderr)
	}
	return err
}

var lastAnswer = regexp.MustCompile(`cut after (\d+) answers, the last at (\S+): `)

// cutLive runs a command that holds a connection, and once it is answered does what cuts it.
func (s *stage) cutLive(p person, args []string, cut func() error) error {
	s.steps++
	fmt.Printf("\n%s$ kubectl %s\n", p.name, shell(args))
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, s.i.CP.Paths().Kubectl, args...)
	cmd.Env = []string{"KUBECONFIG=" + p.kubeconfig, "HOME=" + s.i.CP.Dir(), "PATH=" + os.Getenv("PATH")}
	// Not StdoutPipe: StartTied waits at once, which would close it before it is read.
	stdout, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = stdout.Close() }()
	cmd.Stdout, cmd.Stderr = in, &printed
	exited, err := controlplane.StartTied(cmd)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	lines := bufio.NewScanner(stdout)
	if lines.Scan() {
		fmt.Println(lines.Text())
		err = cut()
	}
	labelled := time.Now()
	rest := ""
	for lines.Scan() {
		rest += lines.Text() + "\n"
	}
	<-exited // its error is the connection's end
	if err != nil {
		return err
	}
	match := lastAnswer.FindStringSubmatch(rest)
	if match == nil {
		s.failed++
		fmt.Printf("   ^ NOT as expected: the connection is not cut: %s%s\n", rest, printed.String())
		return nil
	}
	last, err := time.Parse(time.RFC3339Nano, match[2])
	if err != nil {
		return err
	}
	fmt.Printf("\n   The live connection is cut after %s answers; the last one came %s.\n", match[1], relative(last.Sub(labelled)))
	return nil
}

func relative(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%d ms before kubectl said that the label was set", -d.Milliseconds())
	}
	return fmt.Sprintf("%d ms after kubectl said that the label was set", d.Milliseconds())
}
