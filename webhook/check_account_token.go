package webhook

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// CheckAccountToken is the ID of check account-token: whoever gets hold of a credential of a service account needs "use" of it.
// That is a token request, a Secret that is made or changed to hold an account's token, and a pod's certificate. Kubelets
// are exempt for pods on their own node, kube-controller-manager for tokens.
const CheckAccountToken = "account-token"

func accountToken() Check { return Check{ID: CheckAccountToken, Run: runAccountToken} }

func runAccountToken(f *Facts) ([]Finding, error) {
	mode := f.Guards.Tokens()
	if mode == v1alpha1.ModeOff {
		return nil, nil
	}
	switch {
	case f.TokenRequest != nil && f.Operation == admissionv1.Create:
		if identity.IsControllerManager(f.Subject.User) || f.isOnOwnNode() {
			return nil, nil
		}
		return tokenFinding(f, mode, nil, f.Name, "request a token of"), nil
	case f.PodCertificate != nil && f.Operation == admissionv1.Create:
		spec := &f.PodCertificate.Spec
		if pod, ok := f.Pod.Get(); f.isOnOwnNode() && spec.NodeName == f.Subject.NodeName() && ok && pod.Account == spec.ServiceAccountName {
			return nil, nil
		}
		return tokenFinding(f, mode, field.NewPath("spec", "serviceAccountName"), spec.ServiceAccountName, "request a certificate of"), nil
	case f.Secret != nil:
		account, ok := f.Secret.tokenOf()
		if before, had := f.OldSecret.tokenOf(); !ok || had && before == account || identity.IsControllerManager(f.Subject.User) {
			return nil, nil
		}
		path := field.NewPath("metadata", "annotations").Key(annotationAccountName)
		return tokenFinding(f, mode, path, account, "write "+f.describeObject()+" for a token of"), nil
	default:
		return nil, nil
	}
}

func tokenFinding(f *Facts, mode v1alpha1.Mode, path *field.Path, account, attempt string) []Finding {
	need := rbac.Ask(rbac.UseAccount(f.Request.Namespace, account))
	return []Finding{{Mode: mode, Field: path, Need: &need, Attempt: attempt + " service account " + f.qualified(account)}}
}

// isOnOwnNode reports that a kubelet asks for a pod that is bound to its node.
func (f *Facts) isOnOwnNode() bool {
	pod, ok := f.Pod.Get()
	node := f.Subject.NodeName()
	return ok && node != "" && pod.Node == node
}
