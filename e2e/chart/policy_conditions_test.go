package chart

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/authentication/user"
)

// TestPolicyMatchConditions evaluates the conditions of Calico's kinds in both groups with the API server's own code.
func TestPolicyMatchConditions(t *testing.T) {
	const policy, set = "networkpolicies", "networksets"
	tests := []struct {
		name, resource, object, old, user string
		validating, mutating              bool
	}{
		{name: "creating a policy", resource: policy, object: `{metadata: {name: p}, spec: {}}`, validating: true, mutating: true},
		{name: "creating a policy without spec", resource: policy, object: `{metadata: {name: p}}`, validating: true, mutating: true},
		{name: "deleting a policy", resource: policy, old: `{metadata: {name: p}, spec: {}}`, validating: true},
		{name: "the namespace controller deletes a policy", resource: policy, old: `{metadata: {name: p}, spec: {}}`, user: namespaceController},
		{name: "changing a policy", resource: policy, object: `{metadata: {name: p}, spec: {order: 1}}`, old: `{metadata: {name: p}, spec: {order: 2}}`, validating: true, mutating: true},
		{name: "emptying a policy", resource: policy, object: `{metadata: {name: p}}`, old: `{metadata: {name: p}, spec: {order: 2}}`, validating: true, mutating: true},
		{name: "filling a policy", resource: policy, object: `{metadata: {name: p}, spec: {order: 2}}`, old: `{metadata: {name: p}}`, validating: true, mutating: true},
		{name: "labelling a policy", resource: policy, object: `{metadata: {name: p, labels: {a: b}}, spec: {order: 1}}`, old: `{metadata: {name: p}, spec: {order: 1}}`},
		{name: "the status of a policy", resource: policy, object: `{metadata: {name: p}, spec: {order: 1}, status: {a: b}}`, old: `{metadata: {name: p}, spec: {order: 1}}`},
		{name: "finalizers of a policy", resource: policy, object: `{metadata: {name: p}, spec: {order: 1}}`, old: `{metadata: {name: p, finalizers: [x/y]}, spec: {order: 1}}`},
		{name: "changing a global policy", resource: "globalnetworkpolicies", object: `{metadata: {name: p}, spec: {order: 1}}`, old: `{metadata: {name: p}, spec: {order: 2}}`, validating: true, mutating: true},
		{name: "changing a staged policy", resource: "stagednetworkpolicies", object: `{metadata: {name: p}, spec: {order: 1}}`, old: `{metadata: {name: p}, spec: {order: 2}}`, validating: true, mutating: true},
		{name: "changing a staged global policy", resource: "stagedglobalnetworkpolicies", object: `{metadata: {name: p}, spec: {order: 1}}`, old: `{metadata: {name: p}, spec: {order: 2}}`, validating: true, mutating: true},

		{name: "creating a set", resource: set, object: `{metadata: {name: p}}`, validating: true},
		{name: "deleting a set", resource: set, old: `{metadata: {name: p}}`},
		{name: "the networks of a set", resource: set, object: `{metadata: {name: p}, spec: {nets: [a]}}`, old: `{metadata: {name: p}}`},
		{name: "the labels of a set", resource: set, object: `{metadata: {name: p, labels: {a: b}}}`, old: `{metadata: {name: p}}`, validating: true},
		{name: "the stored labels of a set", resource: set, object: `{metadata: {name: p, annotations: {projectcalico.org/metadata: "{}"}}}`, old: `{metadata: {name: p}}`, validating: true},
		{name: "another annotation of a set", resource: set, object: `{metadata: {name: p, annotations: {a: b, projectcalico.org/metadata: "{}"}}}`, old: `{metadata: {name: p, annotations: {projectcalico.org/metadata: "{}"}}}`},
		{name: "the labels of a global set", resource: "globalnetworksets", object: `{metadata: {name: p, labels: {a: b}}}`, old: `{metadata: {name: p}}`, validating: true},
		{name: "the profiles of a host", resource: "hostendpoints", object: `{metadata: {name: p}, spec: {profiles: [a]}}`, old: `{metadata: {name: p}, spec: {}}`, validating: true},
		{name: "the addresses of a host", resource: "hostendpoints", object: `{metadata: {name: p}, spec: {expectedIPs: [a]}}`, old: `{metadata: {name: p}, spec: {}}`},
		{name: "another kind of Calico's", resource: "felixconfigurations", object: `{metadata: {name: p}}`},
	}
	rendered := render(t, "")
	for _, gv := range []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}} {
		for _, test := range tests {
			t.Run(gv.Group+"/"+test.name, func(t *testing.T) {
				if test.user == "" {
					test.user = "alice"
				}
				operation := admission.Update
				if test.object == "" {
					operation = admission.Delete
				} else if test.old == "" {
					operation = admission.Create
				}
				gvk := gv.WithKind("Any")
				object, old := parse(t, gvk, test.object), parse(t, gvk, test.old)
				attributes := &admission.VersionedAttributes{
					VersionedKind: gvk, VersionedObject: admission.NewLazyObject(object), VersionedOldObject: admission.NewLazyObject(old),
					Attributes: admission.NewAttributesRecord(object, old, gvk, "prod", "p", gv.WithResource(test.resource), "", operation, nil, false, &user.DefaultInfo{Name: test.user}),
				}
				var validating, mutating bool
				for _, hook := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered).Webhooks {
					if covers(hook.Rules, attributes) && matches(t, webhook.NewValidatingWebhookAccessor("", "", &hook), attributes) {
						validating = true
					}
				}
				for _, hook := range one[*admissionregistrationv1.MutatingWebhookConfiguration](t, rendered).Webhooks {
					if covers(hook.Rules, attributes) && matches(t, webhook.NewMutatingWebhookAccessor("", "", &hook), attributes) {
						mutating = true
					}
				}
				// The store is not mutated: Calico's API server compares what it reads with what it wrote.
				want := test.mutating && gv.Group == "projectcalico.org"
				if validating != test.validating || mutating != want {
					t.Errorf("validating %v, mutating %v; want %v, %v", validating, mutating, test.validating, want)
				}
			})
		}
	}
}
