package hygiene

import (
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Cause is one error in the form of a Kubernetes status cause, as
// `kubectl saguard validate --jsonl` prints it.
type Cause struct {
	Field   string `json:"field"`   // path, "spec.ingress[0].action"
	Reason  string `json:"reason"`  // metav1.CauseType, "FieldValueInvalid"
	Message string `json:"message"` // what is wrong and what would be right
}

// Causes converts errors, in their order; never nil.
func Causes(errs field.ErrorList) []Cause {
	causes := make([]Cause, 0, len(errs))
	for _, e := range errs {
		causes = append(causes, Cause{Field: e.Field, Reason: string(e.Type), Message: e.ErrorBody()})
	}
	return causes
}

func sortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }
