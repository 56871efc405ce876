package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// value is one place of an object.
type value struct {
	path *field.Path
	raw  json.RawMessage
}

// valuesAt returns what stands in an object at a path of field names, compared exactly. A list on the way stands for each
// of its elements. Nothing is found where a name is absent, null, or below something that has no fields.
func valuesAt(object []byte, path []string) ([]value, error) {
	found := []value{{raw: object}}
	for _, name := range path {
		var next []value
		for _, v := range found {
			step, err := descend(v, name)
			if err != nil {
				return nil, err
			}
			next = append(next, step...)
		}
		found = next
	}
	return found, nil
}

func descend(v value, name string) ([]value, error) {
	if kindOf(v.raw) != '{' {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(v.raw, &fields); err != nil {
		return nil, fmt.Errorf("decode %s: %w", v.path, err)
	}
	if isNull(fields[name]) {
		return nil, nil
	}
	return elements(value{path: v.path.Child(name), raw: fields[name]})
}

// elements returns v, or the elements of the list that it is. A list in a list is not opened: it has no fields.
func elements(v value) ([]value, error) {
	if kindOf(v.raw) != '[' {
		return []value{v}, nil
	}
	var list []json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(v.raw, &list); err != nil {
		return nil, fmt.Errorf("decode %s: %w", v.path, err)
	}
	out := make([]value, 0, len(list))
	for i, raw := range list {
		out = append(out, value{path: v.path.Index(i), raw: raw})
	}
	return out, nil
}

// kindOf returns the first byte of a JSON value, which says what it is.
func kindOf(raw []byte) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// sameJSON reports whether two JSON texts mean the same: order of fields and blanks do not count. Texts that do not parse
// are not the same as anything (fails closed).
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if kjson.UnmarshalCaseSensitivePreserveInts(a, &x) != nil || kjson.UnmarshalCaseSensitivePreserveInts(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}
