package registration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/api/v1alpha1"
)

// ProbeName is the name of the guard that Verify asks for and that never exists. The chart's permission for the test is bound
// to it: server-side apply is authorized with the object's name, also where the object would be created.
const ProbeName = "saguard-admission-probe"

// deniedBy is how the API server words a webhook's refusal (k8s.io/apiserver, ToStatusErr). The webhook's name alone is also
// in the error of a webhook that cannot be reached, which proves nothing.
const deniedBy = `admission webhook "guards.validate.saguard.io" denied the request`

// Why admission is not in force.
var (
	// ErrNotAsked: the API server let pass what the webhook refuses, so it did not ask it, or did not wait for its answer.
	ErrNotAsked = errors.New("a guard that saguard refuses was let pass: the webhooks are not registered, or failurePolicy Ignore let the request go unanswered")
	// ErrRefusesAll: what is in order is refused, too.
	ErrRefusesAll = errors.New("a guard that is in order was refused")
	// ErrNoAnswer: something else than the webhook refused.
	ErrNoAnswer = errors.New("the webhook gave no answer")
)

// Applier is the part of dynamic.ResourceInterface, for serviceaccountguards, that Verify needs.
type Applier interface {
	Apply(ctx context.Context, name string, object *unstructured.Unstructured, o metav1.ApplyOptions, subresources ...string) (*unstructured.Unstructured, error)
}

// Verify asks the API server, by dry run, for two guards: one that exempts everybody, which only the webhook refuses and
// always does, and one in order. It returns nil as soon as the first is refused by the webhook and the second is not, and what was
// last in the way once ctx ends. Nothing is written. An error of permission does not heal and is returned at once.
func Verify(ctx context.Context, guards Applier, every time.Duration) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, every, true, func(ctx context.Context) (bool, error) {
		_, refusal := guards.Apply(ctx, ProbeName, probe("system:anonymous"), dryRun())
		wrong := wrongRefusal(refusal)
		if wrong == nil {
			if _, refusal = guards.Apply(ctx, ProbeName, probe(), dryRun()); refusal == nil {
				return true, nil
			}
			wrong = fmt.Errorf("%w: %w", ErrRefusesAll, refusal)
		}
		// What an attempt says that time ran out on is less than what the one before it said.
		if last == nil || ctx.Err() == nil {
			last = wrong
		}
		return false, mayNotAsk(refusal)
	})
	if err != nil {
		if last != nil {
			err = last
		}
		return fmt.Errorf("verify admission: %w", err)
	}
	return nil
}

// wrongRefusal returns nil for the webhook's own refusal with 403, and fails closed for everything else.
func wrongRefusal(err error) error {
	switch {
	case err == nil:
		return ErrNotAsked
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), deniedBy):
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
}

// mayNotAsk returns an error of RBAC, or of the API server's authentication, and nil for all others.
func mayNotAsk(err error) error {
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) && !strings.Contains(err.Error(), deniedBy) {
		return err
	}
	return nil
}

func dryRun() metav1.ApplyOptions {
	return metav1.ApplyOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "saguard-verify", Force: true}
}

func probe(exempt ...any) *unstructured.Unstructured {
	spec := map[string]any{}
	if len(exempt) > 0 {
		spec["exempt"] = map[string]any{"users": exempt}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(),
		"kind":       "ServiceAccountGuard",
		"metadata":   map[string]any{"name": ProbeName},
		"spec":       spec,
	}}
}
