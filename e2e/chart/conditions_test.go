package chart

import (
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

const namespaceController = "system:serviceaccount:kube-system:namespace-controller"

// TestMatchConditions evaluates the conditions with the API server's own code: an expression that errs would refuse the
// request (failurePolicy Fail), so an error fails the case.
func TestMatchConditions(t *testing.T) {
	const plain = `{metadata: {name: web}}`
	tests := []struct {
		name, object, old string
		user              string // by default alice; "nobody" is the empty name, which JSON leaves out
		kind              string // by default ServiceAccount
		validating        bool
		mutating          bool
	}{
		{name: "creating an account", object: plain, validating: true, mutating: true},
		{name: "creating an account by generateName", object: `{metadata: {generateName: web-}}`, validating: true, mutating: true},
		{name: "deleting an account", old: plain, validating: true},
		{name: "the namespace controller deletes an account", old: plain, user: namespaceController},
		{name: "a user without a name deletes an account", old: plain, user: "nobody", validating: true},
		{name: "the namespace controller creates an account", object: plain, user: namespaceController, validating: true, mutating: true},
		{name: "another controller deletes an account", old: plain, user: "system:serviceaccount:kube-system:generic-garbage-collector", validating: true},
		{name: "a namesake of the namespace controller deletes an account", old: plain, user: "system:serviceaccount:prod:namespace-controller", validating: true},
		{name: "an update that changes nothing, without labels", object: plain, old: plain},
		{name: "an update that changes nothing, with labels", object: `{metadata: {name: web, labels: {a: b, c: d}}}`, old: `{metadata: {name: web, labels: {c: d, a: b}}}`},
		{name: "an update of the secrets", object: `{metadata: {name: web, labels: {a: b}}, secrets: [{name: s}]}`, old: `{metadata: {name: web, labels: {a: b}}}`},
		{name: "an update of finalizers", object: `{metadata: {name: web, finalizers: [x/y]}}`, old: plain},
		{name: "an update of another annotation", object: `{metadata: {name: web, annotations: {x: "1"}}}`, old: plain},
		{name: "an update of another annotation beside ours", object: `{metadata: {name: web, annotations: {x: "1", saguard.io/labelled-by: "{}"}}}`, old: `{metadata: {name: web, annotations: {saguard.io/labelled-by: "{}"}}}`},
		{name: "a first label", object: `{metadata: {name: web, labels: {role: intern}}}`, old: plain, validating: true, mutating: true},
		{name: "the last label taken off", object: plain, old: `{metadata: {name: web, labels: {role: intern}}}`, validating: true, mutating: true},
		{name: "another value", object: `{metadata: {name: web, labels: {role: trusted}}}`, old: `{metadata: {name: web, labels: {role: intern}}}`, validating: true, mutating: true},
		{name: "another value, by the namespace controller", object: `{metadata: {name: web, labels: {role: trusted}}}`, old: `{metadata: {name: web, labels: {role: intern}}}`, user: namespaceController, validating: true, mutating: true},
		{name: "a value that becomes empty", object: `{metadata: {name: web, labels: {role: ""}}}`, old: `{metadata: {name: web, labels: {role: intern}}}`, validating: true, mutating: true},
		{name: "our annotation forged", object: `{metadata: {name: web, annotations: {saguard.io/labelled-by: "{}"}}}`, old: plain, validating: true, mutating: true},
		{name: "our annotation taken off", object: `{metadata: {name: web, annotations: {x: y}}}`, old: `{metadata: {name: web, annotations: {x: y, saguard.io/labelled-by: "{}"}}}`, validating: true, mutating: true},
		{name: "all annotations taken off", object: plain, old: `{metadata: {name: web, annotations: {saguard.io/labelled-by: "{}"}}}`, validating: true, mutating: true},
		{name: "a default account that says nothing about its token", object: `{metadata: {name: default}}`, old: `{metadata: {name: default}}`, mutating: true},
		{name: "a default account that mounts its token on purpose", object: `{metadata: {name: default}, automountServiceAccountToken: true}`, old: `{metadata: {name: default}}`},
		{name: "a default account that is being deleted", object: `{metadata: {name: default, deletionTimestamp: "2026-01-01T00:00:00Z"}}`, old: `{metadata: {name: default, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [x/y]}}`},
		{name: "a label on a default account that is being deleted", object: `{metadata: {name: default, labels: {role: trusted}, deletionTimestamp: "2026-01-01T00:00:00Z"}}`, old: `{metadata: {name: default, deletionTimestamp: "2026-01-01T00:00:00Z"}}`, validating: true, mutating: true},

		{name: "creating a guard", kind: "ServiceAccountGuard", object: `{metadata: {name: g}, spec: {}}`, validating: true},
		{name: "deleting a guard", kind: "ServiceAccountGuard", old: `{metadata: {name: g}, spec: {}}`, validating: true},
		{name: "changing a guard", kind: "ServiceAccountGuard", object: `{metadata: {name: g}, spec: {labels: {mode: Off}}}`, old: `{metadata: {name: g}, spec: {labels: {mode: Warn}}}`, validating: true},
		{name: "labelling a guard", kind: "ServiceAccountGuard", object: `{metadata: {name: g, labels: {a: b}}, spec: {}}`, old: `{metadata: {name: g}, spec: {}}`},
		{name: "changing a band", kind: "PolicyBand", object: `{metadata: {name: b}, spec: {order: {min: 1}}}`, old: `{metadata: {name: b}, spec: {order: {min: 2}}}`, validating: true},
		{name: "a band without a spec keeps having none", kind: "PolicyBand", object: `{metadata: {name: b}}`, old: `{metadata: {name: b}}`},
	}
	rendered := render(t, "")
	validating := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered)
	mutating := one[*admissionregistrationv1.MutatingWebhookConfiguration](t, rendered)

	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.kind == "" {
				test.kind = "ServiceAccount"
			}
			switch test.user {
			case "":
				test.user = "alice"
			case "nobody":
				test.user = ""
			}
			attributes := request(t, test.kind, test.object, test.old, test.user)
			gotValidating := len(sentTo(t, validating.Webhooks, attributes)) > 0
			gotMutating := false
			for _, hook := range mutating.Webhooks {
				if covers(hook.Rules, attributes) {
					gotMutating = matches(t, webhook.NewMutatingWebhookAccessor("", "", &hook), attributes)
				}
			}
			if gotValidating != test.validating || gotMutating != test.mutating {
				t.Errorf("validating %v, mutating %v; want %v, %v", gotValidating, gotMutating, test.validating, test.mutating)
			}
		})
	}
}

