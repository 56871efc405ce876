package review_test

import (
	"bytes"
	"strings"
	"testing"
)

// What the review says does not depend on the level of the log, and is what is in testdata/golden.
func TestReviewOfTheStory(t *testing.T) {
	reviews := map[*played][]byte{}
	for _, p := range []*played{clusters.metadata, clusters.bodies} {
		text := saguard(t, p.Installation, append([]string{"review", p.CP.AuditLog(), "-o", "json"}, p.window()...)...)
		if strings.Contains(text, hidden) {
			t.Error("the body of a Secret is in the review")
		}
		reviews[p] = indented(t, normal(t, reviewed(t, text)))
	}
	if got, want := reviews[clusters.bodies], reviews[clusters.metadata]; !bytes.Equal(got, want) {
		t.Errorf("level RequestResponse against Metadata: %s", difference(got, want))
	}
	golden(t, map[string][]byte{"story.json": reviews[clusters.metadata]})
}
