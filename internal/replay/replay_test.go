package replay_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/replay"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

type world struct{ set *guard.Set }

func (w world) WhyNotCurrent() string        { return "" }
func (w world) WhyPoliciesUnread() string    { return "" }
func (w world) Guards() *guard.Set           { return w.set }
func (w world) Bands() []v1alpha1.PolicyBand { return nil }
func (w world) Revision() uint64             { return 1 }

func (w world) Namespace(_ context.Context, name string, _ bool) decision.Fact[guard.Namespace] {
	if name == "unknown" {
		return decision.Unknown[guard.Namespace]("gone")
	}
	return decision.Known(guard.Namespace{Labels: map[string]string{"env": name}})
}

func (w world) PodAccount(context.Context, string, string) decision.Fact[identity.Pod] {
	return decision.Absent[identity.Pod]()
}

func (w world) Others(string) decision.Fact[shadow.Others] {
	return decision.Unknown[shadow.Others]("")
}

func (w world) AnyAccount(string, reference.Grant) decision.Fact[bool] {
	return decision.Unknown[bool]("")
}

const grants = `role prod/r use serviceaccounts web
role prod/r use serviceaccounts/labels role=a,team=x
bind prod/b role:r user:alice`

func newJudge(t *testing.T) *replay.Judge {
	t.Helper()
	set, problems := guard.Compile([]v1alpha1.ServiceAccountGuard{{
		ObjectMeta: metav1.ObjectMeta{Name: "proposed"},
		Spec: v1alpha1.ServiceAccountGuardSpec{
			NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
			Labels:            &v1alpha1.LabelGuard{Mode: v1alpha1.ModeEnforce, Keys: []v1alpha1.LabelKeyPattern{"role", "team"}},
			Workloads:         &v1alpha1.WorkloadGuard{Mode: v1alpha1.ModeEnforce, Connect: v1alpha1.ModeEnforce, Tokens: v1alpha1.ModeEnforce},
		},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	j, err := replay.New(world{set}, rbactest.MustParse(t, grants).Store().Snapshot(), "kube-system")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func write(user, verb, group, resource string) review.Write {
	w := review.Write{APIVersion: "v1", Request: review.Request{User: user, Groups: []string{"system:authenticated"}, Verb: verb, Code: 200}}
	w.Object = audit.Object{Group: group, Resource: resource, Namespace: "prod", Name: "o"}
	return w
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func account(t *testing.T, labels map[string]string) json.RawMessage {
	return encode(t, map[string]any{"kind": "ServiceAccount", "apiVersion": "v1", "metadata": map[string]any{"name": "o", "namespace": "prod", "labels": labels}})
}

func deployment(t *testing.T, name string) json.RawMessage {
	return encode(t, map[string]any{"kind": "Deployment", "apiVersion": "apps/v1", "metadata": map[string]any{"name": "o", "namespace": "prod"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"serviceAccountName": name}}}})
}

// What is judged of half the facts is what is judged of all: less leads to "not judged", never to another verdict.
func TestLessIsNeverAnotherVerdict(t *testing.T) {
	j := newJudge(t)
	r := rand.New(rand.NewPCG(3, 5))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	judged := map[string]int{}
	compare := func(name string, full, less review.Write) {
		t.Helper()
		truth, got := j.Judge(t.Context(), &full), j.Judge(t.Context(), &less)
		if truth.Verdict == review.NotJudged {
			t.Fatalf("%s: all is known, and it is not judged: %q", name, truth.Why)
		}
		if got.Verdict == review.NotJudged {
			if len(got.Why) != 1 {
				t.Fatalf("%s: not judged, because %q", name, got.Why)
			}
			return
		}
		if judged[name]++; got.Verdict != truth.Verdict {
			t.Fatalf("%s: %s %s %s: judged %d %q, with all known %d %q\nfull %+v\nless %+v", name, full.User, full.Verb, full.Object.Resource, got.Verdict, got.Why, truth.Verdict, truth.Why, full, less)
		}
	}
	random := func() map[string]string {
		labels := map[string]string{}
		for key, values := range map[string][]string{"role": {"a", "b"}, "team": {"x", "y"}, "other": {"z"}} {
			if r.IntN(2) == 0 {
				labels[key] = pick(values...)
			}
		}
		return labels
	}
	for range 600 {
		full := write(pick("alice", "mallory"), pick("patch", "update", "create", "delete"), "", "serviceaccounts")
		before, after := random(), random()
		if full.Verb == "create" {
			before = nil
		} else {
			full.Before = account(t, before)
		}
		if full.Verb == "delete" {
			after = nil
		} else {
			full.Body = account(t, after)
		}
		// The guard of then guarded role alone, and only warned.
		told, touched := map[string]audit.Change{}, map[string]*string{}
		for _, key := range []string{"role", "team", "other"} {
			old, had := before[key]
			now, has := after[key]
			if had == has && old == now {
				continue
			}
			c := audit.Change{}
			if had {
				c.Old = &old
			}
			if has {
				c.New = &now
			}
			touched[key] = c.New
			if key == "role" {
				told[key] = c
			}
		}
		none := full
		none.Body, none.Before = nil, nil
		compare("nothing", full, none)
		annotated := none
		annotated.Decided, annotated.Labels = true, told
		compare("annotations", full, annotated)
		unproven := full
		unproven.Before = nil
		compare("body", full, unproven)
		unproven.Decided, unproven.Labels = true, told
		compare("body and annotations", full, unproven)
		if full.Verb == "patch" {
			patched := annotated
			patched.Touched = touched
			compare("patch and annotations", full, patched)
			patched.Decided, patched.Labels = false, nil
			compare("patch", full, patched)
		}
	}
	for range 300 {
		full := write(pick("alice", "mallory"), pick("update", "create", "patch"), "apps", "deployments")
		was, is := pick("web", "api"), pick("web", "api")
		full.Body = deployment(t, is)
		if full.Verb != "create" {
			full.Before = deployment(t, was)
		}
		none := full
		none.Body, none.Before = nil, nil
		compare("workload: nothing", full, none)
		unproven := full
		unproven.Before = nil
		compare("workload: body", full, unproven)
		annotated := none
		annotated.Decided = true
		if full.Verb == "create" || was != is {
			q := rbac.UseAccount("prod", is)
			annotated.Checks = []audit.Check{{ID: "account-use", Reason: "missing", Mode: "Warn"}}
			annotated.Tuples = []audit.Tuple{{Verb: q.Verb, Resource: q.Resource, Namespace: q.Namespace, Name: is}}
		}
		compare("workload: annotations", full, annotated)
	}
	for _, name := range []string{"annotations", "body", "body and annotations", "patch and annotations", "patch", "workload: body", "workload: annotations"} {
		if judged[name] < 10 {
			t.Errorf("%s: judged only %d times", name, judged[name])
		}
	}
}

func TestWhatCannotBeJudged(t *testing.T) {
	j := newJudge(t)
	cases := map[string]struct {
		write  review.Write
		change func(*review.Write)
		want   review.Verdict
		why    string
	}{
		"a namespace whose labels are not known":   {write: write("alice", "create", "apps", "deployments"), change: func(w *review.Write) { w.Object.Namespace = "unknown" }, why: replay.WhyNamespace},
		"a namespace that no guard holds in":       {write: write("alice", "create", "apps", "deployments"), change: func(w *review.Write) { w.Object.Namespace = "dev" }, want: review.WouldAllow},
		"a namespace that is never guarded":        {write: write("alice", "create", "apps", "deployments"), change: func(w *review.Write) { w.Object.Namespace = "kube-system" }, want: review.WouldAllow},
		"many objects deleted at once":             {write: write("alice", "deletecollection", "", "serviceaccounts"), why: replay.WhyCollection},
		"a connection of which no account is told": {write: write("alice", "create", "", "pods"), change: func(w *review.Write) { w.Object.Subresource = "exec" }, why: replay.WhyConnection},
		"a status, which is never judged":          {write: write("alice", "patch", "apps", "deployments"), change: func(w *review.Write) { w.Object.Subresource = "status" }, want: review.WouldAllow},
		"a token":                                  {write: write("mallory", "create", "", "serviceaccounts"), change: func(w *review.Write) { w.Object.Subresource = "token" }, want: review.WouldDeny},
		"a token of the controller manager":        {write: write("system:kube-controller-manager", "create", "", "serviceaccounts"), change: func(w *review.Write) { w.Object.Subresource = "token" }, want: review.WouldAllow},
		"a body that cannot be read":               {write: write("alice", "create", "apps", "deployments"), change: func(w *review.Write) { w.Body = json.RawMessage(`{"kind":7`) }, why: replay.WhyUnreadable},
		"a workload that is deleted":               {write: write("mallory", "delete", "apps", "deployments"), want: review.WouldAllow},
		"a decision of guards that did not look":   {write: write("alice", "create", "apps", "deployments"), change: func(w *review.Write) { w.Decided = true }, why: replay.WhyNoBody},
		"a policy that is deleted":                 {write: write("mallory", "delete", "projectcalico.org", "networkpolicies"), why: replay.WhyNoBody},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.write)
			}
			got := j.Judge(t.Context(), &tc.write)
			if got.Verdict != tc.want || tc.why != "" && (len(got.Why) != 1 || got.Why[0] != tc.why) {
				t.Errorf("got %d %q, want %d %q", got.Verdict, got.Why, tc.want, tc.why)
			}
		})
	}
}
