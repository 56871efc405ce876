package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// log makes events, one a second.
type log struct {
	entries []*auditlog.Entry
}

func (l *log) add(verb, resource, namespace, name string, change ...func(*auditv1.Event)) *log {
	n := len(l.entries)
	resource, subresource, _ := strings.Cut(resource, "/")
	group := ""
	if r, g, ok := strings.Cut(resource, "."); ok {
		resource, group = r, g
	}
	e := &auditv1.Event{
		AuditID: types.UID(fmt.Sprint("id-", n)), Stage: auditv1.StageResponseComplete, Verb: verb, RequestURI: "/x",
		User:                     authenticationv1.UserInfo{Username: "sam", Groups: []string{"system:authenticated"}},
		ObjectRef:                &auditv1.ObjectReference{Resource: resource, Subresource: subresource, Namespace: namespace, Name: name, APIGroup: group, APIVersion: "v1"},
		ResponseStatus:           &metav1.Status{Code: 200},
		RequestReceivedTimestamp: metav1.NewMicroTime(noon.Add(time.Duration(n) * time.Second)),
	}
	for _, c := range change {
		c(e)
	}
	l.entries = append(l.entries, &auditlog.Entry{At: auditlog.Position{File: "audit.log", Line: n + 1}, Event: e})
	return l
}

func user(name string, groups ...string) func(*auditv1.Event) {
	return func(e *auditv1.Event) { e.User = authenticationv1.UserInfo{Username: name, Groups: groups} }
}

func code(c int32) func(*auditv1.Event) {
	return func(e *auditv1.Event) { e.ResponseStatus.Code = c }
}

func request(body string) func(*auditv1.Event) {
	return func(e *auditv1.Event) { e.RequestObject = &runtime.Unknown{Raw: []byte(body)} }
}

func response(body string) func(*auditv1.Event) {
	return func(e *auditv1.Event) { e.ResponseObject = &runtime.Unknown{Raw: []byte(body)} }
}

func annotated(key, value string) func(*auditv1.Event) {
	return func(e *auditv1.Event) {
		if e.Annotations == nil {
			e.Annotations = map[string]string{}
		}
		e.Annotations[key] = value
	}
}

// decision writes the annotations that the webhook writes.
func decision(r audit.Record) func(*auditv1.Event) {
	return func(e *auditv1.Event) {
		for k, v := range r.Annotations() {
			annotated("x.validate.saguard.io/"+k, v)(e)
		}
	}
}

func ptr(s string) *string { return &s }

func label(outcome audit.Outcome, key string, old, now *string, allowed bool) audit.Record {
	r := audit.Record{Decision: outcome, Reason: "granted", Mode: "Enforce", LabelDiff: map[string]audit.Change{key: {Old: old, New: now}}}
	c := audit.Check{ID: "label-use", Reason: "granted", Mode: "Enforce"}
	if !allowed {
		c.Reason, r.Reason = "missing", "forbidden"
	}
	for _, v := range []*string{old, now} {
		if v != nil {
			c.Tuples = append(c.Tuples, audit.Tuple{Verb: "use", Resource: "serviceaccounts/labels", Name: key + "=" + *v, Namespace: "prod", Allowed: allowed})
		}
	}
	r.Checks = []audit.Check{c}
	return r
}

func use(outcome audit.Outcome, account string, allowed bool) audit.Record {
	reason := map[bool]string{true: "granted", false: "missing"}[allowed]
	return audit.Record{Decision: outcome, Reason: reason, Mode: "Enforce", Checks: []audit.Check{{ID: "account-use", Reason: reason, Mode: "Enforce", Tuples: []audit.Tuple{
		{Verb: "use", Resource: "serviceaccounts", Name: account, Namespace: "prod", Allowed: allowed},
	}}}}
}

var seen = decision(audit.Record{Decision: audit.Allowed, Reason: "not-guarded"})

func build(l *log, o review.Options) (*review.Review, *review.Builder) {
	b := review.New(o)
	for _, e := range l.entries {
		b.Add(e)
	}
	return b.Review(auditlog.Stats{}), b
}

