package drills

import (
	"context"
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// patience is how long anything may take that has no limit of its own.
const patience = time.Minute

// values of the chart: the CRDs go with the release.
var values = []string{"crds.keep=false"}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if address := os.Getenv(attackEnv); address != "" {
		if err := attack(context.Background(), address, os.Getenv(attackCAEnv)); err != nil {
			fmt.Fprintln(os.Stderr, "attack:", err)
			return 1
		}
		return 0
	}
	code := m.Run()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "DRILL\tREQUESTS\tREFUSED\tWRONG\tP50\tP99\tLONGEST GAP\tREMARK")
	for _, line := range table.lines() {
		fmt.Fprintln(out, line)
	}
	out.Flush()
	return code
}

// TestDrills runs the drills one after the other on one installation; each makes of it what it needs, so that any can be run
// alone. The last one removes it.
func TestDrills(t *testing.T) {
	began := time.Now()
	own, err := install.New(t.Context(), install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}, Log: os.Stderr, Replicas: 2,
		Values: values,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t, own)
	t.Logf("installed within %s", time.Since(began).Round(time.Second))
	for _, drill := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"one of two replicas is ended", endOne},
		{"one of two replicas is killed", killOne},
		{"hostile reviews", hostile},
		{"the API server is restarted", restartAPIServer},
		{"etcd is slow", slowEtcd},
		{"upgrade and rollback", upgradeAndRollback},
		{"a watch stalls silently", stallWatch},
		{"no replica is left", nothingLeft},
		{"uninstall", uninstall},
	} {
		t.Run(drill.name, func(t *testing.T) {
			began := time.Now()
			drill.run(t, s)
			t.Logf("took %s", time.Since(began).Round(100*time.Millisecond))
		})
	}
}
