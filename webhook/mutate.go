package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Mutation changes an object on its way in. It is pure and idempotent, and decides nothing: what it would have to refuse,
// a check refuses.
type Mutation struct {
	ID  string
	Run func(*Facts) ([]PatchOp, error)
}

// PatchOp is one operation of a JSON patch (RFC 6902).
type PatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Mutations returns every mutation, in the order in which they apply.
func Mutations() []Mutation {
	return []Mutation{
		mutateLabelledBy(),
		mutateTokenMount(),
		mutatePolicyDefaults(),
	}
}

// mutate returns the JSON patch of all mutations; nil where nothing changes.
func mutate(mutations []Mutation, f *Facts) ([]byte, error) {
	var ops []PatchOp
	for _, m := range mutations {
		more, err := m.Run(f)
		if err != nil {
			return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("mutation %s: %w", m.ID, err)}
		}
		ops = append(ops, more...)
	}
	if len(ops) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, &failure{code: statusInternal, reason: ReasonInternal, err: fmt.Errorf("encode patch: %w", err)}
	}
	return patch, nil
}

// pointer joins parts to a JSON pointer (RFC 6901).
func pointer(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(p, "~", "~0"), "/", "~1"))
	}
	return b.String()
}
