package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
)

func unmarshal(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// Warnings about what the agent does not enforce decide nothing.
func TestWarningsAboutWhatIsNotEnforced(t *testing.T) {
	for policy, want := range map[string]string{
		"kind: GlobalNetworkPolicy\nspec: {preDNAT: true, applyOnForward: true, selector: a == 'b'}":                         "spec.preDNAT, spec.applyOnForward",
		"kind: NetworkPolicy\nspec: {egress: [{action: Allow, destination: {services: {name: x}}}]}":                         "1 rules match services",
		"kind: NetworkPolicy\nspec: {egress: [{action: Allow, destination: {selector: a == 'b'}}]}":                          "",
		"kind: StagedGlobalNetworkPolicy\nspec: {preDNAT: true, applyOnForward: true, types: [Ingress], selector: a == 'b'}": "",
	} {
		w := newWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
		resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", policy, ""))
		expect(t, resp)
		switch text := strings.Join(resp.Warnings, "\n"); {
		case want == "" && text != "", !strings.Contains(text, want):
			t.Errorf("%s: warnings %q, want %q", policy, text, want)
		}
		for _, line := range resp.Warnings {
			if len([]rune(line)) > 120 {
				t.Errorf("warning %q is too long", line)
			}
		}
	}
}

// A finding of mode Warn lets pass and says what would be missing.
func TestReferencesInModeWarn(t *testing.T) {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{policyGuard(v1alpha1.ModeWarn, v1alpha1.ModeOff, v1alpha1.ModeOff)}
	resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice", allow("{serviceAccounts: {names: [web]}}"), ""))
	expect(t, resp)
	if text := strings.Join(resp.Warnings, "\n"); !strings.Contains(text, "policy-reference: you may not write policy") || !strings.Contains(text, "kubectl auth can-i bind serviceaccounts/web -n prod") {
		t.Errorf("warnings %q", text)
	}
}

// The same policy gives the same answer to the last byte, or the API server would refuse the audit annotations of a retry.
func TestPolicyAnswersAreDeterministic(t *testing.T) {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
	var first string
	for range 20 {
		resp := newRig(t, w).Validate(t.Context(), calicoRequest(t, groups[0], admissionv1.Create, "alice",
			allow(`{serviceAccounts: {selector: "a in {'x','y','z'} || has(b) || c == 'd'", names: [web, db]}, notSelector: "pcsa.q == 'r'"}`), ""))
		text := fmt.Sprintf("%v %v", resp.Result, resp.AuditAnnotations)
		if first == "" {
			first = text
		}
		if text != first {
			t.Fatalf("got\n%s\nafter\n%s", text, first)
		}
	}
}
