// Package safetynet_test holds the chart's safety net against a real API server while no webhook is there, and against the webhook.
package safetynet_test

import (
	"context"
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

func TestMain(m *testing.M) {
	o := install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr,
		Values: []string{
			"safetyNet.enabled=true",
			"webhook.customWorkloads[0].apiGroups={example.com}", "webhook.customWorkloads[0].apiVersions={v1}", "webhook.customWorkloads[0].resources={rollouts}",
		},
	}
	os.Exit(install.Around(context.Background(), time.Hour, o, func(ctx context.Context, i *install.Installation) int {
		var err error
		if shared, err = newWorld(ctx, i); err != nil {
			fmt.Fprintln(os.Stderr, "prepare:", err)
			return 1
		}
		return m.Run()
	}))
}
