package chart

import "testing"

func TestEveryObjectDecodesStrictlyIntoItsType(t *testing.T) {
	for name, values := range allCases() {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, values)
			if got, want := len(typed(t, rendered)), len(rendered.Objects); got != want || got == 0 {
				t.Errorf("%d of %d objects decoded", got, want)
			}
		})
	}
}

func TestObjectsAreNamedOnceAndStayInTheirNamespace(t *testing.T) {
	clusterScoped := map[string]bool{
		"CustomResourceDefinition": true, "ClusterRole": true, "ClusterRoleBinding": true,
		"ValidatingWebhookConfiguration": true, "MutatingWebhookConfiguration": true,
		"FlowSchema": true, "PriorityLevelConfiguration": true,
		"ValidatingAdmissionPolicy": true, "ValidatingAdmissionPolicyBinding": true,
	}
	for name, values := range allCases() {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, object := range render(t, values).Objects {
				key := object.GetKind() + " " + object.GetName()
				if seen[key] {
					t.Errorf("%s is rendered twice", key)
				}
				seen[key] = true
				want := "saguard-system"
				if clusterScoped[object.GetKind()] {
					want = ""
				}
				if object.GetNamespace() != want {
					t.Errorf("%s is in namespace %q, want %q", key, object.GetNamespace(), want)
				}
				if object.GetLabels()["app.kubernetes.io/instance"] != "saguard" {
					t.Errorf("%s lacks the chart's labels", key)
				}
			}
		})
	}
}
