package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// review asks the API server one literal question. It shares nothing with internal/accessreview, which is on trial elsewhere.
func (c *cluster) review(ctx context.Context, s identity.Subject, a rbac.Attributes) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range s.Extra {
		extra[k] = v
	}
	got, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: s.User, UID: s.UID, Groups: s.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: a.Verb, Group: a.Group, Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	if got.Status.EvaluationError != "" || got.Status.Denied {
		return false, fmt.Errorf("unexpected answer %+v", got.Status)
	}
	return got.Status.Allowed, nil
}

// reviewAny asks for each name that the question stands for; one that is allowed is enough.
func (c *cluster) reviewAny(ctx context.Context, s identity.Subject, q rbac.Question) (allowed bool, asked int, err error) {
	for _, name := range q.Name.Candidates() {
		asked++
		allowed, err = c.review(ctx, s, rbac.Attributes{
			Verb: q.Verb, Group: q.Group, Resource: q.Resource, Subresource: q.Subresource, Namespace: q.Namespace, Name: name,
		})
		if allowed || err != nil {
			return allowed, asked, err
		}
	}
	return false, asked, nil
}

// compare asks both, and checks afterwards that nobody changed what they were asked about.
func (c *cluster) compare(index *rbac.Index, o objects, all []testCase, when string, total *tally) {
	c.t.Helper()
	var mu sync.Mutex
	round, sources := &tally{}, map[string]*tally{}
	var wrong []error
	var requests []func(context.Context) error
	for i, tc := range all {
		requests = append(requests, func(ctx context.Context) error {
			want, asked, err := c.reviewAny(ctx, tc.subject, tc.q)
			if err != nil {
				return fmt.Errorf("case %d: %s by %+v: %w", i, tc.q, tc.subject, err)
			}
			grant, got := index.Authorize(tc.subject, tc.q)
			mu.Lock()
			defer mu.Unlock()
			if sources[tc.source] == nil {
				sources[tc.source] = &tally{}
			}
			for _, sum := range []*tally{sources[tc.source], round, total} {
				sum.add(want, asked, o.features(tc, grant))
			}
			if got != want {
				wrong = append(wrong, fmt.Errorf("seed %d, %s, case %d: %s by %+v: the API server says %v, the Index %v (%s)", *seed, when, i, tc.q, tc.subject, want, got, grant))
			}
			return nil
		})
	}
	c.all(requests)
	if len(wrong) > 0 {
		c.t.Errorf("%d of %d answers differ (-oracle.seed=%d); the first: %v", len(wrong), len(all), *seed, errors.Join(wrong[:min(len(wrong), 10)]...))
	}
	for name, sum := range sources {
		c.t.Logf("%s, from %s: %d cases, %d SubjectAccessReviews, %d allowed (%.0f%%)", when, name, sum.cases, sum.reviews, sum.allowed, sum.share())
	}
	if share := round.share(); share < 10 || share > 90 {
		c.t.Errorf("%s: %.0f%% of the cases are allowed; want 10%% to 90%%, else they prove little", when, share)
	}
	before, now := o.contents(), c.read()
	for name, text := range now.contents() {
		if before[name] != text {
			c.t.Errorf("%s changed during the comparison: %q, then %q", name, before[name], text)
		}
		delete(before, name)
	}
	for name := range before {
		c.t.Errorf("%s was deleted during the comparison", name)
	}
}

// tally counts cases, and what the allowed ones rest on.
type tally struct {
	cases, reviews, allowed int
	features                map[string]int
}

func (s *tally) add(allowed bool, reviews int, features []string) {
	s.cases++
	s.reviews += reviews
	if s.features == nil {
		s.features = map[string]int{}
	}
	if allowed {
		s.allowed++
		for _, f := range features {
			s.features[f]++
		}
	}
}

func (s *tally) share() float64 { return 100 * float64(s.allowed) / float64(s.cases) }

// What the comparison is about; each must have granted something often enough to be called tried.
const (
	byMasters        = "system:masters"
	byClusterBinding = "ClusterRoleBinding"
	byBinding        = "RoleBinding of a Role"
	byBindingOfCR    = "RoleBinding of a ClusterRole"
	byAggregated     = "aggregated ClusterRole"
	byDefaultRole    = "role of the API server's own"
	byUser           = "user"
	byGroup          = "group"
	byAccount        = "service account as subject"
	byAccountUser    = "service account as user"
	byEveryVerb      = "verb *"
	byEveryGroup     = "API group *"
	byEveryResource  = "resource *"
	byEverySub       = "resource */SUBRESOURCE"
	byName           = "resourceNames"
	byStar           = "resourceNames with the star of KEY=*, PREFIX/* or ACCOUNT:*"
	byNameOfAccount  = "resourceNames that begin with ACCOUNT:"
)

