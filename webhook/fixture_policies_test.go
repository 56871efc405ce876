package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// The two groups that hold Calico's objects.
var groups = []schema.GroupVersion{{Group: "projectcalico.org", Version: "v3"}, {Group: "crd.projectcalico.org", Version: "v1"}}

func policyGuard(references, precedence, hygiene v1alpha1.Mode) v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{
		ObjectMeta: metav1.ObjectMeta{Name: "policies"},
		Spec:       v1alpha1.ServiceAccountGuardSpec{Policies: &v1alpha1.PolicyGuard{References: references, Precedence: precedence, Hygiene: hygiene}},
	}
}

// The guard of most tables: all of it enforced.
func enforcePolicies() v1alpha1.ServiceAccountGuard {
	return policyGuard(v1alpha1.ModeEnforce, v1alpha1.ModeEnforce, v1alpha1.ModeEnforce)
}

var plurals = map[string]string{
	"NetworkPolicy": "networkpolicies", "GlobalNetworkPolicy": "globalnetworkpolicies",
	"StagedNetworkPolicy": "stagednetworkpolicies", "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
	"NetworkSet": "networksets", "GlobalNetworkSet": "globalnetworksets", "HostEndpoint": "hostendpoints",
}

// calicoObject reads YAML: kind, metadata and spec; nil for "". It becomes an object of the group, as it is stored there: in
// Calico's store labels are in an annotation alone, and the name of a policy has its tier before it.
func calicoObject(t testing.TB, gv schema.GroupVersion, text string) *unstructured.Unstructured {
	t.Helper()
	if text == "" {
		return nil
	}
	obj := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &obj.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	obj.SetAPIVersion(gv.String())
	if obj.GetName() == "" {
		obj.SetName("p")
	}
	if isNamespaced(obj.GetKind()) {
		obj.SetNamespace("prod")
	}
	if gv.Group == "crd.projectcalico.org" {
		meta, err := json.Marshal(map[string]any{"name": obj.GetName(), "labels": obj.GetLabels()})
		if err != nil {
			t.Fatal(err)
		}
		obj.SetAnnotations(map[string]string{"projectcalico.org/metadata": string(meta)})
		obj.SetLabels(nil)
		obj.SetName("default." + obj.GetName())
	}
	return obj
}

func isNamespaced(kind string) bool {
	return !strings.Contains(kind, "Global") && kind != "HostEndpoint"
}

// calicoRequest is for an object of one of Calico's kinds; now or was is "" where the operation has none.
func calicoRequest(t testing.TB, gv schema.GroupVersion, op admissionv1.Operation, user, now, was string) *webhook.Request {
	t.Helper()
	r := &webhook.Request{UID: "uid-1", Operation: op}
	encode := func(obj *unstructured.Unstructured) []byte {
		if obj == nil {
			return nil
		}
		r.Kind, r.Resource, r.Namespace = obj.GetKind(), gv.WithResource(plurals[obj.GetKind()]), obj.GetNamespace()
		b, err := json.Marshal(obj.Object)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r.Object, r.OldObject = encode(calicoObject(t, gv, now)), encode(calicoObject(t, gv, was))
	r.Subject.User, r.Subject.Groups = user, []string{"system:authenticated"}
	return r
}

// bothGroups runs a test in either group.
func bothGroups(t *testing.T, run func(*testing.T, schema.GroupVersion)) {
	t.Helper()
	for _, gv := range groups {
		t.Run(gv.Group, func(t *testing.T) { run(t, gv) })
	}
}

// expect fails unless resp is allowed, if there is no text, or a denial that says each.
func expect(t *testing.T, resp *webhook.Response, texts ...string) {
	t.Helper()
	switch {
	case len(texts) == 0 && !resp.Allowed:
		t.Errorf("denied: %s", resp.Result.Message)
	case len(texts) > 0 && resp.Allowed:
		t.Errorf("allowed, want a denial that says %q", texts)
	case len(texts) > 0:
		for _, want := range texts {
			if resp.Result.Code != 403 || !strings.Contains(resp.Result.Message, want) {
				t.Errorf("answer %d %q does not say %q", resp.Result.Code, resp.Result.Message, want)
			}
		}
	}
}
