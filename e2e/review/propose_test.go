package review_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// proposal is a file of the story's guards, changed.
func proposal(t *testing.T, change func(string) string) string {
	t.Helper()
	text, err := os.ReadFile(manifest("guards.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	path := filepath.Join(t.TempDir(), "guards.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Under the guards that were in force nothing comes out otherwise than it did, whatever the log has; under stricter ones it is the step that
// was only warned of. What cannot be known is not judged.
func TestReplayUnderProposedGuards(t *testing.T) {
	// The story puts this key under guard on its way; the proposals have it from the beginning, or not at all.
	const sinceThen = "what the guard names since"
	cases := map[string]struct {
		change  func(string) string
		denied  []string
		allowed []string // with bodies; without, it is not known what else was changed
	}{
		"as they were at first": {change: func(s string) string { return s }, allowed: []string{sinceThen}},
		"as they were in the end": {
			change: func(s string) string {
				return strings.ReplaceAll(s, "mode: Enforce, keys: [team]", "mode: Enforce, keys: [team, role]")
			},
		},
		"stricter": {
			change: func(s string) string {
				return strings.ReplaceAll(strings.ReplaceAll(s, "Warn", "Enforce"), "mode: Enforce, keys: [team]", "mode: Enforce, keys: [team, role]")
			},
			denied: []string{"a warning only"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := proposal(t, tc.change)
			judged := map[string]float64{}
			for level, p := range map[string]*played{"Metadata": clusters.metadata, "RequestResponse": clusters.bodies} {
				got := replay(t, p, "--guards", path)
				allowed := tc.allowed
				if level == "Metadata" {
					allowed = nil
				}
				if !slices.Equal(got.denied, tc.denied) && len(got.denied)+len(tc.denied) > 0 || !slices.Equal(got.allowed, allowed) && len(got.allowed)+len(allowed) > 0 {
					t.Errorf("%s: newly denied %q, want %q; newly allowed %q, want %q", level, got.denied, tc.denied, got.allowed, allowed)
				}
				judged[level] = got.unchanged + float64(len(got.denied)+len(got.allowed))
				if got.unknown == 0 {
					t.Errorf("%s: all of it was judged, which no log allows", level)
				}
			}
			if judged["Metadata"] < 8 || judged["RequestResponse"] < 20 || judged["RequestResponse"] <= judged["Metadata"] {
				t.Errorf("judged %v: less than the log tells", judged)
			}
		})
	}
}
