package webhook_test

import (
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// Offline says what the API server would hear: first the patch, then the decision on what it made.
func TestOfflineAnswersAsTheHandlerDoes(t *testing.T) {
	cases := map[string]struct {
		change     func(w *world)
		req        *webhook.Request
		violations int
	}{
		"granted":     {req: request(t, admissionv1.Create, "sam", "serviceaccounts", account("web", "role", "a"), nil)},
		"not granted": {req: request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "a"), nil), violations: 1},
		"two labels": {
			change: func(w *world) {
				w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role", "zone")}
			},
			req:        request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "a", "zone", "b"), nil),
			violations: 2,
		},
		"a mode that warns": {
			change:     func(w *world) { w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeWarn, "role")} },
			req:        request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "a"), nil),
			violations: 1,
		},
		"not guarded":                               {req: request(t, admissionv1.Create, "alice", "serviceaccounts", account("web"), nil)},
		"a claim that the mutation puts right":      {req: request(t, admissionv1.Create, "sam", "serviceaccounts", claiming(account("web", "role", "a"), `{"role":"alice"}`), nil)},
		"a label taken off":                         {req: request(t, admissionv1.Update, "alice", "serviceaccounts", account("web"), account("web", "role", "a")), violations: 1},
		"not synced":                                {change: func(w *world) { w.notSynced = "no" }, req: request(t, admissionv1.Create, "sam", "serviceaccounts", account("web"), nil)},
		"an object that cannot be read":             {req: request(t, admissionv1.Create, "sam", "serviceaccounts", []int{1}, nil)},
		"an object in a namespace that is excluded": {req: excluded(request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "a"), nil))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := guarded()
			w.grant("sam", "prod", "use", "serviceaccounts/labels")
			if tc.change != nil {
				tc.change(w)
			}
			authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot})
			if err != nil {
				t.Fatal(err)
			}
			offline, err := webhook.NewOffline(w, authorizer, "kube-system", "saguard-system")
			if err != nil {
				t.Fatal(err)
			}
			before := string(tc.req.Object)
			d := offline.Review(t.Context(), tc.req)
			if string(tc.req.Object) != before {
				t.Error("the request was changed")
			}
			want := chain(t, newRig(t, w), tc.req)
			if d.Denied() == want.Allowed {
				t.Errorf("denied %v, the handler's answer is %+v", d.Denied(), want)
			}
			if !want.Allowed && (d.Message != want.Result.Message || d.Code != want.Result.Code) {
				t.Errorf("got %d %q, the handler says %+v", d.Code, d.Message, want.Result)
			}
			violations := d.Violations()
			if len(violations) != tc.violations {
				t.Errorf("violations %+v, want %d", violations, tc.violations)
			}
			for _, v := range violations {
				if v.Check == "" || v.Message == "" || len(v.CanI) != 1 || v.Field == "" || v.Unanswered {
					t.Errorf("violation %+v", v)
				}
			}
		})
	}
}

// chain is what the API server does with both webhooks.
func chain(t *testing.T, r *rig, req *webhook.Request) *webhook.Response {
	t.Helper()
	next := *req
	resp := r.Mutate(t.Context(), &next)
	if !resp.Allowed {
		return resp
	}
	if resp.Patch != nil {
		patch, err := jsonpatch.DecodePatch(resp.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if next.Object, err = patch.Apply(next.Object); err != nil {
			t.Fatal(err)
		}
	}
	return r.Validate(t.Context(), &next)
}

func excluded(r *webhook.Request) *webhook.Request {
	r.Namespace = "kube-system"
	return r
}

func TestOfflineNeedsItsParts(t *testing.T) {
	if _, err := webhook.NewOffline(nil, nil); err == nil {
		t.Error("made of nothing")
	}
}
