// Command saguard-agent enforces network policy on one node: flags, then wiring, then run.
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

// exitCode runs the process, so that deferred calls are made before the process ends. SIGTERM ends the process; the rules stay
// in force, since whoever wants them gone says cleanup.
func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" {
		// The picture of a large cluster is some 80 MiB that live long, on every node; events leave little garbage. Letting it grow
		// to twice that, as is the default, costs more than collecting four times as often.
		debug.SetGCPercent(25)
	}
	root := newRoot(os.Getenv)
	root.SetArgs(os.Args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "saguard-agent:", err)
		return 1
	}
	return 0
}
