// Command saguard-webhook is the admission webhook: flags, then wiring, then run.
package main

import (
	"context"
	"fmt"
	"math"
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
	if isRegistration(os.Args[1:]) {
		return registrationCode(ctx, os.Args[1:])
	}
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
	if err := noticeStalls(os.Getenv, os.Setenv); err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 1
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		// GOMEMLIMIT is the container's limit, which counts more than the memory of Go, such as what sockets hold: leave a
		// fifth of it to the rest.
		debug.SetMemoryLimit(limit / 5 * 4)
	}
	if err := serve(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 1
	}
	return 0
}

// registrationCode is exitCode for the commands beside serving.
func registrationCode(ctx context.Context, args []string) int {
	o, err := parseRegistration(args, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 2
	}
	if o == nil {
		return 0
	}
	if err := runRegistration(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "saguard-webhook:", err)
		return 1
	}
	return 0
}

// noticeStalls makes client-go give up a connection to the API server on which nothing comes back, even to a ping, after some
// 10 s: by default it takes 45 s, in which what was revoked is still allowed and, from 25 s on, nothing can be judged. The
// environment is the only way to tell it, and whoever set it knows better.
func noticeStalls(getenv func(string) string, setenv func(key, value string) error) error {
	for _, name := range []string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS", "HTTP2_PING_TIMEOUT_SECONDS"} {
		if getenv(name) != "" {
			continue
		}
		if err := setenv(name, "5"); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}
