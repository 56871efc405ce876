package helmtest

import (
	"context"
	"os"
	"strings"
	"testing"
)

// contextWithout is the test's context for its cleanup, where it has ended already.
func contextWithout(t *testing.T) context.Context {
	t.Helper()
	return context.WithoutCancel(t.Context())
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dryRunGuard asks for a guard that the webhook refuses: nil where nothing refuses it.
func (w world) dryRunGuard(ctx context.Context) error {
	const hostile = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"hostile"},"spec":{"exempt":{"users":["system:anonymous"]}}}`
	_, err := w.KubectlStdin(ctx, w.Admin, strings.NewReader(hostile), "create", "--dry-run=server", "-f", "-")
	return err
}
