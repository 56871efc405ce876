// Package scan_test has a cluster that was there before saguard, and holds the background scan of two replicas, and `kubectl saguard scan`, to
// what is wrong with it.
package scan_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// shared is one installation with two replicas, which scan every second.
var shared *install.Installation

func TestMain(m *testing.M) {
	o := install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr, CLI: true, Replicas: 2,
		Values: []string{"webhook.scan.interval=1s"}, WebhookArgs: []string{"--scan-interval=1s"},
	}
	os.Exit(install.Around(context.Background(), 10*time.Minute, o, func(_ context.Context, i *install.Installation) int {
		shared = i
		return m.Run()
	}))
}
