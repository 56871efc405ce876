package webhook

import (
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
)

// mutateLabelledBy keeps annotation saguard.io/labelled-by true, whatever the requester wrote there.
func mutateLabelledBy() Mutation {
	return Mutation{ID: "labelled-by", Run: func(f *Facts) ([]PatchOp, error) {
		if f.Account == nil || f.Operation == admissionv1.Delete {
			return nil, nil
		}
		have, present := f.Account.labelledBy()
		claims := labelledBy(f)
		if len(claims) == 0 {
			if !present {
				return nil, nil
			}
			return []PatchOp{{Op: "remove", Path: pointer("metadata", "annotations", AnnotationLabelledBy)}}, nil
		}
		want, err := json.Marshal(claims) // map keys are sorted: the same claims are the same text
		if err != nil {
			return nil, fmt.Errorf("encode claims: %w", err)
		}
		if present && have == string(want) {
			return nil, nil
		}
		if f.Account.Metadata.Annotations == nil {
			return []PatchOp{{Op: "add", Path: pointer("metadata", "annotations"), Value: map[string]string{AnnotationLabelledBy: string(want)}}}, nil
		}
		return []PatchOp{{Op: "add", Path: pointer("metadata", "annotations", AnnotationLabelledBy), Value: string(want)}}, nil
	}}
}
