package rbac

import (
	"context"
	"fmt"
	"sync"

	"github.com/saguard/saguard/internal/identity"
)

// maxConcurrentReviews bounds the SubjectAccessReviews of one question in flight. A question has at most seven candidates; a
// burst of all of them from every request would run into the client's rate limit and wait there.
const maxConcurrentReviews = 4

type reviewResult struct {
	allowed bool
	reason  string
	err     error
}

// reviewAny asks for every candidate name of q. One allowed is enough, also if another could not be asked: permissions only
// add up. The reason is that of the first candidate in their fixed order that is allowed, not of the fastest. If none is
// allowed and one could not be asked, there is no answer: the first error is returned.
func reviewAny(ctx context.Context, r Reviewer, s identity.Subject, q Question) (bool, string, error) {
	names := q.Name.Candidates()
	results := make([]reviewResult, len(names))
	ask := func(i int) {
		results[i] = review(ctx, r, s, Attributes{
			Verb: q.Verb, Group: q.Group, Resource: q.Resource, Subresource: q.Subresource, Namespace: q.Namespace, Name: names[i],
		})
	}
	if len(names) == 1 {
		ask(0)
	} else {
		var wg sync.WaitGroup
		tokens := make(chan struct{}, maxConcurrentReviews)
		for i := range names {
			tokens <- struct{}{}
			wg.Go(func() {
				defer func() { <-tokens }()
				ask(i)
			})
		}
		wg.Wait()
	}
	for _, res := range results {
		if res.allowed {
			return true, res.reason, nil
		}
	}
	for i, res := range results {
		if res.err != nil {
			return false, "", fmt.Errorf("review name %q: %w", names[i], res.err)
		}
	}
	return false, "", nil
}

// review turns a reviewer's panic into an error: in a goroutine of ours nobody else could recover it, and the process would end.
func review(ctx context.Context, r Reviewer, s identity.Subject, a Attributes) (res reviewResult) {
	defer func() {
		if p := recover(); p != nil {
			res = reviewResult{err: fmt.Errorf("reviewer panicked: %v", p)}
		}
	}()
	allowed, reason, err := r.Review(ctx, s, a)
	if err != nil {
		return reviewResult{err: err}
	}
	return reviewResult{allowed: allowed, reason: reason}
}