// A Kubernetes 1.30 accepts new expressions that 1.29 understands as well.
func TestMatchConditionsCompileOnTheOldestKubernetes(t *testing.T) {
	compiler := cel.NewCompiler(environment.MustBaseEnvSet(version.MajorMinor(1, 29)))
	for name, values := range cases {
		rendered := render(t, values)
		var conditions []admissionregistrationv1.MatchCondition
		for _, hook := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, rendered).Webhooks {
			conditions = append(conditions, hook.MatchConditions...)
		}
		for _, hook := range one[*admissionregistrationv1.MutatingWebhookConfiguration](t, rendered).Webhooks {
			conditions = append(conditions, hook.MatchConditions...)
		}
		for _, condition := range conditions {
			result := compiler.CompileCELExpression((*matchconditions.MatchCondition)(&condition),
				cel.OptionalVariableDeclarations{}, environment.NewExpressions)
			if result.Error != nil {
				t.Errorf("%s: %s: %v", name, condition.Name, result.Error)
			}
		}
	}
}

func request(t *testing.T, kind, object, old, username string) *admission.VersionedAttributes {
	t.Helper()
	gvk, resource, namespace := schema.GroupVersionKind{Version: "v1", Kind: kind}, "serviceaccounts", "prod"
	switch kind {
	case "ServiceAccountGuard":
		gvk, resource = schema.GroupVersionKind{Group: "saguard.io", Version: "v1alpha1", Kind: kind}, "serviceaccountguards"
		namespace = ""
	case "PolicyBand":
		gvk, resource = schema.GroupVersionKind{Group: "saguard.io", Version: "v1alpha1", Kind: kind}, "policybands"
		namespace = ""
	}
	operation := admission.Update
	if object == "" {
		operation = admission.Delete
	} else if old == "" {
		operation = admission.Create
	}
	newObject, oldObject := parse(t, gvk, object), parse(t, gvk, old)
	return &admission.VersionedAttributes{
		VersionedKind:      gvk,
		VersionedObject:    admission.NewLazyObject(newObject),
		VersionedOldObject: admission.NewLazyObject(oldObject),
		Attributes: admission.NewAttributesRecord(newObject, oldObject, gvk, namespace, "",
			gvk.GroupVersion().WithResource(resource), "", operation, nil, false, &user.DefaultInfo{Name: username}),
	}
}

// parse gives what the API server gives its webhooks: the Go type of a built-in kind, else an unstructured object.
func parse(t *testing.T, gvk schema.GroupVersionKind, text string) runtime.Object {
	t.Helper()
	if text == "" {
		return nil
	}
	if gvk.Kind == "ServiceAccount" {
		account := &corev1.ServiceAccount{}
		if err := yaml.UnmarshalStrict([]byte(text), account); err != nil {
			t.Fatal(err)
		}
		return account
	}
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetGroupVersionKind(gvk)
	return object
}

// covers asks the API server's own code.
func covers(all []admissionregistrationv1.RuleWithOperations, attributes *admission.VersionedAttributes) bool {
	return slices.ContainsFunc(all, func(rule admissionregistrationv1.RuleWithOperations) bool {
		m := rules.Matcher{Rule: rule, Attr: attributes.Attributes}
		return m.Matches()
	})
}

// sentTo returns the names of the webhooks that a request is sent to.
func sentTo(t *testing.T, hooks []admissionregistrationv1.ValidatingWebhook, attributes *admission.VersionedAttributes) []string {
	t.Helper()
	var names []string
	for _, hook := range hooks {
		if covers(hook.Rules, attributes) && matches(t, webhook.NewValidatingWebhookAccessor("", "", &hook), attributes) {
			names = append(names, hook.Name)
		}
	}
	return names
}

func matches(t *testing.T, hook webhook.WebhookAccessor, attributes *admission.VersionedAttributes) bool {
	t.Helper()
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	result := hook.GetCompiledMatcher(compiler).Match(t.Context(), attributes, nil, nil)
	if result.Error != nil {
		t.Fatalf("conditions of %s: %v", hook.GetName(), result.Error)
	}
	return result.Matches
}
