package offline_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

func TestExplainDifferencesPrintsEveryRow(t *testing.T) {
	var text, encoded bytes.Buffer
	for format, out := range map[offline.Format]*bytes.Buffer{offline.FormatTable: &text, offline.FormatJSON: &encoded} {
		if err := offline.ExplainDifferences(out, format); err != nil {
			t.Fatal(err)
		}
	}
	var rows []map[string]string
	if err := json.Unmarshal(encoded.Bytes(), &rows); err != nil || len(rows) != len(policy.Differences()) {
		t.Fatalf("got %d rows, %v, want %d", len(rows), err, len(policy.Differences()))
	}
	for i, d := range policy.Differences() {
		if rows[i]["id"] != d.ID || rows[i]["strict"] != d.Strict {
			t.Errorf("row %d is %v, want %s", i, rows[i], d.ID)
		}
		for _, want := range []string{d.ID + "\n", d.Input, d.Calico, d.Strict, d.Why} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the text lacks %q", want)
			}
		}
	}
}
