// Command demo plays a story on a real API server with saguard installed by its chart: two people with client certificates,
// real kubectl commands and what they print, the audit log lines that result, and, as root of a Linux machine that can run
// nodes, packets between real pods on two of them. It ends by itself, with exit code 0 only if every step answered as expected.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		return 1
	}
	return 0
}

func play(ctx context.Context) (err error) {
	started := time.Now()
	i, without, err := start(ctx, install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, CLI: true, Log: os.Stderr,
	})
	if err != nil {
		return err
	}
	defer func() {
		// Also after Ctrl-C nothing may stay behind.
		err = errors.Join(err, i.Close(context.WithoutCancel(ctx)))
	}()
	fmt.Printf("Ready after %.0f s.\n", time.Since(started).Seconds())
	s := &stage{ctx: ctx, i: i}
	if err := story(s, without); err != nil {
		return err
	}
	if s.failed > 0 {
		return fmt.Errorf("%d of %d steps did not answer as expected", s.failed, s.steps)
	}
	fmt.Printf("\nAll %d steps answered as expected.\n", s.steps)
	return nil
}

// startWithout installs saguard on an API server alone.
func startWithout(ctx context.Context, o install.Options) (*install.Installation, error) {
	fmt.Println("Starting etcd, kube-apiserver and kube-controller-manager, and installing saguard by its chart ...")
	return install.New(ctx, o)
}
