// Package controlplanetest starts control planes in tests.
package controlplanetest

import (
	"context"
	"os"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/saguard/saguard/e2e/controlplane"
)

// Start starts a control plane that ends with the test; not starting, and not
// stopping as it should, fail the test. Progress of a build goes to standard
// error.
func Start(tb testing.TB, options controlplane.Options) *controlplane.ControlPlane {
	tb.Helper()
	if options.Log == nil {
		options.Log = os.Stderr
	}
	cp, err := controlplane.Start(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// The test's own context has ended by now.
		if err := cp.Stop(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return cp
}

// User is [controlplane.ControlPlane.User] for tests.
func User(tb testing.TB, cp *controlplane.ControlPlane, name string, groups ...string) *rest.Config {
	tb.Helper()
	config, err := cp.User(name, groups...)
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

// Kubeconfig is [controlplane.ControlPlane.Kubeconfig] for tests.
func Kubeconfig(tb testing.TB, cp *controlplane.ControlPlane, name string, groups ...string) (path string) {
	tb.Helper()
	path, err := cp.Kubeconfig(name, groups...)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}
