// Package safetynet_test holds the chart's safety net against a real API server while no webhook is there, and against the webhook.
package safetynet_test

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

// shared is one installation for all tests of the package. Each test finds the net in force and the webhook gone, and leaves
// it so.
var shared *world

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	i, err := install.New(ctx, install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr,
		Values: []string{
			"safetyNet.enabled=true",
			"webhook.customWorkloads[0].apiGroups={example.com}", "webhook.customWorkloads[0].apiVersions={v1}", "webhook.customWorkloads[0].resources={rollouts}",
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	defer func() {
		if err := errors.Join(i.Close(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
	}()
	if shared, err = newWorld(ctx, i); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		return 1
	}
	return m.Run()
}
