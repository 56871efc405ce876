package auditlog

import (
	"bytes"
	"encoding/json"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// What is decoded as an event of interest must not have been passed over, and nothing makes a read fail.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"serviceaccounts","name":"web"},"requestReceivedTimestamp":"2026-11-22T10:00:00Z"}`,
		`{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get","requestObject":{"objectRef":{"resource":"leases"}},"objectRef":{"resource":"pods","subresource":"exec"}}`,
		`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"auditID":"b"}]}`,
		`{"schema":"saguard.io/decision/v1","decision":"Deny"}`,
		"{\n\"items\":[{}]}",
		`{"objectRef":{"resource":"secrets"},"requestObject":{"kind":"Secret","type":"kubernetes.io/service-account-token"}}`,
	} {
		f.Add([]byte(seed))
	}
	interest := Guarded()
	f.Fuzz(func(t *testing.T, log []byte) {
		given := 0
		if err := NewReader(interest).Read(t.Context(), "x", bytes.NewReader(log), func(e *Entry) error {
			given++
			if e.Event != nil && e.Event.ObjectRef.Resource == "secrets" && e.Event.RequestObject != nil && bytes.Contains(e.Event.RequestObject.Raw, []byte(`"data"`)) {
				t.Errorf("a Secret's data: %s", e.Event.RequestObject.Raw)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(log, "\r\n") || len(bytes.TrimSpace(log)) != len(log) {
			return
		}
		var e auditv1.Event
		if json.Unmarshal(log, &e) == nil && e.ObjectRef != nil && interest.Wants(e.ObjectRef.Resource, e.ObjectRef.Subresource, e.Verb) &&
			bytes.Count(log, []byte(`\u`)) == 0 && json.Valid(log) && bytes.Contains(log, []byte(`"objectRef"`)) && !interest.mayWant(log) {
			t.Errorf("passed over: %s", log)
		}
	})
}
