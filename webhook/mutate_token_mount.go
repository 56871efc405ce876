package webhook

import (
	admissionv1 "k8s.io/api/admission/v1"
)

// mutateTokenMount turns automountServiceAccountToken off on accounts named "default" that say nothing about it. It is
// hygiene, not a boundary: whoever writes true, there or in a pod, has said what they want.
func mutateTokenMount() Mutation {
	return Mutation{ID: "disable-token-mount", Run: func(f *Facts) ([]PatchOp, error) {
		if f.Account == nil || f.Operation == admissionv1.Delete || f.accountName() != "default" ||
			f.Account.AutomountServiceAccountToken != nil || !f.Guards.DisableTokenMount() {
			return nil, nil
		}
		return []PatchOp{{Op: "add", Path: pointer("automountServiceAccountToken"), Value: false}}, nil
	}}
}
