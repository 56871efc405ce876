// Package policies_test plays who may write which Calico policy, against a real API server with Calico's CRDs in both of their
// groups, and the webhook as the chart installs it.
package policies_test

import (
	"context"
	"fmt"
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
	os.Exit(install.Around(context.Background(), time.Hour, o, func(ctx context.Context, i *install.Installation) int {
		shared = i
		if err := shared.CP.InstallCRDs(ctx, os.DirFS("../testdata/calico-crds")); err != nil {
			fmt.Fprintln(os.Stderr, "install Calico's CRDs:", err)
			return 1
		}
		return m.Run()
	}))
}
