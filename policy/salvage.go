package policy

import (
	"encoding/json"
	"fmt"
	"strconv"

	kjson "sigs.k8s.io/json"
)

// unreadableNet stands for nets that cannot be decoded; it does not parse either.
const unreadableNet = "unreadable"

// Salvage is [DecodeAs] for an object that the API server holds whether or not it can be decoded: a port "80:70", say, has
// the right type for a CRD and none for Go. Every field or rule that cannot be decoded is taken out and listed in
// Object.Unknown, where strict semantics make it deny (fails closed). The error is that of an object of which not even
// that is left; whoever watches has to keep what it was before.
func Salvage(apiVersion, kind string, raw []byte) (Object, error) {
	o, err := DecodeAs(apiVersion, kind, raw)
	if err == nil || newValue(apiVersion, kind) == nil {
		return o, err
	}
	var object, spec map[string]json.RawMessage
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return Object{}, fmt.Errorf("decode %s %s: %w", apiVersion, kind, err)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(object["spec"], &spec); err != nil {
		return Object{}, fmt.Errorf("decode spec of %s %s: %w", apiVersion, kind, err)
	}
	if kind == "Tier" {
		// Nothing in a tier can be left out without moving it or opening its end.
		return Object{}, fmt.Errorf("decode spec of %s: %w", kind, err)
	}
	whole := func(spec map[string]json.RawMessage) (Object, error) {
		body, err := json.Marshal(map[string]any{"metadata": object["metadata"], "spec": spec})
		if err != nil {
			return Object{}, fmt.Errorf("encode %s %s: %w", apiVersion, kind, err)
		}
		return DecodeAs(apiVersion, kind, body)
	}
	decodes := func(field string, value json.RawMessage) bool {
		_, err := whole(map[string]json.RawMessage{field: value})
		return err == nil
	}
	kept := map[string]json.RawMessage{}
	var broken []string
	for field, value := range spec {
		var rules []json.RawMessage
		isList := json.Unmarshal(value, &rules) == nil
		switch {
		case decodes(field, value):
		case (field == "ingress" || field == "egress") && isList:
			for i, rule := range rules {
				if one, err := json.Marshal([]json.RawMessage{rule}); err != nil || !decodes(field, one) {
					rules[i] = json.RawMessage("{}")
					broken = append(broken, "spec."+field+"["+strconv.Itoa(i)+"]")
				}
			}
			if value, err = json.Marshal(rules); err != nil {
				return Object{}, fmt.Errorf("encode %s: %w", field, err)
			}
		case field == "nets":
			value = json.RawMessage(`["` + unreadableNet + `"]`)
		default:
			broken = append(broken, "spec."+field)
			continue
		}
		kept[field] = value
	}
	o, err = whole(kept)
	if err != nil {
		return Object{}, err
	}
	o.Unknown = append(o.Unknown, broken...)
	return o, nil
}
