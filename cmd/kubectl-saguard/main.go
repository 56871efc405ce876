// Command kubectl-saguard is the kubectl plugin: it wires the process to internal/cli.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/internal/cli"
)

// version is set by the linker.
var version = "dev" //nolint:gochecknoglobals // -ldflags -X needs a variable

func main() { os.Exit(exitCode()) }

// exitCode runs the command, so that deferred calls are made before the process ends.
func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := cli.NewCommand(cli.Options{
		Streams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Version: version,
	}).ExecuteContext(ctx)
	if text := cli.ErrorText(err); text != "" {
		fmt.Fprintln(os.Stderr, text)
	}
	return cli.ExitCode(err)
}
