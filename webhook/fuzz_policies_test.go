package webhook_test

import (
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/policy/hygiene"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/webhook"
)

// Whatever stands in a policy: nothing panics; what is admitted is clean, and mentions no account, to somebody who holds
// nothing; the defaults can be applied and have nothing to add to themselves.
func FuzzPolicyRequest(f *testing.F) {
	for _, spec := range []string{
		`{}`, `null`, `[]`, `{"order":1e400}`, `{"order":"x"}`, `{"selector":"pcsa.role == 'a'"}`, `{"ingress":[{"action":"Allow"}],"egress":[]}`,
		`{"ingress":[{"action":"Allow","source":{"serviceAccounts":{"names":["a"]}}}]}`, `{"serviceAccountSelector":"all()"}`,
		`{"types":["Ingress","Ingress"]}`, `{"stagedAction":"Delete"}`, `{"tier":"x","tier":"y"}`, `{"newField":{}}`,
	} {
		f.Add("NetworkPolicy", spec, "{}", false)
		f.Add("StagedGlobalNetworkPolicy", spec, spec, true)
	}
	f.Fuzz(func(t *testing.T, kind, now, was string, update bool) {
		plural, ok := plurals[kind]
		if !ok {
			plural = "networkpolicies"
		}
		object := func(spec string) []byte {
			return []byte(`{"apiVersion":"projectcalico.org/v3","kind":"` + kind + `","metadata":{"name":"p","namespace":"prod"},"spec":` + spec + `}`)
		}
		w := newWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
		w.bands = []v1alpha1.PolicyBand{orderBand("everybody", true, nil, nil, ptr(1500), "default")}
		req := &webhook.Request{
			UID: "uid-1", Operation: admissionv1.Create, Resource: groups[0].WithResource(plural), Kind: kind, Namespace: "prod", Object: object(now),
		}
		req.Subject.User = "alice"
		if update {
			req.Operation, req.OldObject = admissionv1.Update, object(was)
		}
		rig := newRig(t, w)
		resp := rig.Validate(t.Context(), req)
		if !resp.Allowed && resp.Result.Code == 500 {
			t.Fatalf("answer %+v", resp.Result)
		}
		if resp.Allowed && !update && strings.HasSuffix(plural, "policies") {
			if errs := hygiene.Validate(req.Object, hygiene.Strict); len(errs) > 0 {
				t.Errorf("admitted with %v", errs)
			}
			obj, _ := hygiene.Decode(req.Object)
			if refs := reference.Created(reference.Read(obj, req.Namespace)); len(refs) > 0 {
				t.Errorf("admitted, though it refers to %v", refs)
			}
		}
		patched := rig.Mutate(t.Context(), req)
		if !patched.Allowed || patched.Patch == nil {
			return
		}
		patch, err := jsonpatch.DecodePatch(patched.Patch)
		if err != nil {
			t.Fatal(err)
		}
		if req.Object, err = patch.Apply(req.Object); err != nil {
			t.Fatalf("apply %s: %v", patched.Patch, err)
		}
		if again := rig.Mutate(t.Context(), req); again.Patch != nil {
			t.Errorf("after %s also %s", patched.Patch, again.Patch)
		}
	})
}
