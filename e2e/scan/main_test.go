// Package scan_test has a cluster that was there before saguard, and holds the background scan of two replicas, and `kubectl saguard scan`, to
// what is wrong with it.
package scan_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// shared is one installation with two replicas, which scan every second.
var shared *install.Installation

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	shared, err = install.New(ctx, install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr, CLI: true, Replicas: 2,
		Values: []string{"webhook.scan.interval=1s"}, WebhookArgs: []string{"--scan-interval=1s"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	defer func() {
		if err := errors.Join(shared.Close(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
	}()
	return m.Run()
}
