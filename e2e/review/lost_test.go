package review_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// An API server that logs bodies takes every patch for JSON (k8s.io/apiserver/pkg/audit, LogRequestPatch), and drops the event
// of one that is not: an applied configuration in YAML. At level Metadata the event is there. If this fails, API servers do
// better, and the documentation of review may say so; until then saguard's own log is the only one with the decision.
func TestAppliedYAMLIsMissingFromALogOfBodies(t *testing.T) {
	bodies := []string{
		"apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n  labels:\n    role: reader\n",
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","labels":{"role":"writer"}}}`,
	}
	inYAML, inJSON := stepID(400), stepID(401)
	for level, tc := range map[string]struct {
		p    *played
		want []string
	}{
		string(auditv1.LevelMetadata):        {clusters.metadata, []string{inYAML, inJSON}},
		string(auditv1.LevelRequestResponse): {clusters.bodies, []string{inJSON}},
	} {
		t.Run(level, func(t *testing.T) {
			actors, err := newActors(tc.p.Installation)
			if err != nil {
				t.Fatal(err)
			}
			for n, body := range bodies {
				if err := relabel(types.ApplyPatchType, "web", body)(withID(t.Context(), stepID(400+n)), actors["alice"]); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			if _, err := tc.p.CP.AuditEvents(func(e *auditv1.Event) bool {
				if id := string(e.AuditID); id == inYAML || id == inJSON {
					got = append(got, id)
				}
				return false
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("in the log: %q, want %q", got, tc.want)
			}
			own := saguard(t, tc.p.Installation, "review", tc.p.RecordsPath(), "-o", "jsonl", "--user", "alice")
			for _, value := range []string{`"new":"reader"`, `"new":"writer"`} {
				if strings.Count(own, value) != 1 {
					t.Errorf("saguard's own log has %d changes to %s, want 1", strings.Count(own, value), value)
				}
			}
		})
	}
}
