package policies_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// appliers apply parts of one policy, each as a field manager of its own.
type appliers struct {
	*tenant
	object *unstructured.Unstructured
}

func (a *appliers) apply(ctx context.Context, manager string, spec map[string]any, dry bool) (*unstructured.Unstructured, error) {
	gv := groups[0]
	body, err := json.Marshal(map[string]any{
		"apiVersion": gv.String(), "kind": a.object.GetKind(), "metadata": map[string]any{"name": a.object.GetName(), "namespace": a.namespace}, "spec": spec,
	})
	if err != nil {
		return nil, err
	}
	o := metav1.PatchOptions{FieldManager: manager}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	}
	return resource(a.client, gv, a.object).Patch(ctx, a.object.GetName(), types.ApplyPatchType, body, o)
}

// owns returns the fields of spec that managedFields say a manager has applied, sorted.
func owns(t *testing.T, obj *unstructured.Unstructured, manager string) []string {
	t.Helper()
	var out []string
	for _, m := range obj.GetManagedFields() {
		if m.Manager != manager || m.Operation != metav1.ManagedFieldsOperationApply {
			continue
		}
		var fields struct {
			Spec map[string]any `json:"f:spec"`
		}
		if err := json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		for name := range fields.Spec {
			if name, ok := strings.CutPrefix(name, "f:"); ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func specOf(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	spec, _, err := unstructured.NestedMap(obj.Object, "spec")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Two appliers of one policy, of which neither says what it defaults to: nothing is written twice, nobody is in the other's way,
// and a default becomes somebody's by being applied.
func TestTwoAppliersOfOnePolicy(t *testing.T) {
	tn := newTenant(t)
	tn.band(tn.namespace+"-everybody", "default", `"order":{"min":1000,"max":2000},"default":true,"defaultOrder":1500`)
	a := &appliers{tenant: tn, object: tn.object(groups[0], "kind: NetworkPolicy\n")}
	own := map[string]any{"selector": "app == 'x'", "ingress": []any{map[string]any{"action": "Allow"}}}
	const defaulted = `{"ingress":[{"action":"Allow"}],"order":1500,"selector":"app == 'x'","tier":"default","types":["Ingress"]}`
	tn.eventually("the band", func(ctx context.Context) error {
		got, err := a.apply(ctx, "owner", own, true)
		if err == nil && specOf(t, got) != defaulted {
			return fmt.Errorf("spec %s", specOf(t, got))
		}
		return err
	})
	first, err := a.apply(t.Context(), "owner", own, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := specOf(t, first); got != defaulted {
		t.Errorf("spec %s", got)
	}
	// What was defaulted is nobody's: whoever says it later takes it from nobody.
	if fields := owns(t, first, "owner"); !slices.Equal(fields, []string{"ingress", "selector"}) || len(first.GetManagedFields()) != 1 {
		t.Errorf("owner owns %v of %v", fields, first.GetManagedFields())
	}
	// The owner again, unchanged: nothing is written, whoever else looks at the object.
	for range 3 {
		again, err := a.apply(t.Context(), "owner", own, false)
		if err != nil {
			t.Fatal(err)
		}
		if again.GetResourceVersion() != first.GetResourceVersion() || again.GetGeneration() != first.GetGeneration() {
			t.Errorf("applying the same again wrote: %s after %s\n%v\n%v", again.GetResourceVersion(), first.GetResourceVersion(), again, first)
		}
	}
	// Another applies the order that is there, and then another.
	for _, order := range []int64{1500, 1700} {
		got, err := a.apply(t.Context(), "other", map[string]any{"order": order}, false)
		if err != nil {
			t.Fatalf("order %d: %v", order, err)
		}
		if want := strings.Replace(defaulted, "1500", fmt.Sprint(order), 1); specOf(t, got) != want {
			t.Errorf("spec %s, want %s", specOf(t, got), want)
		}
		if fields := owns(t, got, "other"); !slices.Equal(fields, []string{"order"}) {
			t.Errorf("other owns %v", fields)
		}
		if fields := owns(t, got, "owner"); !slices.Equal(fields, []string{"ingress", "selector"}) {
			t.Errorf("owner owns %v", fields)
		}
	}
	// The owner keeps what the other decided, and is told if it decides otherwise.
	kept, err := a.apply(t.Context(), "owner", own, false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := specOf(t, kept), strings.Replace(defaulted, "1500", "1700", 1); got != want {
		t.Errorf("spec %s, want %s", got, want)
	}
	own["order"] = int64(1800)
	if _, err := a.apply(t.Context(), "owner", own, false); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), ".spec.order") {
		t.Errorf("want a conflict about the order, got %v", err)
	}
	delete(own, "order")
	// The other lets go of it: it is nobody's any more, and defaulted again.
	back, err := a.apply(t.Context(), "other", map[string]any{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := specOf(t, back); got != defaulted {
		t.Errorf("spec %s, want %s", got, defaulted)
	}
}

// A mutating webhook that comes after saguard's and changes the policy has saguard's called again: it has nothing to add.
func TestDefaultsAreWrittenOnceUnderReinvocation(t *testing.T) {
	tn := newTenant(t)
	tn.band(tn.namespace+"-everybody", "default", `"order":{"min":1000,"max":2000},"default":true,"defaultOrder":1500`)
	late := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if !strings.Contains(string(review.Request.Object.Raw), `"touched"`) {
			review.Response.PatchType, review.Response.Patch = &kind, []byte(`[{"op":"add","path":"/metadata/labels","value":{"touched":"yes"}}]`)
		}
		review.Request = nil
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(late.Close)
	url, none, scope := late.URL, admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.NamespacedScope
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-late-" + tn.namespace},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "late.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: late.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": tn.namespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{groups[0].Group}, APIVersions: []string{groups[0].Version}, Resources: []string{"networkpolicies"}, Scope: &scope},
			}},
		}},
	}
	api := tn.admin.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := api.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.remove("mutatingwebhookconfiguration", configuration.Name)
	create := func(ctx context.Context) (*unstructured.Unstructured, error) {
		obj := tn.object(groups[0], "kind: NetworkPolicy\nspec: {selector: app == 'x'}")
		return resource(tn.client, groups[0], obj).Create(ctx, obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	const want = `{"order":1500,"selector":"app == 'x'","tier":"default","types":["Ingress"]}`
	tn.eventually("the band and the other webhook", func(ctx context.Context) error {
		got, err := create(ctx)
		if err == nil && (specOf(t, got) != want || got.GetLabels()["touched"] != "yes") {
			return fmt.Errorf("spec %s, labels %v", specOf(t, got), got.GetLabels())
		}
		return err
	})
	calls := func(changed string) float64 {
		n, err := shared.Counter(t.Context(), "saguard_admission_mutations_total", map[string]string{"resource": "networkpolicies.projectcalico.org", "changed": changed})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	patched, unpatched := calls("true"), calls("false")
	got, err := create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if specOf(t, got) != want {
		t.Errorf("spec %s", specOf(t, got))
	}
	if p, u := calls("true")-patched, calls("false")-unpatched; p != 1 || u != 1 {
		t.Errorf("%v calls with a patch and %v without, want one of each", p, u)
	}
}
