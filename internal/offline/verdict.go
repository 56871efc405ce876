package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Format is an output format of Verdict.
type Format string

const (
	// FormatJSON is one array, one object for each flow.
	FormatJSON Format = "json"
	// FormatTable is for people.
	FormatTable Format = "table"
)

// VerdictConfig says what Verdict reads and writes.
type VerdictConfig struct {
	Paths []string // files, directories, "-" for Stdin
	// Objects are read instead of Paths if they are not nil: of a cluster, and complete.
	Objects   *Objects
	Flows     io.Reader
	Stdin     io.Reader
	Semantics policy.Semantics
	Format    Format
	Out       io.Writer
	// Notes receives what did not parse and what was ignored, one line each.
	Notes io.Writer
}

// Verdict answers `verdict -f PATH... --flows FILE`: objects from c.Paths, flows as a JSON array, a stream of JSON
// objects or a YAML list. Nothing is written to Out if an object or a flow cannot be read; the error names them all.
func Verdict(c VerdictConfig) error {
	objects := c.Objects
	if objects == nil {
		read, err := ReadPaths(c.Paths, c.Stdin, c.Semantics)
		if err != nil {
			return err
		}
		objects = read
		objects.AssumeNamespaces()
	}
	if err := objects.Note(c.Notes); err != nil {
		return err
	}
	flows, errs := readFlows(c.Flows)
	if len(errs) > 0 {
		return fmt.Errorf("read flows: %w", errs.ToAggregate())
	}
	answers, errs := answer(objects, flows, c.Semantics)
	if len(errs) > 0 {
		return fmt.Errorf("resolve flows: %w", errs.ToAggregate())
	}
	if c.Format == FormatTable {
		return table(c.Out, answers)
	}
	encoder := json.NewEncoder(c.Out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answers); err != nil {
		return fmt.Errorf("write verdicts: %w", err)
	}
	return nil
}

// Note writes problems, ignored kinds and assumptions, one line each.
func (o *Objects) Note(out io.Writer) error {
	var lines []string
	for _, p := range o.Problems() {
		lines = append(lines, fmt.Sprintf("problem: %v", p))
	}
	for _, kind := range slices.Sorted(maps.Keys(o.Ignored)) {
		lines = append(lines, fmt.Sprintf("ignored: %d of %s", o.Ignored[kind], kind))
	}
	for _, n := range o.assumed {
		lines = append(lines, fmt.Sprintf("assumed: namespace %s exists", n.Ref().Name))
	}
	for _, s := range o.standIns {
		lines = append(lines, "assumed: "+s)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return fmt.Errorf("write notes: %w", err)
		}
	}
	return nil
}

func readFlows(in io.Reader) ([]Flow, field.ErrorList) {
	var flows []Flow
	var errs field.ErrorList
	path := field.NewPath("flows")
	add := func(raw []byte) {
		flow, bad := ParseFlow(path.Index(len(flows)), raw)
		flows, errs = append(flows, flow), append(errs, bad...)
	}
	err := documents(in, func(_ int, raw []byte, err error) {
		var list []json.RawMessage
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(path, "", err.Error()))
		case json.Unmarshal(raw, &list) == nil:
			for _, element := range list {
				add(element)
			}
		default:
			add(raw)
		}
	})
	if err != nil {
		errs = append(errs, field.Invalid(path, "", err.Error()))
	}
	return flows, errs
}

// answer judges flows; with any error there are no answers, as half of them would mislead.
func answer(objects *Objects, flows []Flow, sem policy.Semantics) ([]Answer, field.ErrorList) {
	snapshot := objects.Snapshot(sem)
	answers := make([]Answer, 0, len(flows))
	var errs field.ErrorList
	for i := range flows {
		resolved, bad := flows[i].resolve(field.NewPath("flows").Index(i), snapshot, objects.whyNot)
		if len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		answers = append(answers, Answer{Flow: flows[i], Result: eval.Evaluate(snapshot, resolved)})
	}
	return answers, errs
}

