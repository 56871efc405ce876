package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DescribeSchema returns the JSON schema of a chart's values with the description of each value and section set to its comment
// in values.yaml, where helm-docs finds it, too. Everything else of the schema stays, in its order; what values.yaml does not
// have is left alone. A value has a comment that starts with `# -- `; a section any comment, or none.
func DescribeSchema(values, schema []byte) ([]byte, error) {
	var from, to yaml.Node
	if err := yaml.Unmarshal(values, &from); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	// JSON is YAML, whose nodes keep the order of keys.
	if err := yaml.Unmarshal(schema, &to); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if len(from.Content) == 0 || len(to.Content) == 0 {
		return nil, fmt.Errorf("describe schema: values or schema are empty")
	}
	describe(from.Content[0], to.Content[0])
	var out, indented bytes.Buffer
	if err := encode(&out, to.Content[0]); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	if err := json.Indent(&indented, out.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// describe visits the values and their properties together.
func describe(values, schema *yaml.Node) {
	properties := get(schema, "properties")
	if properties == nil || values.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i], values.Content[i+1]
		property := get(properties, key.Value)
		if property == nil {
			continue
		}
		if text := comment(key.HeadComment); text != "" {
			setDescription(property, text)
		}
		describe(value, property)
	}
}

// comment is the last paragraph of a comment, as one line.
func comment(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
	}
	return strings.TrimPrefix(strings.Join(lines, " "), "-- ")
}

func get(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// setDescription puts it first.
func setDescription(property *yaml.Node, text string) {
	if old := get(property, "description"); old != nil {
		old.SetString(text)
		return
	}
	key, value := &yaml.Node{}, &yaml.Node{}
	key.SetString("description")
	value.SetString(text)
	property.Content = append([]*yaml.Node{key, value}, property.Content...)
}

// encode writes a node as JSON.
func encode(out *bytes.Buffer, node *yaml.Node) error {
	open, closing, step := "[", "]", 1
	switch node.Kind {
	case yaml.MappingNode:
		open, closing, step = "{", "}", 2
	case yaml.SequenceNode:
	default:
		var value any
		if err := node.Decode(&value); err != nil {
			return err
		}
		return encodeScalar(out, value)
	}
	out.WriteString(open)
	for i := 0; i < len(node.Content); i += step {
		if i > 0 {
			out.WriteByte(',')
		}
		if step == 2 {
			if err := encodeScalar(out, node.Content[i].Value); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := encode(out, node.Content[i+step-1]); err != nil {
			return err
		}
	}
	out.WriteString(closing)
	return nil
}

// encodeScalar leaves <, > and & as they are.
func encodeScalar(out *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
