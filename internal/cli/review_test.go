package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/auditlog"
	"github.com/saguard/saguard/audit/review"
)

// The rows are written one by one; what comes out has to be what encoding the whole would give.
func TestReviewJSONIsTheWholeReview(t *testing.T) {
	value := "<b>&"
	row := review.Request{Time: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), User: "alice", Groups: []string{"g"}, Verb: "patch"}
	for name, r := range map[string]*review.Review{
		"empty": {Schema: review.Schema},
		"full": {
			Schema: review.Schema, Bypasses: []review.Bypass{{Request: row, Kind: review.NoDecision}, {Request: row}}, Denials: []review.Denial{{Request: row, Checks: []string{"x"}}},
			LabelChanges: []review.LabelChange{{Request: row, New: &value}}, AccountUses: []review.AccountUse{{User: "u"}}, PolicyChanges: []review.PolicyChange{{Request: row}},
			Decisions: map[audit.Outcome]int{audit.Allowed: 0, audit.Denied: 1, audit.Failed: 0}, NotShown: map[string]int{"denials": 1}, Notes: []string{"n"}, Read: auditlog.Stats{Lines: 7, Examples: []auditlog.Trouble{{Why: "w"}}},
		},
	} {
		for _, replay := range []*review.Replay{nil, {Unchanged: 1}} {
			report := reviewReport{Review: r, Replay: replay}
			var out bytes.Buffer
			if err := report.json(&out); err != nil {
				t.Fatal(err)
			}
			whole, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out.String())
			}
			// A list without rows is written as one, not as null.
			if err := json.Unmarshal([]byte(strings.ReplaceAll(string(whole), ":null", ":[]")), &want); err != nil {
				t.Fatal(err)
			}
			for _, m := range []any{got, want} {
				if d, ok := m.(map[string]any); ok && d["decisions"] == nil {
					d["decisions"] = []any{}
				}
			}
			g, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if g = bytes.ReplaceAll(g, []byte(":null"), []byte(":[]")); !reflect.DeepEqual(mustDecode(t, g), want) {
				t.Errorf("%s: got\n%s\nwant\n%s", name, out.String(), whole)
			}
		}
	}
}

func mustDecode(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
