// Command saguard-webhook is the admission webhook: flags, then wiring, then run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker.
var version = "dev" //nolint:gochecknoglobals // -ldflags -X main.version

func main() { os.Exit(exitCode()) }

// exitCode runs the process, so that deferred calls are made before the process ends.
func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 2
	}
	if o == nil {
		return 0
	}
	if os.Getenv("GOGC") == "" {
		// What is live is a few tens of MiB of index; what a request leaves behind is garbage. Collecting four times more
		// rarely than by default saves an eighth of the CPU, and GOMEMLIMIT bounds what that can cost.
		debug.SetGCPercent(400)
	}
	if err := serve(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 1
	}
	return 0
}
