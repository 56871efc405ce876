package review

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// Replay is what other RBAC, or other guards, make of the decisions in a log.
type Replay struct {
	NewlyDenied  []Replayed `json:"newlyDenied"`
	NewlyAllowed []Replayed `json:"newlyAllowed"`
	Unchanged    int        `json:"unchanged"`
	// Unknown counts decisions that the log does not tell enough of to replay them.
	Unknown int `json:"unknown"`
	// NotJudged counts those of Unknown by why; nil where guards are not proposed.
	NotJudged map[string]int `json:"notJudged,omitempty"`
}

// Replayed is a decision that would be another.
type Replayed struct {
	Request
	// Permissions are those whose answer would be another, with the new answer.
	Permissions []audit.Tuple `json:"permissions"`
	// Reasons are what proposed guards would refuse, or no longer refuse; absent where RBAC alone is another.
	Reasons []string `json:"reasons,omitempty"`
	// Enforced is false where the finding is of mode Warn or Audit, and would refuse nothing.
	Enforced bool `json:"enforced"`
}

// Replay asks the questions of every decision again. Dry runs count: they were decided too. A decision that offered several
// permissions of which one is enough is newly denied only if all that allowed it are gone, and newly allowed once nothing of
// what it lacked is missing.
func (b *Builder) Replay(allowed func(identity.Subject, rbac.Question) bool) Replay {
	var out Replay
	for _, d := range b.all {
		b.replay(&out, d, allowed)
	}
	byTime(out.NewlyDenied, func(r *Replayed) *Request { return &r.Request })
	byTime(out.NewlyAllowed, func(r *Replayed) *Request { return &r.Request })
	return out
}

func (b *Builder) replay(out *Replay, d *decided, allowed func(identity.Subject, rbac.Question) bool) {
	if d.truncated > 0 || len(d.unreadable) > 0 || d.Decision == audit.Failed || d.Decision == "" {
		out.Unknown++
		return
	}
	s := identity.Subject{User: d.User, Groups: d.Groups}
	var lost, gained []audit.Tuple
	missing := false
	for _, t := range d.tuples {
		q, ok := questionOf(t, d)
		if !ok {
			out.Unknown++
			return
		}
		now := allowed(s, q)
		if now == t.Allowed {
			missing = missing || !now
			continue
		}
		t.Allowed, t.GrantedBy = now, ""
		if now {
			gained = append(gained, t)
		} else {
			lost = append(lost, t)
		}
	}
	// What was found and is no permission, such as a selector that does not parse, no RBAC changes.
	refused := slices.ContainsFunc(d.checks, func(c audit.Check) bool { return c.Reason != "granted" && c.Reason != "missing" })
	lacked := slices.ContainsFunc(d.checks, func(c audit.Check) bool { return c.Reason == "missing" })
	row := Replayed{Request: d.Request, Enforced: d.mode == "Enforce"}
	switch {
	case !lacked && !refused && len(lost) > 0 && len(gained) == 0:
		row.Permissions = lost
		out.NewlyDenied = append(out.NewlyDenied, row)
	case lacked && !refused && len(gained) > 0 && !missing && len(lost) == 0:
		row.Permissions = gained
		out.NewlyAllowed = append(out.NewlyAllowed, row)
	default:
		out.Unchanged++
	}
}

// questionOf is the question behind a tuple. The label of an account may also be granted for that account alone.
func questionOf(t audit.Tuple, d *decided) (rbac.Question, bool) {
	resource, subresource, _ := strings.Cut(t.Resource, "/")
	q := rbac.Question{Verb: t.Verb, Group: t.Group, Resource: resource, Subresource: subresource, Namespace: t.Namespace}
	if resource == rbac.ResourceServiceAccounts && subresource == rbac.SubresourceLabels {
		key, value, ok := strings.Cut(t.Name, "=")
		switch {
		case t.Name == "":
		case !ok:
			return rbac.Question{}, false
		case value == "*":
			q.Name = rbac.AnyValue(key)
		case t.Verb == rbac.VerbUse:
			q.Name = rbac.Label(d.Object.Name, key, value)
		default:
			q.Name = rbac.Label("", key, value)
		}
		return q, true
	}
	if t.Name != "" {
		q.Name = rbac.Exact(t.Name)
	}
	return q, true
}

// Suggestion is the least RBAC that would have allowed one user what the user did, or was refused.
type Suggestion struct {
	User      string
	Manifests rbac.Manifests
}

// Suggest returns for every user the least roles that allow what happened; with denied also what was refused. Where one of
// several permissions was enough, the one that was used is granted; of what was refused all that was named.
func (b *Builder) Suggest(denied bool) ([]Suggestion, error) {
	questions := map[string][]rbac.Question{}
	groups := map[string][]string{}
	var users []string
	for _, d := range b.all {
		if d.Decision != audit.Allowed && !denied {
			continue
		}
		for _, t := range d.tuples {
			q, ok := questionOf(t, d)
			if !ok || !t.Allowed && d.Decision == audit.Allowed && !lackedIn(d) {
				continue
			}
			if !t.Allowed && !denied {
				continue
			}
			if _, known := questions[d.User]; !known {
				users = append(users, d.User)
				groups[d.User] = d.Groups
			}
			if !slices.Contains(questions[d.User], q) {
				questions[d.User] = append(questions[d.User], q)
			}
		}
	}
	slices.Sort(users)
	var out []Suggestion
	for _, user := range users {
		if slices.Contains(groups[user], identity.SystemMasters) {
			continue // allowed before RBAC is asked
		}
		subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}
		if account, err := identity.ParseUsername(user); err == nil {
			subject = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace(), Name: account.Name()}
		}
		m, err := rbac.GrantManifests("saguard-review-"+nameOf(user), subject, questions[user])
		if err != nil {
			return nil, fmt.Errorf("suggest roles for %s: %w", user, err)
		}
		out = append(out, Suggestion{User: user, Manifests: m})
	}
	return out, nil
}

func lackedIn(d *decided) bool {
	return slices.ContainsFunc(d.checks, func(c audit.Check) bool { return c.Reason == "missing" })
}

// nameOf makes a name for objects of a user's: what is legible of it, and a hash, because two users must not share roles.
func nameOf(user string) string {
	sum := sha256.Sum256([]byte(user))
	var b strings.Builder
	for _, r := range strings.ToLower(user) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	return strings.Trim(b.String(), "-") + "-" + hex.EncodeToString(sum[:4])
}