func TestLabelChanges(t *testing.T) {
	created := `{"kind":"ServiceAccount","metadata":{"name":"web","resourceVersion":"7","labels":{"role":"a"}}}`
	for name, tc := range map[string]struct {
		log  *log
		want []string // account key old new applied; "?" an old value that is not known
	}{
		"allowed": {(&log{}).add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", nil, ptr("b"), true))), []string{"prod/web role <nil> b true decided"}},
		"denied":  {(&log{}).add("patch", "serviceaccounts", "prod", "web", code(403), decision(label(audit.Denied, "role", ptr("a"), ptr("b"), false))), []string{"prod/web role a b false decided"}},
		"allowed by saguard and refused by another": {(&log{}).add("patch", "serviceaccounts", "prod", "web", code(403), decision(label(audit.Allowed, "role", nil, ptr("b"), true))), []string{"prod/web role <nil> b false decided"}},
		"a dry run":                             {(&log{}).add("patch", "serviceaccounts", "prod", "web", func(e *auditv1.Event) { e.RequestURI = "/x?dryRun=All" }, decision(label(audit.Allowed, "role", nil, ptr("b"), true))), []string{"prod/web role <nil> b false decided"}},
		"a body beside a decision adds nothing": {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`{"metadata":{"labels":{"role":"b","other":"c"}}}`), decision(label(audit.Allowed, "role", nil, ptr("b"), true))), []string{"prod/web role <nil> b true decided"}},
		"no decision, merge patch":              {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`{"metadata":{"labels":{"role":"b","gone":null}}}`)), []string{"prod/web gone ? <nil> true", "prod/web role ? b true"}},
		"no decision, JSON patch":               {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`[{"op":"test","path":"/metadata/labels/x","value":"y"},{"op":"add","path":"/metadata/labels/example.com~1a~0b","value":"c"},{"op":"remove","path":"/metadata/labels/x"}]`)), []string{"prod/web example.com/a~b ? c true", "prod/web x ? <nil> true"}},
		"no decision, applied configuration":    {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","labels":{"role":"b"}}}`)), []string{"prod/web role ? b true"}},
		"no decision, a patch that moves":       {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`[{"op":"move","from":"/metadata/labels/a","path":"/metadata/labels/b"}]`)), nil},
		"no decision, a patch with a directive": {(&log{}).add("patch", "serviceaccounts", "prod", "web", request(`{"metadata":{"labels":{"$patch":"replace","role":"b"}}}`)), nil},
		"no decision, no body":                  {(&log{}).add("patch", "serviceaccounts", "prod", "web"), nil},
		"a chain of resource versions": {(&log{}).add("create", "serviceaccounts", "prod", "web", response(created)).
			add("update", "serviceaccounts", "prod", "web", request(strings.Replace(created, `"a"`, `"b","x":"y"`, 1)), response(strings.NewReplacer(`"a"`, `"b","x":"y"`, `"7"`, `"8"`).Replace(created))).
			add("update", "serviceaccounts", "prod", "web", request(strings.NewReplacer(`"role":"a"`, `"x":"y"`, `"7"`, `"8"`).Replace(created)), response(strings.NewReplacer(`"role":"a"`, `"x":"y"`, `"7"`, `"9"`).Replace(created))),
			[]string{"prod/web role <nil> a true", "prod/web role a b true", "prod/web x <nil> y true", "prod/web role b <nil> true"}},
		"a chain with a gap proves nothing": {(&log{}).add("create", "serviceaccounts", "prod", "web", response(created)).
			add("update", "serviceaccounts", "prod", "web", request(strings.NewReplacer(`"a"`, `"b"`, `"7"`, `"9"`).Replace(created)), response(strings.NewReplacer(`"a"`, `"b"`, `"7"`, `"10"`).Replace(created))),
			[]string{"prod/web role <nil> a true", "prod/web role ? b true"}},
		"a write that failed": {(&log{}).add("create", "serviceaccounts", "prod", "web", code(409), request(created)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := build(tc.log, review.Options{})
			var got []string
			for _, c := range r.LabelChanges {
				text := func(v *string) string {
					if v == nil {
						return "<nil>"
					}
					return *v
				}
				old := text(c.Old)
				if c.OldUnknown {
					old = "?"
				}
				line := fmt.Sprintf("%s/%s %s %s %s %v", c.Namespace, c.Account, c.Key, old, text(c.New), c.Applied)
				if !c.FromBody {
					line += " decided"
				}
				got = append(got, line)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestBypasses(t *testing.T) {
	impersonated := func(e *auditv1.Event) { e.ImpersonatedUser = &authenticationv1.UserInfo{Username: "boss"} }
	for name, tc := range map[string]struct {
		do   func(*log)
		want string // kind and certainty; "" for none
	}{
		"a pod without decision": {func(l *log) { l.add("create", "pods", "prod", "p") }, "no-decision true"},
		"a pod with a decision":  {func(l *log) { l.add("create", "pods", "prod", "p", seen) }, ""},
		"a pod that was refused": {func(l *log) { l.add("create", "pods", "prod", "p", code(403)) }, ""},
		"a pod of a controller's": {func(l *log) {
			l.add("create", "pods", "prod", "p", user("system:serviceaccount:kube-system:replicaset-controller"))
		}, ""},
		"a pod where no guard holds": {func(l *log) { l.add("create", "pods", "kube-system", "p") }, ""},
		"a new account":              {func(l *log) { l.add("create", "serviceaccounts", "prod", "web") }, "no-decision true"},
		"an update without body":     {func(l *log) { l.add("update", "serviceaccounts", "prod", "web") }, ""},
		"an update with labels": {func(l *log) {
			l.add("patch", "serviceaccounts", "prod", "web", request(`{"metadata":{"labels":{"role":"x"}}}`))
		}, "no-decision true"},
		"an update without labels": {func(l *log) {
			l.add("patch", "serviceaccounts", "prod", "web", request(`{"metadata":{"annotations":{"x":"y"}}}`))
		}, ""},
		"another webhook's decision":              {func(l *log) { l.add("create", "pods", "prod", "p", annotated("evil.example.com/decision", "Allow")) }, "no-decision true"},
		"a Calico policy by an aggregated server": {func(l *log) { l.add("create", "networkpolicies.projectcalico.org", "prod", "p") }, "no-decision false"},
		"the decision is in the aggregated server's log": {func(l *log) {
			l.add("create", "networkpolicies.projectcalico.org", "prod", "p")
			l.add("create", "networkpolicies.projectcalico.org", "prod", "p", seen, func(e *auditv1.Event) { e.AuditID = "id-1" })
		}, ""},
		"the decision of another request with the same audit ID": {func(l *log) {
			l.add("create", "networkpolicies.projectcalico.org", "prod", "p")
			l.add("create", "networkpolicies.projectcalico.org", "stage", "p", seen, func(e *auditv1.Event) { e.AuditID = "id-1" })
		}, "no-decision false"},
		"a Calico policy by CRD": {func(l *log) { l.add("create", "networkpolicies.crd.projectcalico.org", "prod", "p") }, "no-decision true"},
		"the validating webhook failed open": {func(l *log) {
			l.add("create", "pods", "kube-system", "p", annotated("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "pods.validate.saguard.io"))
		}, "failed-open true"},
		"the mutating webhook failed open": {func(l *log) {
			l.add("create", "pods", "prod", "p", seen, annotated("failed-open.mutating.webhook.admission.k8s.io/round_0_index_0", "pods.mutate.saguard.io"))
		}, "failed-open false"},
		"both failed open": {func(l *log) {
			l.add("create", "pods", "kube-system", "p", annotated("failed-open.mutating.webhook.admission.k8s.io/round_0_index_0", "pods.mutate.saguard.io"),
				annotated("failed-open.mutating.webhook.admission.k8s.io/round_0_index_1", "a.mutate.saguard.io"),
				annotated("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "pods.validate.saguard.io"))
		}, "failed-open true"},
		"somebody else's webhook failed open": {func(l *log) {
			l.add("create", "pods", "prod", "p", seen, annotated("failed-open.validating.webhook.admission.k8s.io/round_0_index_0", "other.example.com"))
		}, ""},
		"impersonation": {func(l *log) { l.add("create", "pods", "prod", "p", seen, impersonated) }, "impersonation true"},
		"an exempt user": {func(l *log) {
			l.add("create", "pods", "prod", "p", decision(audit.Record{Decision: audit.Allowed, ExemptFrom: []string{"g"}}))
		}, "exempted true"},
		"a token":           {func(l *log) { l.add("create", "serviceaccounts/token", "prod", "web", seen) }, "token-minted true"},
		"a kubelet's token": {func(l *log) { l.add("create", "serviceaccounts/token", "prod", "web", user("system:node:n1")) }, ""},
		"a token Secret": {func(l *log) {
			l.add("create", "secrets", "prod", "s", seen, request(`{"type":"kubernetes.io/service-account-token"}`))
		}, "token-minted true"},
		"a token Secret at level Metadata": {func(l *log) { l.add("create", "secrets", "prod", "s", seen) }, "token-minted true"},
		"another Secret":                   {func(l *log) { l.add("create", "secrets", "prod", "s") }, ""},
		"an exec":                          {func(l *log) { l.add("create", "pods/exec", "prod", "p", seen, code(101)) }, "connected true"},
		"a guard is deleted":               {func(l *log) { l.add("delete", "serviceaccountguards.saguard.io", "", "g", seen) }, "tampering true"},
		"a guard's status":                 {func(l *log) { l.add("patch", "serviceaccountguards.saguard.io/status", "", "g") }, ""},
		"our webhook configuration": {func(l *log) {
			l.add("patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "validate.saguard.io")
		}, "tampering true"},
		"all webhook configurations": {func(l *log) {
			l.add("deletecollection", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "")
		}, "tampering true"},
		"somebody else's configuration": {func(l *log) {
			l.add("patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "other")
		}, ""},
		"a namespace controller's clean-up": {func(l *log) {
			l.add("delete", "serviceaccounts", "prod", "web", user("system:serviceaccount:kube-system:namespace-controller"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := (&log{}).add("create", "pods", "prod", "first", seen)
			tc.do(l)
			r, _ := build(l, review.Options{})
			got := ""
			for _, b := range r.Bypasses {
				got += fmt.Sprintf("%s %v", b.Kind, b.Certain)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWhatWasThereBeforeSaguardIsNoBypass(t *testing.T) {
	l := (&log{}).add("create", "pods", "prod", "before").add("create", "pods", "prod", "first", seen).add("create", "pods", "prod", "after")
	r, _ := build(l, review.Options{})
	if len(r.Bypasses) != 1 || r.Bypasses[0].Object.Name != "after" || len(r.Notes) != 1 {
		t.Errorf("got %+v, notes %q", r.Bypasses, r.Notes)
	}
	r, _ = build((&log{}).add("create", "pods", "prod", "p"), review.Options{})
	if len(r.Bypasses) != 1 || r.Bypasses[0].Certain || len(r.Notes) != 1 {
		t.Errorf("a log without decisions: got %+v, notes %q", r.Bypasses, r.Notes)
	}
}

func TestUsesAndDenials(t *testing.T) {
	warned := use(audit.Allowed, "web", false)
	warned.Mode, warned.Checks[0].Mode = "Warn", "Warn"
	l := (&log{}).
		add("create", "pods", "prod", "p", decision(use(audit.Allowed, "web", true))).
		add("create", "pods", "prod", "q", decision(use(audit.Allowed, "web", true))).
		add("create", "pods", "prod", "r", code(403), decision(use(audit.Denied, "web", false))).
		add("create", "deployments.apps", "prod", "d", decision(warned))
	r, _ := build(l, review.Options{})
	if len(r.AccountUses) != 2 || r.AccountUses[1].Allowed != 2 || r.AccountUses[1].Denied != 1 || r.AccountUses[1].How != "pods" {
		t.Errorf("uses: %+v", r.AccountUses)
	}
	if len(r.Denials) != 2 || !r.Denials[0].Enforced || r.Denials[1].Enforced || r.Denials[1].Checks[0] != "account-use" || len(r.Denials[1].Missing) != 1 {
		t.Errorf("denials: %+v", r.Denials)
	}
}

func TestFilters(t *testing.T) {
	l := (&log{}).
		add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", nil, ptr("b"), true))).
		add("patch", "serviceaccounts", "test", "db", user("alice"), code(403), decision(label(audit.Denied, "role", nil, ptr("b"), false))).
		add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", ptr("b"), nil, true)))
	for name, tc := range map[string]struct {
		filter review.Filter
		want   int
	}{
		"nothing":     {review.Filter{}, 3},
		"since":       {review.Filter{Since: noon.Add(time.Second)}, 2},
		"until":       {review.Filter{Until: noon.Add(time.Second)}, 1},
		"a namespace": {review.Filter{Namespaces: []string{"te*"}}, 1},
		"a user":      {review.Filter{Users: []string{"alice", "bob"}}, 1},
		"an account":  {review.Filter{Accounts: []string{"prod/*"}}, 2},
		"a decision":  {review.Filter{Decisions: []audit.Outcome{audit.Denied}}, 1},
		"all of them": {review.Filter{Namespaces: []string{"test"}, Users: []string{"sam"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if r, _ := build(l, review.Options{Filter: tc.filter}); len(r.LabelChanges) != tc.want {
				t.Errorf("got %d changes, want %d", len(r.LabelChanges), tc.want)
			}
		})
	}
	if err := (&review.Filter{Users: []string{"["}}).Validate(); err == nil {
		t.Error("a pattern that does not parse passes")
	}
}

func TestRowsBeyondTheLimitAreCounted(t *testing.T) {
	l := &log{}
	for range 5 {
		l.add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", nil, ptr("b"), true)))
	}
	r, _ := build(l, review.Options{Limit: 2})
	if len(r.LabelChanges) != 2 || r.NotShown["labelChanges"] != 3 {
		t.Errorf("got %d, not shown %v", len(r.LabelChanges), r.NotShown)
	}
}

func TestOurOwnLogTellsTheSameWhereThereIsNoOther(t *testing.T) {
	rec := label(audit.Denied, "role", nil, ptr("b"), false)
	rec.Schema, rec.Time, rec.User, rec.Operation = audit.Schema, noon, "alice", "UPDATE"
	rec.Object = audit.Object{Resource: "serviceaccounts", Namespace: "prod", Name: "web"}
	own := &auditlog.Entry{At: auditlog.Position{File: "saguard.log", Line: 1}, Record: &rec}
	r, _ := build(&log{entries: []*auditlog.Entry{own}}, review.Options{})
	if len(r.LabelChanges) != 1 || len(r.Denials) != 1 || r.LabelChanges[0].User != "alice" {
		t.Errorf("got %+v", r)
	}
	l := (&log{}).add("patch", "serviceaccounts", "prod", "web", code(403), decision(rec))
	l.entries = append(l.entries, own)
	r, _ = build(l, review.Options{})
	if len(r.LabelChanges) != 1 || len(r.Denials) != 1 || r.LabelChanges[0].User != "sam" || len(r.Notes) != 1 {
		t.Errorf("beside an audit log: %d changes, %d denials, notes %q", len(r.LabelChanges), len(r.Denials), r.Notes)
	}
}

func TestReplay(t *testing.T) {
	truncated := label(audit.Allowed, "role", nil, ptr("b"), true)
	refused := audit.Record{Decision: audit.Denied, Mode: "Enforce", Checks: []audit.Check{{ID: "policy-hygiene", Reason: "refused"}}}
	l := (&log{}).
		add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", ptr("a"), ptr("b"), true))).
		add("patch", "serviceaccounts", "prod", "web", code(403), decision(label(audit.Denied, "role", ptr("b"), ptr("c"), false))).
		add("create", "pods", "prod", "p", decision(use(audit.Allowed, "web", true))).
		add("patch", "serviceaccounts", "prod", "db", decision(truncated), annotated("x.validate.saguard.io/truncated", "1")).
		add("create", "networkpolicies.projectcalico.org", "prod", "n", code(403), decision(refused))
	all := func(identity.Subject, rbac.Question) bool { return true }
	none := func(identity.Subject, rbac.Question) bool { return false }
	for name, tc := range map[string]struct {
		allowed                            func(identity.Subject, rbac.Question) bool
		denied, gained, unchanged, unknown int
	}{
		"everything is granted": {all, 0, 1, 3, 1},
		"nothing is granted":    {none, 2, 0, 2, 1},
		"one label is no longer": {func(_ identity.Subject, q rbac.Question) bool {
			return q != rbac.UseLabel("prod", "web", "role", "a") && q != rbac.UseLabel("prod", "web", "role", "c")
		}, 1, 0, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := build(l, review.Options{Replay: true})
			r := b.Replay(tc.allowed)
			if len(r.NewlyDenied) != tc.denied || len(r.NewlyAllowed) != tc.gained || r.Unchanged != tc.unchanged || r.Unknown != tc.unknown {
				t.Errorf("got %d denied, %d allowed, %d unchanged, %d unknown: %+v", len(r.NewlyDenied), len(r.NewlyAllowed), r.Unchanged, r.Unknown, r)
			}
		})
	}
}

// What is suggested allows exactly the questions that were asked, of those who asked them.
func TestSuggestions(t *testing.T) {
	l := (&log{}).
		add("patch", "serviceaccounts", "prod", "web", decision(label(audit.Allowed, "role", ptr("a"), ptr("b"), true))).
		add("create", "pods", "prod", "p", user("system:serviceaccount:ci:deployer"), decision(use(audit.Allowed, "web", true))).
		add("create", "pods", "prod", "p", user("alice"), code(403), decision(use(audit.Denied, "db", false))).
		add("create", "pods", "prod", "p", user("root", "system:masters"), decision(use(audit.Allowed, "web", true)))
	_, b := build(l, review.Options{Replay: true})
	for denied, want := range map[bool][]string{false: {"sam", "system:serviceaccount:ci:deployer"}, true: {"alice", "sam", "system:serviceaccount:ci:deployer"}} {
		got, err := b.Suggest(denied)
		if err != nil {
			t.Fatal(err)
		}
		store := rbac.NewStore()
		var users []string
		for _, s := range got {
			users = append(users, s.User)
			for i := range s.Manifests.Roles {
				store.SetRole(&s.Manifests.Roles[i])
				store.SetRoleBinding(&s.Manifests.RoleBindings[i])
			}
		}
		if !slices.Equal(users, want) {
			t.Errorf("denied %v: suggestions for %v, want %v", denied, users, want)
		}
		x := store.Snapshot()
		for user, questions := range map[string][]rbac.Question{
			"sam":                               {rbac.UseLabel("prod", "web", "role", "a"), rbac.UseLabel("prod", "web", "role", "b")},
			"system:serviceaccount:ci:deployer": {rbac.UseAccount("prod", "web")},
			"alice":                             {rbac.UseAccount("prod", "db")},
		} {
			for _, q := range []rbac.Question{
				rbac.UseLabel("prod", "web", "role", "a"), rbac.UseLabel("prod", "web", "role", "b"), rbac.UseLabel("prod", "web", "role", "c"),
				rbac.UseLabel("test", "web", "role", "a"), rbac.UseAccount("prod", "web"), rbac.UseAccount("prod", "db"), rbac.UseAccount("test", "web"),
			} {
				wanted := slices.Contains(questions, q) && (user != "alice" || denied)
				if _, ok := x.Authorize(identity.Subject{User: user}, q); ok != wanted {
					t.Errorf("denied %v: %s asks %s: got %v, want %v", denied, user, q, ok, wanted)
				}
			}
		}
	}
}
