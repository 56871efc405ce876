package chart

import (
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
)

// hooks are all webhooks of both configurations, and the rules' path.
func hooks(t testing.TB, rendered *Rendered) []webhook.WebhookAccessor {
	t.Helper()
	var all []webhook.WebhookAccessor
	for _, hook := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered).Webhooks {
		all = append(all, webhook.NewValidatingWebhookAccessor(hook.Name, "validate.saguard.io", &hook))
	}
	for _, hook := range one[*admissionregistrationv1.MutatingWebhookConfiguration](t, rendered).Webhooks {
		if hook.ReinvocationPolicy == nil || *hook.ReinvocationPolicy != admissionregistrationv1.IfNeededReinvocationPolicy {
			t.Errorf("%s: reinvocationPolicy is not IfNeeded: a label that a later webhook puts would not be stamped", hook.Name)
		}
		all = append(all, webhook.NewMutatingWebhookAccessor(hook.Name, "mutate.saguard.io", &hook))
	}
	return all
}

// TestNothingIsLeftToDefaulting: a tool that compares what it applied with what is stored would find a difference.
func TestNothingIsLeftToDefaulting(t *testing.T) {
	for name, values := range cases {
		for _, hook := range hooks(t, render(t, values)) {
			if hook.GetFailurePolicy() == nil || hook.GetMatchPolicy() == nil || hook.GetSideEffects() == nil ||
				hook.GetTimeoutSeconds() == nil || hook.GetNamespaceSelector() == nil || hook.GetObjectSelector() == nil {
				t.Errorf("%s: %s leaves a field to defaulting", name, hook.GetName())
				continue
			}
			if *hook.GetMatchPolicy() != admissionregistrationv1.Equivalent {
				t.Errorf("%s: %s misses requests by other API versions", name, hook.GetName())
			}
			if *hook.GetSideEffects() != admissionregistrationv1.SideEffectClassNone {
				t.Errorf("%s: %s would refuse dry runs", name, hook.GetName())
			}
			if !slices.Equal(hook.GetAdmissionReviewVersions(), []string{"v1"}) {
				t.Errorf("%s: %s: admissionReviewVersions %v", name, hook.GetName(), hook.GetAdmissionReviewVersions())
			}
			for _, rule := range hook.GetRules() {
				if rule.Scope == nil {
					t.Errorf("%s: %s: a rule without scope", name, hook.GetName())
				}
			}
		}
	}
}

func TestNamespacesThatAreNeverSent(t *testing.T) {
	tests := map[string]struct {
		values    string
		namespace string
		sent      bool
	}{
		"a namespace of users":              {``, "prod", true},
		"kube-system":                       {``, "kube-system", false},
		"the release's own":                 {``, "saguard-system", false},
		"another system's, unless excluded": {``, "gatekeeper-system", true},
		"an excluded one":                   {cases["everything"], "gatekeeper-system", false},
		"kube-system, excluded twice":       {cases["everything"], "kube-system", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, hook := range hooks(t, render(t, test.values)) {
				if hook.GetName() == "guards.validate.saguard.io" {
					continue // cluster-scoped objects have no namespace
				}
				selector, err := metav1.LabelSelectorAsSelector(hook.GetNamespaceSelector())
				if err != nil {
					t.Fatal(err)
				}
				if got := selector.Matches(labels.Set{"kubernetes.io/metadata.name": test.namespace}); got != test.sent {
					t.Errorf("%s: sent %v, want %v", hook.GetName(), got, test.sent)
				}
			}
		})
	}
}

func TestFailurePolicyFailsClosedUnlessAskedOtherwise(t *testing.T) {
	tests := map[string]struct {
		values               string
		validating, mutating admissionregistrationv1.FailurePolicyType
	}{
		"default":    {``, "Fail", "Fail"},
		"validating": {`{webhook: {failurePolicy: {validating: Ignore}}}`, "Ignore", "Fail"},
		"mutating":   {`{webhook: {failurePolicy: {mutating: Ignore}}}`, "Fail", "Ignore"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, hook := range hooks(t, render(t, test.values)) {
				want := test.validating
				if hook.GetType() == "admit" {
					want = test.mutating
				}
				if got := *hook.GetFailurePolicy(); got != want {
					t.Errorf("%s: %s, want %s", hook.GetName(), got, want)
				}
			}
		})
	}
}
