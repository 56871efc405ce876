package reference

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// crdDir holds the generated CRDs.
const crdDir = "charts/saguard/files/crds"

// crds describes the fields of the CRDs as the API server gets them.
func crds(_ context.Context, root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(crdDir), "*.yaml"))
	if err != nil {
		return "", fmt.Errorf("list CRDs: %w", err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("no CRDs in %s", crdDir)
	}
	slices.Sort(files)
	slices.Reverse(files) // ServiceAccountGuard before PolicyBand
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read CRD: %w", err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			return "", fmt.Errorf("decode %s: %w", file, err)
		}
		if err := describeCRD(&b, &crd); err != nil {
			return "", fmt.Errorf("describe %s: %w", crd.Name, err)
		}
	}
	return b.String(), nil
}

func describeCRD(b *strings.Builder, crd *apiextensionsv1.CustomResourceDefinition) error {
	for _, v := range crd.Spec.Versions {
		schema := v.Schema.OpenAPIV3Schema
		fmt.Fprintf(b, "## %s\n\n`%s/%s`, %s, short names: %s.\n\n%s\n\n", crd.Spec.Names.Kind, crd.Spec.Group, v.Name, strings.ToLower(string(crd.Spec.Scope))+"-scoped",
			strings.Join(crd.Spec.Names.ShortNames, ", "), oneLine(schema.Description))
		for _, part := range []string{"spec", "status"} {
			p, ok := schema.Properties[part]
			if !ok {
				return fmt.Errorf("no %s", part)
			}
			fmt.Fprintf(b, "### %s of %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", part, crd.Spec.Names.Kind, oneLine(p.Description))
			if err := describeProperties(b, part, &p); err != nil {
				return err
			}
			b.WriteString("\n")
		}
	}
	return nil
}

func describeProperties(b *strings.Builder, path string, p *apiextensionsv1.JSONSchemaProps) error {
	for _, name := range slices.Sorted(maps.Keys(p.Properties)) {
		c := p.Properties[name]
		at := path + "." + name
		kind, rules, err := describeType(&c)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if slices.Contains(p.Required, name) {
			rules = append([]string{"Required."}, rules...)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", at, kind, strings.TrimSpace(cell(c.Description)+" "+strings.Join(rules, " ")))
		// The inside of these is Kubernetes's own, and the same everywhere.
		if name == "namespaceSelector" || name == "conditions" {
			continue
		}
		inner := &c
		if c.Items != nil && c.Items.Schema != nil {
			inner, at = c.Items.Schema, at+"[]"
		}
		if err := describeProperties(b, at, inner); err != nil {
			return err
		}
	}
	return nil
}

// describeType returns the type in words, and sentences on what is accepted.
func describeType(p *apiextensionsv1.JSONSchemaProps) (kind string, rules []string, err error) {
	kind = p.Type
	if p.Format == "date-time" {
		kind = "RFC 3339 time"
	}
	add := func(format string, args ...any) { rules = append(rules, fmt.Sprintf(format, args...)) }
	if p.Default != nil {
		var value any
		if err := json.Unmarshal(p.Default.Raw, &value); err != nil {
			return "", nil, fmt.Errorf("decode default: %w", err)
		}
		add("Default: `%v`.", value)
	}
	if len(p.Enum) > 0 {
		values := make([]string, len(p.Enum))
		for i, e := range p.Enum {
			var value string
			if err := json.Unmarshal(e.Raw, &value); err != nil {
				return "", nil, fmt.Errorf("decode enum: %w", err)
			}
			values[i] = "`" + value + "`"
		}
		kind = strings.Join(values, ", ")
	}
	if p.MinItems != nil && *p.MinItems > 0 {
		add("At least %d.", *p.MinItems)
	}
	if p.MaxItems != nil {
		add("At most %d.", *p.MaxItems)
	}
	if p.MaxLength != nil {
		add("At most %d characters.", *p.MaxLength)
	}
	for _, v := range p.XValidations {
		add("Refused where it does not hold: `%s` (%s).", strings.ReplaceAll(oneLine(v.Rule), "|", `\|`), cell(v.Message))
	}
	if p.Items != nil && p.Items.Schema != nil {
		item, more, err := describeType(p.Items.Schema)
		if err != nil {
			return "", nil, err
		}
		kind = "list of " + item
		for _, m := range more {
			if strings.HasPrefix(m, "At most") {
				add("Each: %s", strings.ToLower(m[:1])+m[1:])
			}
		}
	}
	if p.AdditionalProperties != nil && p.AdditionalProperties.Schema != nil {
		kind = "object of " + p.AdditionalProperties.Schema.Type
	}
	return kind, rules, nil
}
