package reference

import (
	"context"
	"fmt"
	"go/ast"
	"reflect"
	"strings"

	"github.com/saguard/saguard/audit"
)

// records describes the schema of package audit.
func records(_ context.Context, root string) (string, error) {
	src, err := parseSource(root, "audit")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `The webhook, the agent and the identity check write each decision as one line of JSON to standard output, all in this schema. It is
`+"`%s`"+`; the name changes only when a field changes its meaning. A field that is empty is left out, but for those marked *always*.

`, audit.Schema)
	for _, name := range []string{"Record", "Check", "Tuple", "Object", "Change", "Flow", "End"} {
		if err := recordStruct(&b, src, name); err != nil {
			return "", err
		}
	}
	fmt.Fprintf(&b, `## Audit annotations

The webhook gives the same to the API server, which puts it on the audit event of the request, at every audit level. Each key is preceded by the
name of the webhook, for example `+"`serviceaccounts.validate.saguard.io/%s`"+`. A value is at most %d bytes, and the same when the API
server asks again.

| key | value |
|---|---|
`, audit.AnnotationDecision, audit.MaxAnnotationBytes)
	for _, row := range [][2]string{
		{audit.AnnotationSchema, "`" + audit.Schema + "`"},
		{audit.AnnotationDecision, "`decision` of the record"},
		{audit.AnnotationReason, "`reason` of the record"},
		{audit.AnnotationMode, "`mode` of the record"},
		{audit.AnnotationChecks, "`checks` without their tuples, as JSON"},
		{audit.AnnotationTuples, "the tuples of all checks, refusals first, as JSON"},
		{audit.AnnotationLabels, "`labelDiff`, as a JSON array of `{key, old, new}`"},
		{audit.AnnotationExempt, "`exemptFrom`, as JSON"},
		{audit.AnnotationTruncated, "how many items were left out of the others to keep them short"},
	} {
		fmt.Fprintf(&b, "| `%s` | %s |\n", row[0], row[1])
	}
	if known := len(src.constsOf("Annotation")); known != 9 {
		return "", fmt.Errorf("package audit has %d annotations, this page describes 9", known)
	}
	return b.String(), nil
}

func recordStruct(b *strings.Builder, src *source, name string) error {
	st, doc := src.structOf(name)
	if st == nil {
		return fmt.Errorf("package audit has no struct %s", name)
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", name, doc)
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			return fmt.Errorf("%s: a field without JSON tag, or several in one line", name)
		}
		tag, always := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ""
		field, options, _ := strings.Cut(tag, ",")
		if options == "" {
			always = " (*always*)"
		}
		meaning := comment(f.Doc, f.Comment)
		if meaning == "" {
			return fmt.Errorf("%s.%s has no comment to say what it means", name, f.Names[0].Name)
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", field, typeName(f.Type), always, cell(meaning))
	}
	b.WriteString("\n")
	return nil
}

// typeName is the type in JSON's words.
func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ArrayType:
		return "list of " + typeName(t.Elt)
	case *ast.MapType:
		return "object of " + typeName(t.Value)
	case *ast.SelectorExpr:
		return "RFC 3339 time"
	case *ast.Ident:
		switch t.Name {
		case "bool", "string":
			return t.Name
		case "Outcome":
			return "string"
		}
		if strings.HasPrefix(t.Name, "int") || strings.HasPrefix(t.Name, "uint") {
			return "integer"
		}
		return fmt.Sprintf("[%s](#%s)", t.Name, strings.ToLower(t.Name))
	default:
		return "value"
	}
}
