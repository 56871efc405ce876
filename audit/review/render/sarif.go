package render

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/saguard/saguard/audit/review"
)

// SARIF writes the bypasses and denials as SARIF 2.1.0 (OASIS), with the lines of the log as locations. Level "error" is a
// guarded write that certainly went around saguard, "warning" any other bypass, "note" a denial.
func SARIF(out io.Writer, r *review.Review, version string) error {
	doc := report.NewV210Report()
	run := sarif.NewRunWithInformationURI("saguard", "https://github.com/saguard/saguard")
	run.Tool.Driver.WithVersion(version)
	texts := rules()
	all := findings(r)
	for _, f := range all {
		if texts[f.rule] == "" {
			texts[f.rule] = "saguard refused a request: check " + f.rule[len("denied/"):] + "."
		}
	}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		run.AddRule(id).WithDescription(texts[id])
	}
	for _, f := range all {
		level := "note"
		switch {
		case f.failure:
			level = "error"
		case f.rule[0] == 'b':
			level = "warning"
		}
		at := sarif.NewPhysicalLocation().
			WithArtifactLocation(sarif.NewSimpleArtifactLocation(f.request.File)).
			WithRegion(sarif.NewSimpleRegion(f.request.Line, f.request.Line))
		run.CreateResultForRule(f.rule).WithLevel(level).
			WithMessage(sarif.NewTextMessage(f.title + ": " + f.text)).
			AddLocation(sarif.NewLocationWithPhysicalLocation(at))
	}
	doc.AddRun(run)
	if err := doc.Validate(); err != nil {
		return fmt.Errorf("make SARIF: %w", err)
	}
	if err := doc.PrettyWrite(out); err != nil {
		return fmt.Errorf("write SARIF: %w", err)
	}
	return nil
}
