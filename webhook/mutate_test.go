package webhook_test

import (
	"encoding/json"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// mutated runs the mutating webhook and applies its patch as the API server does, then once more: it must change nothing.
func mutated(t *testing.T, rig *rig, req *webhook.Request) *corev1.ServiceAccount {
	t.Helper()
	apply := func(object []byte) ([]byte, bool) {
		again := *req
		again.Object = object
		resp := rig.Mutate(t.Context(), &again)
		if !resp.Allowed || resp.UID != "uid-1" {
			t.Fatalf("refused: %+v", resp)
		}
		if resp.Patch == nil {
			return object, false
		}
		patch, err := jsonpatch.DecodePatch(resp.Patch)
		if err != nil {
			t.Fatal(err)
		}
		out, err := patch.Apply(object)
		if err != nil {
			t.Fatalf("apply %s to %s: %v", resp.Patch, object, err)
		}
		return out, true
	}
	out, _ := apply(req.Object)
	if again, changed := apply(out); changed {
		t.Errorf("not idempotent: %s became %s", out, again)
	}
	var a corev1.ServiceAccount
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

func claiming(a *corev1.ServiceAccount, claims string) *corev1.ServiceAccount {
	a.Annotations = map[string]string{webhook.AnnotationLabelledBy: claims, "other": "stays"}
	return a
}

func TestLabelledBy(t *testing.T) {
	cases := map[string]struct {
		old, new *corev1.ServiceAccount
		want     string // "" = no annotation
	}{
		"who creates is named":                        {new: account("web", "role", "intern", "app", "x"), want: `{"role":"alice"}`},
		"no guarded label, no annotation":             {new: account("web", "app", "x")},
		"what the requester claims does not count":    {new: claiming(account("web", "role", "intern"), `{"role":"sam"}`), want: `{"role":"alice"}`},
		"a claim about an unguarded label is dropped": {new: claiming(account("web", "app", "x"), `{"app":"sam"}`)},
		"a claim that does not parse is dropped":      {new: claiming(account("web"), `{`)},
		"a claim stays while its label stays": {
			old: claiming(account("web", "role", "intern"), `{"role":"sam"}`), new: claiming(account("web", "role", "intern", "app", "y"), `{"role":"sam"}`), want: `{"role":"sam"}`,
		},
		"taking the annotation away brings it back": {
			old: claiming(account("web", "role", "intern"), `{"role":"sam"}`), new: account("web", "role", "intern"), want: `{"role":"sam"}`,
		},
		"editing the annotation brings it back": {
			old: claiming(account("web", "role", "intern"), `{"role":"sam"}`), new: claiming(account("web", "role", "intern"), `{"role":"bob"}`), want: `{"role":"sam"}`,
		},
		"who changes the value is named": {
			old: claiming(account("web", "role", "intern"), `{"role":"sam"}`), new: claiming(account("web", "role", "trusted"), `{"role":"sam"}`), want: `{"role":"alice"}`,
		},
		"a label taken off leaves no claim": {
			old: claiming(account("web", "role", "intern"), `{"role":"sam"}`), new: claiming(account("web"), `{"role":"sam"}`),
		},
		"one of two labels changes": {
			old: claiming(account("web", "role", "a", "net.example.com/z", "b"), `{"net.example.com/z":"sam","role":"sam"}`),
			new: claiming(account("web", "role", "c", "net.example.com/z", "b"), `{"net.example.com/z":"sam","role":"sam"}`), want: `{"net.example.com/z":"sam","role":"alice"}`,
		},
		"a label from before the guard has no claim": {old: account("web", "role", "a"), new: account("web", "role", "a", "app", "x")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role", "net.example.com/*")}
			w.grant("alice", "prod", "use", "serviceaccounts/labels")
			rig := newRig(t, w)
			op, old := admissionv1.Create, any(nil)
			if tc.old != nil {
				op, old = admissionv1.Update, tc.old
			}
			req := request(t, op, "alice", "serviceaccounts", tc.new, old)
			got := mutated(t, rig, req)
			if got.Annotations[webhook.AnnotationLabelledBy] != tc.want {
				t.Errorf("annotation %q, want %q", got.Annotations[webhook.AnnotationLabelledBy], tc.want)
			}
			if tc.new.Annotations["other"] != got.Annotations["other"] {
				t.Error("another annotation was touched")
			}
			// What the mutation made, the check accepts.
			req.Object = raw(t, got)
			if resp := rig.Validate(t.Context(), req); !resp.Allowed {
				t.Errorf("refused after mutation: %s", resp.Result.Message)
			}
		})
	}
}

// Without the mutating webhook (failurePolicy Ignore) a forged claim must not get in; a missing one may.
func TestForgedClaimsAreRefused(t *testing.T) {
	cases := map[string]struct {
		old, new *corev1.ServiceAccount
		allowed  bool
	}{
		"a claim about another":                   {new: claiming(account("web", "role", "a"), `{"role":"sam"}`)},
		"a claim about oneself that is true":      {new: claiming(account("web", "role", "a"), `{"role":"alice"}`), allowed: true},
		"a claim about a label that is not there": {new: claiming(account("web"), `{"role":"alice"}`)},
		"a claim that does not parse":             {new: claiming(account("web"), `{`)},
		"no claim":                                {new: account("web", "role", "a"), allowed: true},
		"an old claim kept":                       {old: claiming(account("web", "role", "a"), `{"role":"sam"}`), new: claiming(account("web", "role", "a"), `{"role":"sam"}`), allowed: true},
		"an old claim edited":                     {old: claiming(account("web", "role", "a"), `{"role":"sam"}`), new: claiming(account("web", "role", "a"), `{"role":"bob"}`)},
		"an old claim kept over a new value":      {old: claiming(account("web", "role", "a"), `{"role":"sam"}`), new: claiming(account("web", "role", "b"), `{"role":"sam"}`)},
		"an old text that never parsed, kept":     {old: claiming(account("web"), `{`), new: claiming(account("web"), `{`), allowed: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := guarded()
			w.grant("alice", "prod", "use", "serviceaccounts/labels")
			op, old := admissionv1.Create, any(nil)
			if tc.old != nil {
				op, old = admissionv1.Update, tc.old
			}
			if resp := newRig(t, w).Validate(t.Context(), request(t, op, "alice", "serviceaccounts", tc.new, old)); resp.Allowed != tc.allowed {
				t.Errorf("allowed %v, want %v: %+v", resp.Allowed, tc.allowed, resp.Result)
			}
		})
	}
}

func TestDisableTokenMount(t *testing.T) {
	yes, no := true, false
	mounting := func(name string, value *bool) *corev1.ServiceAccount {
		a := account(name)
		a.AutomountServiceAccountToken = value
		return a
	}
	cases := map[string]struct {
		object *corev1.ServiceAccount
		off    bool // the guard does not ask for it
		want   *bool
	}{
		"default that says nothing":          {object: mounting("default", nil), want: &no},
		"default that says yes keeps it":     {object: mounting("default", &yes), want: &yes},
		"default that says no":               {object: mounting("default", &no), want: &no},
		"another account":                    {object: mounting("web", nil)},
		"default where no guard asks for it": {object: mounting("default", nil), off: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{{Spec: v1alpha1.ServiceAccountGuardSpec{DefaultAccount: &v1alpha1.DefaultAccountGuard{DisableTokenMount: !tc.off}}}}
			got := mutated(t, newRig(t, w), request(t, admissionv1.Create, "alice", "serviceaccounts", tc.object, nil)).AutomountServiceAccountToken
			if (got == nil) != (tc.want == nil) || (got != nil && *got != *tc.want) {
				t.Errorf("automountServiceAccountToken is %v", got)
			}
		})
	}
}

func TestMutationsRefuseWhatTheyCannotJudge(t *testing.T) {
	w := guarded()
	w.notSynced = "guards not read yet"
	rig := newRig(t, w)
	if resp := rig.Mutate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web"), nil)); resp.Allowed || resp.Result.Code != 503 {
		t.Errorf("not synced: %+v", resp)
	}
	rig = newRig(t, guarded(), func(o *webhook.Options) {
		o.Mutations = []webhook.Mutation{{ID: "x", Run: func(*webhook.Facts) ([]webhook.PatchOp, error) { panic("x") }}}
	})
	if resp := rig.Mutate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web"), nil)); resp.Allowed || resp.Result.Code != 500 {
		t.Errorf("panic: %+v", resp)
	}
}
