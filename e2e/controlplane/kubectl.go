package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Output is what a command printed and its exit code.
type Output struct {
	Stdout string
	Stderr string
	Code   int
}

// Kubectl runs kubectl with a kubeconfig of this control plane, see Kubeconfig.
// A command that ran and refused is no error: look at Code. The environment is
// minimal, with the caller's PATH so that kubectl finds plugins.
func (cp *ControlPlane) Kubectl(ctx context.Context, kubeconfig string, args ...string) (Output, error) {
	return cp.KubectlStdin(ctx, kubeconfig, nil, args...)
}

// KubectlStdin is Kubectl with a standard input, for "apply -f -".
func (cp *ControlPlane) KubectlStdin(ctx context.Context, kubeconfig string, stdin io.Reader, args ...string) (Output, error) {
	cmd := exec.CommandContext(ctx, cp.paths.Kubectl, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.Dir = cp.folder.path // HOME too: discovery is cached under it, per control plane
	cmd.Env = append(minimalEnv(cp.folder.path), "KUBECONFIG="+kubeconfig)
	cmd.WaitDelay = 5 * time.Second
	err := runTied(cmd)
	out := Output{Stdout: stdout.String(), Stderr: stderr.String()}
	if ctx.Err() != nil {
		return out, fmt.Errorf("run kubectl %s: %w", strings.Join(args, " "), context.Cause(ctx))
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		out.Code = exit.ExitCode()
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("run kubectl %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}
