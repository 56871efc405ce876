package advisories_test

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

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	var err error
	shared, err = install.New(ctx, install.Options{ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		return 1
	}
	defer func() {
		if err := shared.Close(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "close:", err)
			code = 1
		}
	}()
	return m.Run()
}
