package accessreview_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/saguard/saguard/internal/accessreview"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// The clientset is what callers pass.
var _ accessreview.Creator = fake.NewSimpleClientset().AuthorizationV1().SubjectAccessReviews()

type creator struct {
	status authorizationv1.SubjectAccessReviewStatus
	err    error
	got    *authorizationv1.SubjectAccessReview
}

func (c *creator) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	c.got = r
	if c.err != nil {
		return nil, c.err
	}
	out := r.DeepCopy()
	out.Status = c.status
	return out, nil
}

func TestReview(t *testing.T) {
	unreachable := errors.New("connection refused")
	cases := map[string]struct {
		status  authorizationv1.SubjectAccessReviewStatus
		err     error
		allowed bool
		reason  string
		wantErr string
	}{
		"allowed, with the server's reason": {
			status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "RBAC: x"}, allowed: true, reason: "RBAC: x",
		},
		"allowed although another authorizer failed": {
			status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, EvaluationError: "timeout"}, allowed: true,
		},
		"no opinion":    {status: authorizationv1.SubjectAccessReviewStatus{Reason: "no rule"}},
		"denied":        {status: authorizationv1.SubjectAccessReviewStatus{Denied: true}},
		"not evaluated": {status: authorizationv1.SubjectAccessReviewStatus{EvaluationError: "timeout"}, wantErr: "timeout"},
		"denied because it could not be evaluated": {
			status: authorizationv1.SubjectAccessReviewStatus{Denied: true, EvaluationError: "timeout"}, wantErr: "timeout",
		},
		"allowed and denied": {status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, Denied: true}, wantErr: "both allowed and denied"},
		"not reached":        {err: unreachable, wantErr: "connection refused"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &creator{status: tc.status, err: tc.err}
			allowed, reason, err := accessreview.New(c).Review(t.Context(), identity.Subject{User: "alice"}, rbac.Attributes{})
			if allowed != tc.allowed || reason != tc.reason {
				t.Errorf("got %v %q, want %v %q", allowed, reason, tc.allowed, tc.reason)
			}
			if (err != nil) != (tc.wantErr != "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error %v, want %q", err, tc.wantErr)
			}
			if tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("error %v does not wrap %v", err, tc.err)
			}
		})
	}
}

func TestReviewPassesTheWholeSubject(t *testing.T) {
	c := &creator{}
	s := identity.Subject{User: "alice", UID: "7", Groups: []string{"a", "b"}, Extra: map[string][]string{"k": {"v", "w"}}}
	a := rbac.Attributes{Verb: "use", Group: "g", Resource: "serviceaccounts", Subresource: "labels", Namespace: "prod", Name: "role=intern"}
	if _, _, err := accessreview.New(c).Review(t.Context(), s, a); err != nil {
		t.Fatal(err)
	}
	want := authorizationv1.SubjectAccessReviewSpec{
		User: "alice", UID: "7", Groups: []string{"a", "b"}, Extra: map[string]authorizationv1.ExtraValue{"k": {"v", "w"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "use", Group: "g", Resource: "serviceaccounts", Subresource: "labels", Namespace: "prod", Name: "role=intern",
		},
	}
	if !reflect.DeepEqual(c.got.Spec, want) {
		t.Errorf("got %+v, want %+v", c.got.Spec, want)
	}
}
