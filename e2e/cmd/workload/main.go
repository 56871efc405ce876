// Command workload is what pods of the end-to-end tests run: a pause, a server that says who it is, and clients.
//
//	workload                                wait for SIGTERM (also the sandbox's pause)
//	workload serve NETWORK:PORT...          answer each line or datagram with this pod's name and what was sent
//	workload dial [flags] NETWORK ADDRESS   send a line, print the answer, exit 1 if there is none
//	workload hold [flags] NETWORK ADDRESS   keep one connection, a line at a time, and say when it is cut (exit 3)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errCut):
		fmt.Println(err)
		os.Exit(3)
	default:
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return pause(ctx)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	patience := flags.Duration("patience", 2*time.Second, "how long to wait for an answer")
	every := flags.Duration("every", 20*time.Millisecond, "hold: time between lines")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	rest := flags.Args()
	switch {
	case args[0] == "serve" && len(rest) > 0:
		return serve(ctx, rest, out)
	case args[0] == "dial" && len(rest) == 2:
		return dial(ctx, rest[0], rest[1], *patience, out)
	case args[0] == "hold" && len(rest) == 2:
		return hold(ctx, rest[0], rest[1], *patience, *every, out)
	default:
		return fmt.Errorf("arguments %q: want nothing, serve, dial or hold", args)
	}
}

// pause waits, and as the first process of a sandbox reaps what is left there.
func pause(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-children:
			for pid := 1; pid > 0; {
				pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			}
		}
	}
}
