// Package accessreview asks the API server by SubjectAccessReview. It is the client side of rbac.Reviewer.
package accessreview

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// Creator posts a review: client-go's kubernetes.Interface.AuthorizationV1().SubjectAccessReviews().
type Creator interface {
	Create(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// Reviewer implements rbac.Reviewer. It needs `create` on subjectaccessreviews.authorization.k8s.io.
type Reviewer struct{ reviews Creator }

var _ rbac.Reviewer = (*Reviewer)(nil)

// New returns a Reviewer that posts to reviews.
func New(reviews Creator) *Reviewer { return &Reviewer{reviews: reviews} }

// Review asks once, with the attributes that `kubectl auth can-i` sends (no version), so that both get the same answer. A denial with an evaluationError is no answer but an error: an authorizer of the chain could not be asked
// and might have allowed.
func (r *Reviewer) Review(ctx context.Context, s identity.Subject, a rbac.Attributes) (bool, string, error) {
	review, err := r.reviews.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: s.User, UID: s.UID, Groups: s.Groups, Extra: extra(s.Extra),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: a.Verb, Group: a.Group, Resource: a.Resource, Subresource: a.Subresource,
			Namespace: a.Namespace, Name: a.Name,
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, "", fmt.Errorf("create SubjectAccessReview: %w", err)
	}
	status := review.Status
	switch {
	case status.Allowed && status.Denied:
		return false, "", errors.New("create SubjectAccessReview: answer is both allowed and denied")
	case status.Allowed:
		return true, status.Reason, nil
	case status.EvaluationError != "":
		return false, "", fmt.Errorf("evaluate SubjectAccessReview: %s", status.EvaluationError)
	default:
		return false, "", nil
	}
}

func extra(in map[string][]string) map[string]authorizationv1.ExtraValue {
	if in == nil {
		return nil
	}
	out := make(map[string]authorizationv1.ExtraValue, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}
