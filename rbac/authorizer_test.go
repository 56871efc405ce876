package rbac_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// reviewer allows the names in allow, fails those in fail, and remembers what it was asked.
type reviewer struct {
	allow, fail []string

	mu    sync.Mutex
	asked []string
	live  int
	most  int
}

var errReview = errors.New("connection refused")

func (r *reviewer) Review(_ context.Context, s identity.Subject, a rbac.Attributes) (bool, string, error) {
	r.mu.Lock()
	r.asked = append(r.asked, a.Name)
	r.live++
	r.most = max(r.most, r.live)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.live--
		r.mu.Unlock()
	}()
	switch {
	case slices.Contains(r.fail, a.Name):
		return true, "must not count", errReview
	case slices.Contains(r.allow, a.Name):
		return true, "because " + a.Name, nil
	default:
		return false, "", nil
	}
}

func (r *reviewer) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	slices.Sort(asked)
	return asked
}

func newAuthorizer(t *testing.T, o rbac.Options) *rbac.Authorizer {
	t.Helper()
	a, err := rbac.NewAuthorizer(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuthorizerAsksInOrder(t *testing.T) {
	store := rbactest.MustParse(t, "clusterrole r use serviceaccounts web\nclusterbind b clusterrole:r user:alice").Store()
	cases := map[string]struct {
		index     func() *rbac.Index
		review    *reviewer
		q         rbac.Question
		source    rbac.Source
		grantedBy string
		asked     []string
		err       error
	}{
		"what the index allows is not asked": {
			index: store.Snapshot, review: &reviewer{}, q: rbac.UseAccount("prod", "web"),
			source: rbac.SourceIndex, grantedBy: "ClusterRoleBinding b of ClusterRole r rule 0",
		},
		"what it does not is asked": {
			index: store.Snapshot, review: &reviewer{allow: []string{"db"}}, q: rbac.UseAccount("prod", "db"),
			source: rbac.SourceReview, grantedBy: "SubjectAccessReview: because db", asked: []string{"db"},
		},
		"without a reviewer the index is final": {index: store.Snapshot, q: rbac.UseAccount("prod", "db"), source: rbac.SourceIndex},
		"without an index all is asked": {
			review: &reviewer{allow: []string{"web"}}, q: rbac.UseAccount("prod", "web"),
			source: rbac.SourceReview, grantedBy: "SubjectAccessReview: because web", asked: []string{"web"},
		},
		"every candidate is asked": {
			review: &reviewer{}, q: rbac.UseLabel("prod", "w", "x/k", "v"), source: rbac.SourceReview,
			asked: []string{"w:*", "w:x/*", "w:x/k=*", "w:x/k=v", "x/*", "x/k=*", "x/k=v"},
		},
		"the reason is that of the first candidate, not of the fastest": {
			review: &reviewer{allow: []string{"w:*", "x/*", "x/k=*"}}, q: rbac.UseLabel("prod", "w", "x/k", "v"),
			source: rbac.SourceReview, grantedBy: "SubjectAccessReview: because x/k=*",
			asked: []string{"w:*", "w:x/*", "w:x/k=*", "w:x/k=v", "x/*", "x/k=*", "x/k=v"},
		},
		"an error is no allowance": {
			review: &reviewer{fail: []string{"web"}}, q: rbac.UseAccount("prod", "web"),
			source: rbac.SourceReview, asked: []string{"web"}, err: errReview,
		},
		"an error of one candidate is no denial by the others": {
			review: &reviewer{fail: []string{"k=*"}}, q: rbac.BindLabel("prod", "k", "v"),
			source: rbac.SourceReview, asked: []string{"k=*", "k=v"}, err: errReview,
		},
		"an error of one candidate does not undo another's allowance": {
			review: &reviewer{fail: []string{"k=v"}, allow: []string{"k=*"}}, q: rbac.BindLabel("prod", "k", "v"),
			source: rbac.SourceReview, asked: []string{"k=*", "k=v"}, grantedBy: "SubjectAccessReview: because k=*",
		},
		"an index that is not synced is no denial, and the reviewer does not stand in": {
			index: func() *rbac.Index { return nil }, review: &reviewer{allow: []string{"web"}}, q: rbac.UseAccount("prod", "web"),
			source: rbac.SourceNone, err: rbac.ErrNotSynced,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var observed []string
			o := rbac.Options{Index: tc.index, DenyTTL: time.Second, Observe: func(s rbac.Source, allowed bool, err error) {
				observed = append(observed, fmt.Sprint(s, allowed, err != nil))
			}}
			if tc.review != nil {
				o.Reviewer = tc.review
			}
			answer, err := newAuthorizer(t, o).Authorize(t.Context(), user("alice"), tc.q)
			if !errors.Is(err, tc.err) || err != nil && tc.err == nil {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if answer.Allowed != (tc.grantedBy != "") || answer.GrantedBy() != tc.grantedBy || answer.Source != tc.source {
				t.Errorf("answer %+v, granted by %q; want %q by %v", answer, answer.GrantedBy(), tc.grantedBy, tc.source)
			}
			if want := []string{fmt.Sprint(tc.source, tc.grantedBy != "", tc.err != nil)}; !slices.Equal(observed, want) {
				t.Errorf("observed %q, want %q", observed, want)
			}
			if tc.review != nil {
				if asked := tc.review.take(); !slices.Equal(asked, tc.asked) {
					t.Errorf("asked %q, want %q", asked, tc.asked)
				}
				if tc.review.most > 4 {
					t.Errorf("%d reviews at once", tc.review.most)
				}
			}
		})
	}
}

type panickingReviewer struct{}

func (panickingReviewer) Review(context.Context, identity.Subject, rbac.Attributes) (bool, string, error) {
	panic("nil map")
}

func TestPanickingReviewerIsAnError(t *testing.T) {
	a := newAuthorizer(t, rbac.Options{Reviewer: panickingReviewer{}})
	answer, err := a.Authorize(t.Context(), user("alice"), rbac.UseLabel("prod", "web", "role", "intern"))
	if err == nil || answer.Allowed || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestDenialsAreRememberedBriefly(t *testing.T) {
	now := time.Unix(1000, 0)
	r := &reviewer{}
	a := newAuthorizer(t, rbac.Options{Reviewer: r, Now: func() time.Time { return now }, DenyTTL: 5 * time.Second})
	alice := identity.Subject{User: "alice", UID: "1", Groups: []string{"a", "b"}, Extra: map[string][]string{"k": {"v"}}}
	q := rbac.UseAccount("prod", "web")
	authorize := func(s identity.Subject, q rbac.Question) rbac.Answer {
		t.Helper()
		answer, err := a.Authorize(t.Context(), s, q)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	steps := []struct {
		name   string
		do     func()
		source rbac.Source
		s      identity.Subject
		q      rbac.Question
	}{
		{name: "first", source: rbac.SourceReview, s: alice, q: q},
		{name: "again", source: rbac.SourceDenyCache, s: alice, q: q},
		{name: "another namespace", source: rbac.SourceReview, s: alice, q: rbac.UseAccount("dev", "web")},
		{name: "another verb", source: rbac.SourceReview, s: alice, q: rbac.BindAccount("prod", "web")},
		{name: "another uid", source: rbac.SourceReview, s: identity.Subject{User: "alice", UID: "2", Groups: alice.Groups, Extra: alice.Extra}, q: q},
		{name: "other groups that join to the same text", source: rbac.SourceReview, s: identity.Subject{User: "alice", UID: "1", Groups: []string{"ab"}, Extra: alice.Extra}, q: q},
		{name: "three letters in two groups", source: rbac.SourceReview, s: identity.Subject{User: "alice", Groups: []string{"a", "bc"}}, q: q},
		{name: "the same letters in two other groups", source: rbac.SourceReview, s: identity.Subject{User: "alice", Groups: []string{"ab", "c"}}, q: q},
		{name: "other extra", source: rbac.SourceReview, s: identity.Subject{User: "alice", UID: "1", Groups: alice.Groups, Extra: map[string][]string{"k": {"w"}}}, q: q},
		{name: "an equal subject", source: rbac.SourceDenyCache, q: q, s: identity.Subject{User: "alice", UID: "1", Groups: []string{"a", "b"}, Extra: map[string][]string{"k": {"v"}}}},
		{name: "just before the end", do: func() { now = now.Add(5*time.Second - 1) }, source: rbac.SourceDenyCache, s: alice, q: q},
		{name: "at the end", do: func() { now = now.Add(1) }, source: rbac.SourceReview, s: alice, q: q},
		{name: "remembered anew", source: rbac.SourceDenyCache, s: alice, q: q},
		{name: "the clock was set back", do: func() { now = now.Add(-time.Hour) }, source: rbac.SourceReview, s: alice, q: q},
	}
	for _, step := range steps {
		if step.do != nil {
			step.do()
		}
		if got := authorize(step.s, step.q); got.Allowed || got.Source != step.source {
			t.Errorf("%s: %+v, want a denial by %v", step.name, got, step.source)
		}
	}

	// An allowance is asked for each time.
	r.take()
	r.allow = []string{"db"}
	for range 2 {
		if got := authorize(alice, rbac.UseAccount("prod", "db")); !got.Allowed {
			t.Errorf("not allowed: %+v", got)
		}
	}
	if asked := r.take(); len(asked) != 2 {
		t.Errorf("asked %q, want twice", asked)
	}
	// So is an error, and it does not end as a denial.
	r.fail = []string{"down"}
	for range 2 {
		if _, err := a.Authorize(t.Context(), alice, rbac.UseAccount("prod", "down")); !errors.Is(err, errReview) {
			t.Errorf("error %v, want %v", err, errReview)
		}
	}
}

func TestDenialsAreBounded(t *testing.T) {
	a := newAuthorizer(t, rbac.Options{Reviewer: &reviewer{}, Now: func() time.Time { return time.Unix(1, 0) }, DenyTTL: time.Second})
	ask := func(i int) rbac.Source {
		answer, err := a.Authorize(t.Context(), user("mallory"), rbac.UseAccount("prod", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		return answer.Source
	}
	const extra = 100
	for i := range rbac.DenyCacheSize + extra {
		ask(i)
	}
	if n := a.DenialsHeld(); n != rbac.DenyCacheSize {
		t.Errorf("%d denials held, want %d", n, rbac.DenyCacheSize)
	}
	if got := ask(extra); got != rbac.SourceDenyCache {
		t.Errorf("the oldest that should be left was answered by %v", got)
	}
	if got := ask(0); got != rbac.SourceReview {
		t.Errorf("the oldest of all was answered by %v", got)
	}
}

func TestNewAuthorizerRefuses(t *testing.T) {
	cases := map[string]rbac.Options{
		"nothing to ask":          {},
		"denials for too long":    {Reviewer: &reviewer{}, DenyTTL: 5*time.Second + 1},
		"denials for less than 0": {Reviewer: &reviewer{}, DenyTTL: -1},
	}
	for name, o := range cases {
		if a, err := rbac.NewAuthorizer(o); err == nil || a != nil {
			t.Errorf("%s: got %v, %v", name, a, err)
		}
	}
}
