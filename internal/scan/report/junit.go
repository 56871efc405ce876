package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/scan"
)

// maxLines is how many findings one test case lists.
const maxLines = 200

// JUnit writes one test case for each check, and one for what could not be judged. A check fails if a guard that enforces would refuse
// something; everything else that was found is a skipped case, which CI shows and does not fail on.
func JUnit(out io.Writer, r *scan.Result) error {
	found, failed := map[string][]string{}, map[string]bool{}
	for i := range r.Violations {
		v := &r.Violations[i]
		found[v.Check] = append(found[v.Check], place(&v.Object)+": "+v.Object.String()+": "+v.Reason)
		failed[v.Check] = failed[v.Check] || v.Mode == v1alpha1.ModeEnforce
	}
	for i := range r.Unjudged {
		u := &r.Unjudged[i]
		found[ruleUnjudged] = append(found[ruleUnjudged], place(&u.Object)+": "+u.Object.String()+": "+u.Reason)
	}
	suite := junit.Testsuite{Name: "saguard scan", Time: "0"}
	for _, id := range slices.Sorted(maps.Keys(rules())) {
		c := junit.Testcase{Name: id, Classname: "saguard"}
		if list := found[id]; len(list) > 0 {
			result := &junit.Result{Message: fmt.Sprintf("%d found", len(list))}
			text := strings.Join(list[:min(len(list), maxLines)], "\n") + "\n"
			if left := len(list) - maxLines; left > 0 {
				text += fmt.Sprintf("and %d more\n", left)
			}
			result.Data = text
			if failed[id] {
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
