package webhook_test

import (
	"encoding/json"
	"testing"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// Whatever the bytes: who may use no account creates no built-in workload, and no request makes the webhook fail.
func FuzzWorkload(f *testing.F) {
	kinds := webhook.BuiltinTemplates()
	for i, b := range kinds {
		for _, o := range []object{workload(b, "web", "i:1"), workload(b, "", "i:1", owned("apps/v1", "ReplicaSet")), {}} {
			text, err := json.Marshal(o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(i, text, []byte(nil))
			f.Add(i, text, []byte(`{"spec":{"template":{"spec":{}}}}`))
		}
	}
	f.Add(0, []byte(`{"spec":{"serviceAccountName":null,"serviceAccount":""},"metadata":{"labels":{"pcsa.a":"b"},"annotations":{"kubernetes.io/config.mirror":""}}}`), []byte(nil))
	f.Add(3, []byte(`{"data":{"spec":{"template":[{"$patch":7,"spec":{"containers":null}}]}}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, kind int, now, old []byte) {
		if kind < 0 || kind >= len(kinds) || len(now) == 0 {
			return
		}
		b := kinds[kind]
		w := identityWorld()
		w.guards[0].Spec.Workloads.Templates = []v1alpha1.WorkloadTemplate{{APIGroup: b.Group, Kind: b.Kind, Path: "spec.template.spec"}}
		rig := newRig(t, w)
		created := rig.Validate(t.Context(), workloadRequest(t, b, "alice", string(now), nil))
		if created.Allowed && !b.Opaque {
			t.Errorf("%s created without any permission: %s", b.Kind, now)
		}
		if len(old) == 0 {
			return
		}
		same := rig.Validate(t.Context(), workloadRequest(t, b, "alice", string(old), string(old)))
		if !same.Allowed && same.Result.Code == 403 {
			t.Errorf("%s refused though nothing changes: %s: %s", b.Kind, old, same.Result.Message)
		}
		changed := rig.Validate(t.Context(), workloadRequest(t, b, "alice", string(now), string(old)))
		for _, resp := range []*webhook.Response{created, same, changed} {
			if !resp.Allowed && resp.Result.Code != 400 && resp.Result.Code != 403 {
				t.Errorf("%s: code %d: %s", b.Kind, resp.Result.Code, resp.Result.Message)
			}
		}
	})
}
