package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// The values of --output.
const (
	formatTable = ""
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name"
)

// output is the -o flag of a command.
type output struct {
	format    string
	noHeaders bool
	allowed   []string
}

// addFlags declares -o with the formats that the command knows. Only tables have headers.
func (o *output) addFlags(c *cobra.Command, allowed ...string) {
	o.allowed = allowed
	c.Flags().StringVarP(&o.format, "output", "o", allowed[0], "Output format: "+strings.Join(named(allowed), ", ")+".")
	if slices.Contains(allowed, formatTable) {
		c.Flags().BoolVar(&o.noHeaders, "no-headers", false, "Print tables without their first line.")
	}
	completeFlag(c, "output", named(allowed)...)
}

// completeFlag has the shell complete a flag that c has already.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the command lacks the flag: no input can cause that
	}
}

func named(formats []string) []string {
	return slices.DeleteFunc(slices.Clone(formats), func(f string) bool { return f == formatTable })
}

func (o *output) validate() error {
	if slices.Contains(o.allowed, o.format) {
		return nil
	}
	return fmt.Errorf("--output %q: want %s", o.format, strings.Join(named(o.allowed), ", "))
}

// report is a result that can be shown in every format.
type report interface {
	table() *metav1.Table
	names() []string
}

// print writes r; JSON and YAML are r itself.
func (o *output) print(out io.Writer, r report) error {
	switch o.format {
	case formatJSON:
		return printJSON(out, r)
	case formatYAML:
		raw, err := yaml.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
		return write(out, string(raw))
	case formatName:
		var b strings.Builder
		for _, n := range r.names() {
			b.WriteString(oneLine(n) + "\n")
		}
		return write(out, b.String())
	default:
		return o.printTable(out, r.table())
	}
}

func (o *output) printTable(out io.Writer, t *metav1.Table) error {
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: o.format == formatWide, NoHeaders: o.noHeaders})
	if err := printer.PrintObj(t, out); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// oneLine quotes a name that a terminal would obey or a script take for two: names of users and groups may be any text.
func oneLine(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func write(out io.Writer, text string) error {
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// printNotes writes what the user should know beside the result. Names in them come from files and clusters, and can hold what a terminal
// would obey.
func printNotes(out io.Writer, notes []string) error {
	var b strings.Builder
	for _, n := range notes {
		b.WriteString("note: " + printers.EscapeTerminal(n) + "\n")
	}
	return write(out, b.String())
}

func column(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string"}
}

// wideColumn is shown by -o wide only.
func wideColumn(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1}
}

func row(cells ...any) metav1.TableRow { return metav1.TableRow{Cells: cells} }

// printObjects writes Kubernetes objects as YAML documents, or as JSON, of several a List, as kubectl does.
func printObjects(out io.Writer, format string, objects []runtime.Object) error {
	if format == formatJSON {
		if len(objects) == 1 {
			return printJSON(out, objects[0])
		}
		return printJSON(out, struct {
			metav1.TypeMeta
			Items []runtime.Object `json:"items"`
		}{metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, objects})
	}
	printer := &printers.YAMLPrinter{}
	for _, o := range objects {
		if err := printer.PrintObj(o, out); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
	}
	return nil
}
