package webhook_test

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

const controllers = "system:serviceaccount:kube-system:"

// identityGuard enforces everything about identities.
func identityGuard(mode v1alpha1.Mode) v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{
		ObjectMeta: metav1.ObjectMeta{Name: "identity-" + string(mode)},
		Spec: v1alpha1.ServiceAccountGuardSpec{
			Workloads:      &v1alpha1.WorkloadGuard{Mode: mode, Connect: mode, Tokens: mode},
			Policies:       &v1alpha1.PolicyGuard{Hygiene: mode},
			DefaultAccount: &v1alpha1.DefaultAccountGuard{Bindings: mode},
		},
	}
}

func identityWorld() *world {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{identityGuard(v1alpha1.ModeEnforce)}
	w.pods = map[string]decision.Fact[identity.Pod]{
		"prod/web-0":    decision.Known(identity.Pod{Account: "web", Node: "n1"}),
		"prod/static":   decision.Known(identity.Pod{Node: "n1"}),
		"prod/mystery":  decision.Unknown[identity.Pod]("timeout"),
		"prod/floating": decision.Known(identity.Pod{Account: "web"}),
	}
	return w
}

type object = map[string]any

// at puts what under a path of field names.
func at(what any, path ...string) object {
	o := object{path[len(path)-1]: what}
	for i := len(path) - 2; i >= 0; i-- {
		o = object{path[i]: o}
	}
	return o
}

// merged returns a with the fields of b on top, in depth.
func merged(a, b object) object {
	out := object{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		if x, ok := out[k].(object); ok {
			if y, ok := v.(object); ok {
				out[k] = merged(x, y)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// podSpecOf is a pod spec as the API server sends it: both spellings of the account are equal.
func podSpecOf(account, image string) object {
	spec := object{"containers": []any{object{"name": "c", "image": image}}}
	if account != "" {
		spec["serviceAccountName"], spec["serviceAccount"] = account, account
	}
	return spec
}

func podOf(account, image string, more ...object) object {
	o := object{"metadata": object{"name": "p"}, "spec": podSpecOf(account, image)}
	for _, m := range more {
		o = merged(o, m)
	}
	return o
}

// owned is the metadata of an object with a controlling owner.
func owned(apiVersion, kind string) object {
	return at([]any{object{"apiVersion": apiVersion, "kind": kind, "name": "o", "controller": true}}, "metadata", "ownerReferences")
}

// workload is an object of a built-in kind whose pods run as account.
func workload(b webhook.BuiltinTemplate, account, image string, more ...object) object {
	if len(b.Path) == 0 {
		return podOf(account, image, more...)
	}
	template := object{"metadata": object{"labels": object{"app": "x"}}, "spec": podSpecOf(account, image)}
	if b.Opaque {
		template["$patch"] = "replace"
	}
	o := merged(object{"metadata": object{"name": "w"}}, at(template, b.Path...))
	for _, m := range more {
		o = merged(o, m)
	}
	return o
}

// workloadRequest is for an object of a built-in kind in namespace prod.
func workloadRequest(t *testing.T, b webhook.BuiltinTemplate, user string, now, old any) *webhook.Request {
	t.Helper()
	op := admissionv1.Create
	if old != nil {
		op = admissionv1.Update
	}
	r := request(t, op, user, b.Resource, now, old)
	r.Resource, r.Kind, r.Name = schema.GroupVersionResource{Group: b.Group, Version: "v1", Resource: b.Resource}, b.Kind, "w"
	return r
}

func builtin(t *testing.T, kind string) webhook.BuiltinTemplate {
	t.Helper()
	for _, b := range webhook.BuiltinTemplates() {
		if b.Kind == kind {
			return b
		}
	}
	t.Fatalf("no built-in kind %s", kind)
	return webhook.BuiltinTemplate{}
}

// expect judges r. denied is what the message must hold, empty if it is to pass; asked says whether RBAC must have been.
func (r *rig) expect(t *testing.T, req *webhook.Request, denied []string, asked bool) {
	t.Helper()
	resp := r.Validate(t.Context(), req)
	if resp.Allowed != (len(denied) == 0) {
		t.Fatalf("allowed %v, %+v", resp.Allowed, resp.Result)
	}
	if !resp.Allowed {
		if resp.Result.Code != 403 {
			t.Errorf("code %d: %s", resp.Result.Code, resp.Result.Message)
		}
		for _, want := range denied {
			if !strings.Contains(resp.Result.Message, want) {
				t.Errorf("message %q lacks %q", resp.Result.Message, want)
			}
		}
		causes := resp.Result.Details.Causes
		if len(causes) == 0 {
			t.Error("no cause")
		}
		for i := range causes {
			if slices.Contains(causes[:i], causes[i]) {
				t.Errorf("said twice: %+v", causes[i])
			}
		}
	}
	if got := len(r.questions(t)) > 0; got != asked {
		t.Errorf("RBAC asked: %v, want %v (%v)", got, asked, r.questions(t))
	}
}
