package install

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/saguard/saguard/e2e/controlplane"
)

// CommandError is a kubectl command that ended with a code other than 0.
type CommandError struct {
	Args   []string
	Output controlplane.Output
}

// Error shows what kubectl printed.
func (e *CommandError) Error() string {
	return fmt.Sprintf("kubectl %s: exit code %d: %s", strings.Join(e.Args, " "), e.Output.Code, strings.TrimSpace(e.Output.Stderr+e.Output.Stdout))
}

// Kubectl runs kubectl as the user of a kubeconfig; an exit code other than 0 is a *CommandError.
func (i *Installation) Kubectl(ctx context.Context, kubeconfig string, args ...string) (controlplane.Output, error) {
	return i.KubectlStdin(ctx, kubeconfig, nil, args...)
}

// KubectlStdin is Kubectl with standard input.
func (i *Installation) KubectlStdin(ctx context.Context, kubeconfig string, stdin io.Reader, args ...string) (controlplane.Output, error) {
	out, err := i.CP.KubectlStdin(ctx, kubeconfig, stdin, args...)
	if err != nil {
		return out, err
	}
	if out.Code != 0 {
		return out, &CommandError{Args: args, Output: out}
	}
	return out, nil
}
