package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/saguard/saguard/e2e/controlplane"
)

// BuildCLI compiles kubectl-saguard for Saguard.
func (i *Installation) BuildCLI(ctx context.Context) error {
	return buildProduct(ctx, i.root, "./cmd/kubectl-saguard", i.path("kubectl-saguard"))
}

// Saguard runs kubectl-saguard as the user of a kubeconfig. An exit code other than 0 is in the output, not an error.
func (i *Installation) Saguard(ctx context.Context, kubeconfig string, args ...string) (controlplane.Output, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, i.path("kubectl-saguard"), append(args, "--kubeconfig", kubeconfig)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := controlplane.Output{Stdout: stdout.String(), Stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		out.Code = exit.ExitCode()
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("run kubectl-saguard: %w", err)
	}
	return out, nil
}

// CLI is the path of the program that BuildCLI makes.
func (i *Installation) CLI() string { return i.path("kubectl-saguard") }