func table(out io.Writer, answers []Answer) error {
	var rows bytes.Buffer
	fmt.Fprintln(&rows, "FROM\tTO\tPROTOCOL\tPORT\tVERDICT\tEGRESS BY\tINGRESS BY")
	for _, a := range answers {
		port := "-"
		if n, ok := a.Flow.Port.Get(); ok {
			port = strconv.Itoa(int(n))
		}
		fmt.Fprintf(&rows, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Flow.From, a.Flow.To, a.Flow.protocolName(), port,
			a.Result.Verdict(), explain(a.Result.Egress), explain(a.Result.Ingress))
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	if _, err := w.Write(rows.Bytes()); err != nil {
		return fmt.Errorf("write verdicts: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write verdicts: %w", err)
	}
	return nil
}

func (f *Flow) protocolName() string {
	var name string
	if json.Unmarshal(f.fields["protocol"], &name) == nil {
		return name
	}
	return strconv.Itoa(int(f.Protocol))
}

// explain says a decision in a few words.
func explain(d eval.Decision) string {
	switch {
	case !d.Applies:
		return "-"
	case d.Tier == "" && d.Rule == eval.EndOfTier:
		return d.Verdict.String() + ": no namespace"
	case d.Tier == "":
		return d.Verdict.String() + ": no policy"
	case d.Rule == eval.EndOfTier:
		return fmt.Sprintf("%s: end of tier %s, after %s", d.Verdict, d.Tier, d.Policy.Path())
	}
	return fmt.Sprintf("%s: tier %s, %s, rule %d", d.Verdict, d.Tier, d.Policy.Path(), d.Rule)
}

// scenario is a line of `verdict --jsonl`.
type scenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Flows   []json.RawMessage `json:"flows"`
}

type scenarioAnswer struct {
	Name  string   `json:"name"`
	Flows []Answer `json:"flows"`
}

type scenarioError struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// VerdictLines answers `verdict --jsonl`: one scenario a line, one answer a line. A scenario that cannot be read, or of
// which any object or flow cannot, gives {"name","error"} and the stream goes on. The error is of reading or writing.
func VerdictLines(in io.Reader, out, notes io.Writer, sem policy.Semantics) error {
	return lines(in, out, func(n int, line []byte, err error) any {
		var s scenario
		if err == nil {
			err = json.Unmarshal(line, &s)
		}
		if err != nil {
			return scenarioError{Name: nameOf(line), Error: fmt.Sprintf("read line %d: %v", n, err)}
		}
		answers, err := s.answer(notes, sem)
		if err != nil {
			return scenarioError{Name: s.Name, Error: err.Error()}
		}
		return scenarioAnswer{Name: s.Name, Flows: answers}
	})
}

func (s *scenario) answer(notes io.Writer, sem policy.Semantics) ([]Answer, error) {
	objects := &Objects{}
	var errs []error
	for i, raw := range s.Objects {
		errs = append(errs, objects.Add(fmt.Sprintf("objects[%d]", i), raw, sem))
	}
	var flows []Flow
	for i, raw := range s.Flows {
		flow, bad := ParseFlow(field.NewPath("flows").Index(i), raw)
		flows = append(flows, flow)
		for _, err := range bad {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	answers, bad := answer(objects, flows, sem)
	if len(bad) > 0 {
		return nil, bad.ToAggregate()
	}
	prefixed := notesFor{out: notes, name: s.Name}
	return answers, objects.Note(prefixed)
}

// notesFor puts the scenario's name before every note.
type notesFor struct {
	out  io.Writer
	name string
}

func (n notesFor) Write(line []byte) (int, error) {
	if n.out == nil {
		return len(line), nil
	}
	if _, err := fmt.Fprintf(n.out, "%s: %s", n.name, line); err != nil {
		return 0, err
	}
	return len(line), nil
}

// nameOf finds the name of a scenario that is otherwise not one.
func nameOf(line []byte) string {
	var s struct {
		Name any `json:"name"`
	}
	if json.Unmarshal(line, &s) == nil {
		if name, ok := s.Name.(string); ok {
			return name
		}
	}
	return ""
}
