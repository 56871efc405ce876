package auditlog

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

type rawBody = runtime.Unknown

// withoutData returns of a Secret's body only its type and the account whose token it is to hold; of any other body, such as
// a patch, nothing.
func withoutData(body *rawBody) *rawBody {
	if body == nil {
		return nil
	}
	type kept struct {
		Kind     string `json:"kind,omitempty"`
		Type     string `json:"type,omitempty"`
		Metadata struct {
			Name        string            `json:"name,omitempty"`
			Annotations map[string]string `json:"annotations,omitempty"`
		} `json:"metadata"`
	}
	var k kept
	if json.Unmarshal(body.Raw, &k) != nil || k.Kind != "Secret" || k.Type != string(corev1.SecretTypeServiceAccountToken) {
		return nil
	}
	account, named := k.Metadata.Annotations[corev1.ServiceAccountNameKey]
	k.Metadata.Annotations = nil
	if named {
		k.Metadata.Annotations = map[string]string{corev1.ServiceAccountNameKey: account}
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return nil
	}
	return &rawBody{Raw: raw, ContentType: runtime.ContentTypeJSON}
}
