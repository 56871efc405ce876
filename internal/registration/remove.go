package registration

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The names of the chart's webhook configurations.
const (
	ValidatingName = "validate.saguard.io"
	MutatingName   = "mutate.saguard.io"
)

// Deleter is the part of the clients of webhook configurations that Remove needs.
type Deleter interface {
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Remove deletes both webhook configurations, so that the API server asks nobody who is about to go. One that is gone already
// is no error; an error about one does not keep the other.
func Remove(ctx context.Context, validating, mutating Deleter) error {
	return errors.Join(remove(ctx, validating, ValidatingName), remove(ctx, mutating, MutatingName))
}

func remove(ctx context.Context, configurations Deleter, name string) error {
	if err := configurations.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete webhook configuration %s: %w", name, err)
	}
	return nil
}
