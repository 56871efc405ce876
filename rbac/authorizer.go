package rbac

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/saguard/saguard/internal/identity"
)

// MaxDenyTTL is the longest a denial by SubjectAccessReview may be remembered: a right granted in another authorizer than
// RBAC is seen after at most this long. (One granted in RBAC is seen at once, through the Index.)
const MaxDenyTTL = 5 * time.Second

// ErrNotSynced says that the Index has not been filled yet, so there is no answer. It is not a denial: try again.
var ErrNotSynced = errors.New("RBAC index is not synced")

// Source says what answered a question.
type Source uint8

const (
	// SourceNone is of an answer that could not be had.
	SourceNone Source = iota
	// SourceIndex is the in-memory Index.
	SourceIndex
	// SourceDenyCache is a denial remembered from a SubjectAccessReview.
	SourceDenyCache
	// SourceReview is a SubjectAccessReview.
	SourceReview
)

// String returns a fixed word for each source, fit to be a metric label.
func (s Source) String() string {
	switch s {
	case SourceIndex:
		return "Index"
	case SourceDenyCache:
		return "DenyCache"
	case SourceReview:
		return "SubjectAccessReview"
	default:
		return "None"
	}
}

// Attributes is one literal question: the resourceAttributes of a SubjectAccessReview.
type Attributes struct {
	Verb, Group, Resource, Subresource, Namespace, Name string
}

// Reviewer asks the API server by SubjectAccessReview. It passes on the subject's uid, groups and extra. An error means that
// there is no answer; allowed must be false then.
type Reviewer interface {
	Review(ctx context.Context, subject identity.Subject, a Attributes) (allowed bool, reason string, err error)
}

// Options are the parts of an Authorizer. At least one of Index and Reviewer must be given.
type Options struct {
	// Index returns the newest snapshot, for example Store.Snapshot; nil while it is not synced, which is ErrNotSynced.
	// A nil func turns the index off: every question goes to Reviewer.
	Index func() *Index
	// Reviewer is asked what the Index does not allow; nil = the Index's answer is final.
	Reviewer Reviewer
	// Now is the clock of the denial cache; nil = time.Now.
	Now func() time.Time
	// DenyTTL is how long a denial by Reviewer is remembered: 0 = not at all, at most MaxDenyTTL.
	DenyTTL time.Duration
	// Observe, if given, is told of every question answered, once. It must not block.
	Observe func(source Source, allowed bool, err error)
}

// Authorizer answers questions from the Index, then from remembered denials, then by SubjectAccessReview. It is safe for
// concurrent use. Allowances by review are never remembered: a revoked right is gone at the next question.
type Authorizer struct {
	index    func() *Index
	reviewer Reviewer
	denials  *denyCache
	observe  func(Source, bool, error)
}

// NewAuthorizer returns an Authorizer, or an error if o cannot answer anything or would remember denials for too long.
func NewAuthorizer(o Options) (*Authorizer, error) {
	if o.Index == nil && o.Reviewer == nil {
		return nil, errors.New("make authorizer: neither an index nor a reviewer")
	}
	if o.DenyTTL < 0 || o.DenyTTL > MaxDenyTTL {
		return nil, fmt.Errorf("make authorizer: deny TTL %v is not between 0 and %v", o.DenyTTL, MaxDenyTTL)
	}
	a := &Authorizer{index: o.Index, reviewer: o.Reviewer, observe: o.Observe}
	if o.Reviewer != nil && o.DenyTTL > 0 {
		now := o.Now
		if now == nil {
			now = time.Now
		}
		a.denials = newDenyCache(now, o.DenyTTL)
	}
	return a, nil
}

// Answer is the outcome of one question. The zero Answer is a denial.
type Answer struct {
	Allowed bool
	Source  Source
	// Grant is set if the Index allowed.
	Grant Grant
	// Reason is the API server's own, if a SubjectAccessReview allowed.
	Reason string
}

// GrantedBy returns what allowed, for records: Grant.String(), "SubjectAccessReview: REASON", or "" for a denial.
func (a Answer) GrantedBy() string {
	switch {
	case !a.Allowed:
		return ""
	case a.Source == SourceIndex:
		return a.Grant.String()
	case a.Reason == "":
		return "SubjectAccessReview"
	default:
		return "SubjectAccessReview: " + a.Reason
	}
}

// Authorize answers one question. An error means that there is no answer and Allowed is false (fails closed); it is
// ErrNotSynced, or the reviewer's. Nothing is remembered of an error.
func (a *Authorizer) Authorize(ctx context.Context, s identity.Subject, q Question) (Answer, error) {
	answer, err := a.authorize(ctx, s, q)
	if a.observe != nil {
		a.observe(answer.Source, answer.Allowed, err)
	}
	return answer, err
}

func (a *Authorizer) authorize(ctx context.Context, s identity.Subject, q Question) (Answer, error) {
	if a.index != nil {
		x := a.index()
		if x == nil {
			return Answer{}, fmt.Errorf("authorize %s: %w", q, ErrNotSynced)
		}
		if grant, ok := x.Authorize(s, q); ok {
			return Answer{Allowed: true, Source: SourceIndex, Grant: grant}, nil
		}
		if a.reviewer == nil {
			return Answer{Source: SourceIndex}, nil
		}
	}
	var key denyKey
	if a.denials != nil {
		key = newDenyKey(s, q)
		if a.denials.has(key) {
			return Answer{Source: SourceDenyCache}, nil
		}
	}
	allowed, reason, err := reviewAny(ctx, a.reviewer, s, q)
	if err != nil {
		return Answer{Source: SourceReview}, fmt.Errorf("authorize %s: %w", q, err)
	}
	if !allowed && a.denials != nil {
		a.denials.add(key)
	}
	return Answer{Allowed: allowed, Source: SourceReview, Reason: reason}, nil
}
