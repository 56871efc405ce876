package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/hygiene"
)

func newValidate(streams genericiooptions.IOStreams) *cobra.Command {
	var (
		lines bool
		sem   semanticsFlags
	)
	c := &cobra.Command{
		Use:   "validate --jsonl",
		Short: "Validate Calico policies: structure, selectors and what Calico accepts and silently widens",
		Long: `Validate Calico policies (NetworkPolicy, GlobalNetworkPolicy and the Staged forms, of projectcalico.org/v3 and crd.projectcalico.org/v1),
one JSON object a line:

  in   {"object": OBJECT}
  out  {"valid": BOOL, "causes": [{"field": PATH, "reason": REASON, "message": TEXT}, ...]}

It is the admission check policy-hygiene. A line that cannot be read is answered as not valid, and the stream goes on.`,
		Example: `  kubectl get networkpolicies.projectcalico.org -A -o json | jq -c '.items[] | {object: .}' |
    kubectl saguard validate --jsonl`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if sem.explain {
				return printDifferences(streams.Out, hygieneDifferences())
			}
			semantics, err := sem.parse()
			if err != nil {
				return err
			}
			if !lines {
				return errors.New("--jsonl is needed: it is the only form so far; \"check\" reads manifests")
			}
			return validateLines(streams.In, streams.Out, semantics)
		},
	}
	c.Flags().BoolVar(&lines, "jsonl", false, "Read one object a line from standard input, and answer each with one line.")
	sem.addFlags(c)
	return c
}

// validateAnswer is a line of output.
type validateAnswer struct {
	Valid  bool            `json:"valid"`
	Causes []hygiene.Cause `json:"causes"`
}

// validateLines answers line after line. The error is of reading or writing.
func validateLines(in io.Reader, out io.Writer, sem policy.Semantics) error {
	rules := hygiene.Strict
	if sem == policy.Calico {
		rules = hygiene.Calico
	}
	reader, encoder := bufio.NewReader(in), json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for n := 1; ; n++ {
		line, err := reader.ReadBytes('\n')
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("read line %d: %w", n, err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := encoder.Encode(validateLine(line, rules)); err != nil {
				return fmt.Errorf("write line %d: %w", n, err)
			}
		}
		if last {
			return nil
		}
	}
}

func validateLine(line []byte, sem hygiene.Semantics) validateAnswer {
	var query struct {
		Object json.RawMessage `json:"object"`
	}
	err := json.Unmarshal(line, &query)
	if err == nil && len(query.Object) == 0 {
		err = errors.New("object is required")
	}
	if err != nil {
		return validateAnswer{Causes: []hygiene.Cause{{Reason: string(metav1.CauseTypeFieldValueInvalid), Field: "object", Message: "read line: " + err.Error()}}}
	}
	errs := hygiene.Validate(query.Object, sem)
	return validateAnswer{Valid: len(errs) == 0, Causes: hygiene.Causes(errs)}
}

func hygieneDifferences() []difference {
	var out []difference
	for _, d := range hygiene.Divergences() {
		out = append(out, difference{id: d.ID, lines: [][2]string{{"calico", "accepts what breaks the rule"}, {"strict", d.Rule}, {"why", d.Reason}}})
	}
	return out
}
