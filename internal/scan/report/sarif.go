package report

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/scan"
)

// SARIF writes SARIF 2.1.0 (OASIS). Level "error" is what a guard that enforces would refuse, "warning" what one that does not would let pass,
// and who can get around guards; "note" is what could not be judged. The location is the file, or a path that stands for the object.
func SARIF(out io.Writer, r *scan.Result, version string) error {
	doc := report.NewV210Report()
	run := sarif.NewRunWithInformationURI("saguard", "https://github.com/saguard/saguard")
	run.Tool.Driver.WithVersion(version)
	all := rules()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		run.AddRule(id).WithDescription(all[id])
	}
	add := func(rule, level, text string, o *scan.Object) {
		at := sarif.NewPhysicalLocation().WithArtifactLocation(sarif.NewSimpleArtifactLocation(place(o)))
		run.CreateResultForRule(rule).WithLevel(level).
			WithMessage(sarif.NewTextMessage(o.String() + ": " + text)).
			AddLocation(sarif.NewLocationWithPhysicalLocation(at))
	}
	for i := range r.Violations {
		v := &r.Violations[i]
		level := "warning"
		if v.Mode == v1alpha1.ModeEnforce {
			level = "error"
		}
		add(v.Check, level, v.Reason, &v.Object)
	}
	for i := range r.Unjudged {
		add(ruleUnjudged, "note", r.Unjudged[i].Reason, &r.Unjudged[i].Object)
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
