package webhook

import (
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
)

// Response is what goes back to the API server.
type Response = admissionv1.AdmissionResponse

// respond is the only place where a decision becomes a response.
func respond(uid string, d *Decision, record *audit.Record) *Response {
	r := &Response{
		UID:              types.UID(uid),
		Allowed:          d.Verdict == decision.Allow,
		Warnings:         d.Warnings,
		AuditAnnotations: record.Annotations(),
	}
	if r.Allowed {
		return r
	}
	r.Result = &metav1.Status{Status: metav1.StatusFailure, Code: d.Code, Reason: statusReason(d.Code), Message: d.Message}
	if len(d.Causes) > 0 {
		r.Result.Details = &metav1.StatusDetails{Causes: d.Causes}
	}
	if d.Code == statusUnavailable {
		r.Result.Details = &metav1.StatusDetails{Causes: d.Causes, RetryAfterSeconds: 1}
	}
	return r
}

func patched(uid string, patch []byte) *Response {
	r := &Response{UID: types.UID(uid), Allowed: true}
	if len(patch) > 0 {
		kind := admissionv1.PatchTypeJSONPatch
		r.Patch, r.PatchType = patch, &kind
	}
	return r
}

func statusReason(code int32) metav1.StatusReason {
	switch code {
	case statusBadRequest:
		return metav1.StatusReasonBadRequest
	case statusForbidden:
		return metav1.StatusReasonForbidden
	case statusTooLarge:
		return metav1.StatusReasonRequestEntityTooLarge
	case statusUnavailable:
		return metav1.StatusReasonServiceUnavailable
	default:
		return metav1.StatusReasonInternalError
	}
}

func encodeReview(r *Response) ([]byte, error) {
	out, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Response: r,
	})
	if err != nil {
		return nil, fmt.Errorf("encode AdmissionReview: %w", err)
	}
	return out, nil
}
