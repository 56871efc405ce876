package offline

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/saguard/saguard/policy"
)

// ExplainDifferences prints the table of where strict semantics part from Calico's, for --explain-differences.
func ExplainDifferences(out io.Writer, format Format) error {
	type row struct {
		ID     string `json:"id"`
		Input  string `json:"input"`
		Calico string `json:"calico"`
		Strict string `json:"strict"`
		Why    string `json:"why"`
	}
	rows := []row{}
	for _, d := range policy.Differences() {
		rows = append(rows, row{ID: d.ID, Input: d.Input, Calico: d.Calico, Strict: d.Strict, Why: d.Why})
	}
	if format == FormatJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(rows); err != nil {
			return fmt.Errorf("write differences: %w", err)
		}
		return nil
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(out, "%s\n  input:   %s\n  calico:  %s\n  strict:  %s\n  because: %s\n", r.ID, r.Input, r.Calico, r.Strict, r.Why); err != nil {
			return fmt.Errorf("write differences: %w", err)
		}
	}
	return nil
}
