package webhook

// account is what decisions read of a core/v1 ServiceAccount.
type account struct {
	Metadata struct {
		Name        string            `json:"name"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	AutomountServiceAccountToken *bool `json:"automountServiceAccountToken"`
}

func (a *account) labels() map[string]string {
	if a == nil {
		return nil
	}
	return a.Metadata.Labels
}

// labelledBy returns the text of the annotation that says who put each label.
func (a *account) labelledBy() (text string, ok bool) {
	if a == nil {
		return "", false
	}
	text, ok = a.Metadata.Annotations[AnnotationLabelledBy]
	return text, ok
}

// labelled is what decisions read of an object of which only the labels count.
type labelled struct {
	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

func (l *labelled) labels() map[string]string {
	if l == nil {
		return nil
	}
	return l.Metadata.Labels
}

// tokenRequest is what decisions read of an authentication.k8s.io/v1 TokenRequest.
type tokenRequest struct {
	Spec struct {
		BoundObjectRef *struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			UID        string `json:"uid"`
		} `json:"boundObjectRef"`
	} `json:"spec"`
}

// boundPod returns the name of the one pod that the token is for; "" if it is for none, or for any of that name. That the
// pod has the account and the uid, the API server checks itself (k8s.io/kubernetes pkg/registry/core/serviceaccount/storage).
func (t *tokenRequest) boundPod() string {
	ref := t.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.UID == "" {
		return ""
	}
	return ref.Name
}

// podCertificate is what decisions read of a certificates.k8s.io PodCertificateRequest.
type podCertificate struct {
	Spec struct {
		PodName            string `json:"podName"`
		ServiceAccountName string `json:"serviceAccountName"`
		NodeName           string `json:"nodeName"`
	} `json:"spec"`
}

// secretTypeToken is of Secrets that kube-controller-manager fills with a token of the account that
// annotationAccountName names, and that is valid for ever (core/v1 SecretTypeServiceAccountToken).
const (
	secretTypeToken       = "kubernetes.io/service-account-token"
	annotationAccountName = "kubernetes.io/service-account.name"
)

// secret is what decisions read of a core/v1 Secret; never its data.
type secret struct {
	Metadata struct {
		Annotations struct {
			Account string `json:"kubernetes.io/service-account.name"`
		} `json:"annotations"`
	} `json:"metadata"`
	Type string `json:"type"`
}

// tokenOf returns the account whose token the Secret holds; ok is false if it is for no token.
func (s *secret) tokenOf() (account string, ok bool) {
	if s == nil || s.Type != secretTypeToken {
		return "", false
	}
	return s.Metadata.Annotations.Account, true
}

// binding is what decisions read of an rbac.authorization.k8s.io RoleBinding or ClusterRoleBinding.
type binding struct {
	Subjects []bindingSubject `json:"subjects"`
	RoleRef  struct {
		APIGroup string `json:"apiGroup"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
	} `json:"roleRef"`
}

type bindingSubject struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}
