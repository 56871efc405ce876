package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// waitRegistered waits until the API server calls the webhook: a guard that only the webhook refuses (it exempts
// system:anonymous) must be refused. The attempt is a dry run and leaves nothing behind.
func (i *Installation) waitRegistered(ctx context.Context) error {
	const probe = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"registration-probe"},
		"spec":{"exempt":{"users":["system:anonymous"]}}}`
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		_, err := i.KubectlStdin(ctx, i.Admin, strings.NewReader(probe), "create", "--dry-run=server", "-f", "-")
		if refused, ok := errors.AsType[*CommandError](err); ok {
			// Its name alone is also in the error of a webhook that cannot be reached.
			return strings.Contains(refused.Output.Stderr, `"guards.validate.saguard.io" denied the request`), nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("wait for the API server to call the webhook: %w", err)
	}
	return nil
}
