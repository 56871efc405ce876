package registration

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// server answers probes in the order of its answers; the last one stays.
type server struct {
	t        *testing.T
	hostile  []error // to the guard that exempts everybody
	harmless []error // to the guard in order
	asked    int
}

func (s *server) Apply(ctx context.Context, name string, object *unstructured.Unstructured, o metav1.ApplyOptions, _ ...string) (*unstructured.Unstructured, error) {
	if name != ProbeName || object.GetName() != ProbeName || !slices.Equal(o.DryRun, []string{"All"}) {
		s.t.Errorf("asked for %s %s with %+v: it has to be the probe, and a dry run", name, object.GetName(), o)
	}
	s.asked++
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	answers := &s.harmless
	if users, _, err := unstructured.NestedStringSlice(object.Object, "spec", "exempt", "users"); err == nil && len(users) > 0 {
		answers = &s.hostile
	}
	err := (*answers)[0]
	if len(*answers) > 1 {
		*answers = (*answers)[1:]
	}
	return nil, err
}

func status(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

func TestVerify(t *testing.T) {
	guards := schema.GroupResource{Group: "saguard.io", Resource: "serviceaccountguards"}
	denied := status(http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "guards.validate.saguard.io" denied the request: you may not …`)
	unreachable := status(http.StatusInternalServerError, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "guards.validate.saguard.io": connection refused`)
	notSynced := status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, `admission webhook "guards.validate.saguard.io" denied the request: try again`)
	other := status(http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "other.example.com" denied the request: guards.validate.saguard.io`)
	rbac := apierrors.NewForbidden(guards, ProbeName, errors.New(`User "x" cannot patch resource "serviceaccountguards"`))
	tests := map[string]struct {
		hostile, harmless []error
		want              error // nil: in force
		once              bool  // no second attempt: it cannot heal
	}{
		"refused by the webhook, and what is in order passes": {hostile: []error{denied}, harmless: []error{nil}},
		"the webhook comes up meanwhile":                      {hostile: []error{unreachable, notSynced, nil, denied}, harmless: []error{nil}},
		"nobody was asked":                                    {hostile: []error{nil}, harmless: []error{nil}, want: ErrNotAsked},
		"the webhook cannot be reached":                       {hostile: []error{unreachable}, harmless: []error{unreachable}, want: ErrNoAnswer},
		"the webhook's caches are not synced":                 {hostile: []error{notSynced}, harmless: []error{notSynced}, want: ErrNoAnswer},
		"everything is refused":                               {hostile: []error{denied}, harmless: []error{denied}, want: ErrRefusesAll},
		"another webhook refuses":                             {hostile: []error{other}, harmless: []error{nil}, want: ErrNoAnswer, once: true},
		"the account may not ask":                             {hostile: []error{rbac}, harmless: []error{rbac}, want: ErrNoAnswer, once: true},
		"the account may ask only once":                       {hostile: []error{denied}, harmless: []error{rbac}, want: ErrRefusesAll, once: true},
		"the token is not taken":                              {hostile: []error{apierrors.NewUnauthorized("no")}, harmless: []error{nil}, want: ErrNoAnswer, once: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			s := &server{t: t, hostile: test.hostile, harmless: test.harmless}
			if err := Verify(ctx, s, time.Millisecond); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if test.once && s.asked > 2 {
				t.Errorf("asked %d times about what cannot heal", s.asked)
			}
		})
	}
}

// slow is a server that is asked a last time when there is no time left.
type slow struct {
	first error
	asked int
}

func (s *slow) Apply(ctx context.Context, _ string, _ *unstructured.Unstructured, _ metav1.ApplyOptions, _ ...string) (*unstructured.Unstructured, error) {
	s.asked++
	if s.asked == 1 {
		return nil, s.first
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestVerifySaysWhatWasInTheWayAndNotThatTimeRanOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := &slow{}
	if err := Verify(ctx, s, time.Millisecond); !errors.Is(err, ErrNotAsked) || s.asked != 2 {
		t.Errorf("%v after %d questions, want %v after 2", err, s.asked, ErrNotAsked)
	}
	// Unless that is all there is to say.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Verify(ctx, &slow{asked: 1}, time.Millisecond); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, ErrNoAnswer)
	}
}

// configurations is one kind of them.
type configurations struct {
	names []string
	err   error
}

func (c *configurations) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	if c.err != nil {
		return c.err
	}
	i := slices.Index(c.names, name)
	if i < 0 {
		return apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	c.names = slices.Delete(c.names, i, i+1)
	return nil
}

func TestRemove(t *testing.T) {
	others := []string{"other.example.com"}
	validating := &configurations{names: append([]string{ValidatingName}, others...)}
	mutating := &configurations{names: append([]string{MutatingName}, others...)}
	for attempt := range 2 {
		if err := Remove(t.Context(), validating, mutating); err != nil {
			t.Errorf("attempt %d: %v", attempt, err)
		}
		if !slices.Equal(validating.names, others) || !slices.Equal(mutating.names, others) {
			t.Errorf("attempt %d: left %v and %v", attempt, validating.names, mutating.names)
		}
	}

	broken := &configurations{err: errors.New("boom")}
	mutating = &configurations{names: []string{MutatingName}}
	err := Remove(t.Context(), broken, mutating)
	if err == nil || !strings.Contains(err.Error(), ValidatingName) || len(mutating.names) > 0 {
		t.Errorf("%v, left %v: an error about one must be told and must not keep the other", err, mutating.names)
	}
}
