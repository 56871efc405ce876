package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saguard/saguard/policy"
)

// semanticsFlags are --semantics and --explain-differences.
type semanticsFlags struct {
	name    string
	explain bool
}

func (f *semanticsFlags) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "semantics", policy.Strict.String(),
		"strict: what saguard's agent and identity check enforce; calico: what Calico decides, holes included.")
	c.Flags().BoolVar(&f.explain, "explain-differences", false, "Print how strict differs from calico, and why, and do nothing else.")
	completeFlag(c, "semantics", policy.Strict.String(), policy.Calico.String())
}

func (f *semanticsFlags) parse() (policy.Semantics, error) {
	s, err := policy.ParseSemantics(f.name)
	if err != nil {
		return s, fmt.Errorf("--semantics: %w", err)
	}
	return s, nil
}

// difference is a row of what --explain-differences prints: a heading and lines of name and text.
type difference struct {
	id    string
	lines [][2]string
}

func printDifferences(out io.Writer, all []difference) error {
	var b strings.Builder
	for i, d := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(d.id + "\n")
		for _, l := range d.lines {
			if l[1] != "" {
				fmt.Fprintf(&b, "  %-8s%s\n", l[0], l[1])
			}
		}
	}
	return write(out, b.String())
}

// verdictDifferences is policy's table.
func verdictDifferences() []difference {
	var out []difference
	for _, d := range policy.Differences() {
		out = append(out, difference{id: d.ID, lines: [][2]string{{"input", d.Input}, {"calico", d.Calico}, {"strict", d.Strict}, {"why", d.Why}}})
	}
	return out
}
