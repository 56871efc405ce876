package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/saguard/saguard/audit/review"
)

// maxLines is how many findings one test case lists.
const maxLines = 200

// JUnit writes one test case for each kind of bypass and for the denials of each check. A kind fails if a guarded write certainly
// went around saguard by it; everything else that was found is a skipped case, which CI shows and does not fail on.
func JUnit(out io.Writer, r *review.Review) error {
	found := map[string][]finding{}
	for id := range rules() {
		found[id] = nil
	}
	for _, f := range findings(r) {
		found[f.rule] = append(found[f.rule], f)
	}
	suite := junit.Testsuite{Name: "saguard review", Time: "0"}
	if !r.To.IsZero() {
		suite.SetTimestamp(r.To)
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		c := junit.Testcase{Name: id, Classname: "saguard"}
		if list := found[id]; len(list) > 0 {
			result := &junit.Result{Message: fmt.Sprintf("%d found", len(list))}
			failed := false
			var lines strings.Builder
			for i, f := range list {
				failed = failed || f.failure
				if i < maxLines {
					fmt.Fprintf(&lines, "%s:%d: %s: %s\n", f.request.File, f.request.Line, f.title, f.text)
				}
			}
			if left := len(list) - maxLines; left > 0 {
				fmt.Fprintf(&lines, "and %d more\n", left)
			}
			result.Data = lines.String()
			if failed {
				c.Failure = result
			} else {
				c.Skipped = result
			}
		}
		suite.AddTestcase(c)
	}
	var suites junit.Testsuites
	suites.AddSuite(suite)
	if err := suites.WriteXML(out); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	return nil
}
