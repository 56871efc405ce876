package review_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// differing are the steps of the story of which only one of the two logs knows, by kind.
func differing(t *testing.T, p *played, events, records string) map[string][]string {
	t.Helper()
	text := saguard(t, p.Installation, append([]string{"review", events, records, "-o", "json"}, p.window()...)...)
	out := map[string][]string{}
	steps := map[string]string{}
	for n, s := range story() {
		steps[stepID(n)] = s.name
	}
	rows, _ := reviewed(t, text)["bypasses"].([]any)
	for _, r := range rows {
		row := r.(map[string]any)
		if kind := row["kind"].(string); kind == "unlogged" || kind == "unrecorded" {
			id, _ := row["auditID"].(string)
			out[kind] = append(out[kind], steps[id])
		}
	}
	return out
}

// without is a copy of a log without the lines that hold a text.
func without(t *testing.T, path, text string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept [][]byte
	left := 0
	for _, line := range bytes.SplitAfter(raw, []byte("\n")) {
		if bytes.Contains(line, []byte(text)) {
			left++
			continue
		}
		kept = append(kept, line)
	}
	if left == 0 {
		t.Fatalf("nothing in %s has %q", path, text)
	}
	out := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(out, bytes.Join(kept, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// What the API server logged and what saguard recorded is the same; what is taken out of one of them is found by the other.
func TestTheTwoLogsAgree(t *testing.T) {
	for level, p := range map[string]*played{"Metadata": clusters.metadata, "RequestResponse": clusters.bodies} {
		t.Run(level, func(t *testing.T) {
			if got := differing(t, p, p.CP.AuditLog(), p.RecordsPath()); len(got) > 0 {
				t.Errorf("of one run: %v", got)
			}
			// A step in the middle, of which nothing else is like it.
			const step = "a policy that names an account"
			id := ""
			for n, s := range story() {
				if s.name == step {
					id = stepID(n)
				}
			}
			got := differing(t, p, without(t, p.CP.AuditLog(), id), p.RecordsPath())
			if len(got["unlogged"]) != 1 || len(got["unrecorded"]) > 0 {
				t.Errorf("an event is missing: %v", got)
			}
			got = differing(t, p, p.CP.AuditLog(), without(t, p.RecordsPath(), `"to-web"`))
			if strings.Join(got["unrecorded"], ",") != step || len(got["unlogged"]) > 0 {
				t.Errorf("a record is missing: %v", got)
			}
		})
	}
}
