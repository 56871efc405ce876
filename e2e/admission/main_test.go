// Package admission_test plays the admission story against a real API server and controller manager, with the webhook as the
// chart installs it.
package admission_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// shared is one installation for all tests of the package, each in namespaces of its own.
var shared *install.Installation

func TestMain(m *testing.M) {
	o := install.Options{ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr}
	os.Exit(install.Around(context.Background(), time.Hour, o, func(_ context.Context, i *install.Installation) int {
		shared = i
		return m.Run()
	}))
}