const leastOfEach = 5

func (s *tally) checkCoverage(t *testing.T) {
	t.Helper()
	for _, f := range []string{
		byMasters, byClusterBinding, byBinding, byBindingOfCR, byAggregated, byDefaultRole, byUser, byGroup, byAccount, byAccountUser,
		byEveryVerb, byEveryGroup, byEveryResource, byEverySub, byName, byStar, byNameOfAccount,
	} {
		t.Logf("allowed by %s: %d", f, s.features[f])
		if s.features[f] < leastOfEach {
			t.Errorf("only %d cases were allowed by %s, want %d: this seed does not try it", s.features[f], f, leastOfEach)
		}
	}
}

// features says what the grant rests on. The Index names the grant, so nothing here decides whether an answer is right.
func (o *objects) features(tc testCase, g rbac.Grant) []string {
	if g.IsMasters() {
		return []string{byMasters}
	}
	var out []string
	var rules []rbacv1.PolicyRule
	var subjects []rbacv1.Subject
	for i := range o.ClusterRoles {
		if r := &o.ClusterRoles[i]; g.RoleKind == rbac.KindClusterRole && r.Name == g.RoleName {
			rules = r.Rules
			if r.AggregationRule != nil {
				out = append(out, byAggregated)
			}
		}
	}
	for i := range o.Roles {
		if r := &o.Roles[i]; g.RoleKind == rbac.KindRole && r.Name == g.RoleName && r.Namespace == g.BindingNamespace {
			rules = r.Rules
		}
	}
	if strings.HasPrefix(g.RoleName, "system:") {
		out = append(out, byDefaultRole)
	}
	switch {
	case g.BindingKind == rbac.KindClusterRoleBinding:
		out = append(out, byClusterBinding)
		for i := range o.ClusterRoleBindings {
			if o.ClusterRoleBindings[i].Name == g.BindingName {
				subjects = o.ClusterRoleBindings[i].Subjects
			}
		}
	case g.RoleKind == rbac.KindRole:
		out = append(out, byBinding)
	default:
		out = append(out, byBindingOfCR)
	}
	for i := range o.RoleBindings {
		if b := &o.RoleBindings[i]; g.BindingKind == rbac.KindRoleBinding && b.Name == g.BindingName && b.Namespace == g.BindingNamespace {
			subjects = b.Subjects
		}
	}
	out = append(out, subjectFeatures(tc.subject, subjects)...)
	if g.Rule >= len(rules) {
		return out // the comparison itself reports a grant that is none
	}
	return append(out, ruleFeatures(&rules[g.Rule], tc.q)...)
}

func subjectFeatures(s identity.Subject, subjects []rbacv1.Subject) []string {
	var out []string
	for _, b := range subjects {
		switch {
		case b.Kind == rbacv1.GroupKind && slices.Contains(s.Groups, b.Name):
			out = append(out, byGroup)
		case b.Kind == rbacv1.ServiceAccountKind && strings.HasSuffix(s.User, ":"+b.Name):
			out = append(out, byAccount)
		case b.Kind == rbacv1.UserKind && b.Name == s.User && strings.HasPrefix(s.User, "system:serviceaccount:"):
			out = append(out, byAccountUser)
		case b.Kind == rbacv1.UserKind && b.Name == s.User:
			out = append(out, byUser)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func ruleFeatures(r *rbacv1.PolicyRule, q rbac.Question) []string {
	var out []string
	if slices.Contains(r.Verbs, rbacv1.VerbAll) {
		out = append(out, byEveryVerb)
	}
	if slices.Contains(r.APIGroups, rbacv1.APIGroupAll) {
		out = append(out, byEveryGroup)
	}
	switch {
	case slices.Contains(r.Resources, rbacv1.ResourceAll):
		out = append(out, byEveryResource)
	case q.Subresource != "" && slices.Contains(r.Resources, "*/"+q.Subresource):
		out = append(out, byEverySub)
	}
	if len(r.ResourceNames) == 0 {
		return out
	}
	out = append(out, byName)
	candidates := q.Name.Candidates()
	for _, name := range r.ResourceNames {
		if i := slices.Index(candidates, name); i > 0 {
			if strings.HasSuffix(name, "*") {
				out = append(out, byStar)
			}
			if strings.Contains(name, ":") {
				out = append(out, byNameOfAccount)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
