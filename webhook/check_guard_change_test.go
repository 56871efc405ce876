package webhook_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

func guardRequest(t *testing.T, op admissionv1.Operation, resource string, object any) *webhook.Request {
	t.Helper()
	return &webhook.Request{
		UID: "uid-1", Operation: op, Object: raw(t, object),
		Resource: schema.GroupVersionResource{Group: v1alpha1.GroupName, Version: "v1alpha1", Resource: resource},
		Subject:  identity.Subject{User: "admin"},
	}
}

func band(name string, lo, hi float64, tiers ...string) v1alpha1.PolicyBand {
	return v1alpha1.PolicyBand{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.PolicyBandSpec{Tiers: tiers, Order: v1alpha1.OrderRange{Min: &lo, Max: &hi}},
	}
}

func TestGuardChange(t *testing.T) {
	exempting := func(users, groups []string) v1alpha1.ServiceAccountGuard {
		return v1alpha1.ServiceAccountGuard{ObjectMeta: metav1.ObjectMeta{Name: "g"}, Spec: v1alpha1.ServiceAccountGuardSpec{Exempt: v1alpha1.Exemption{Users: users, Groups: groups}}}
	}
	selecting := func(op metav1.LabelSelectorOperator) v1alpha1.ServiceAccountGuard {
		g := exempting(nil, nil)
		g.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "env", Operator: op}}
		return g
	}
	templates := func(paths ...string) v1alpha1.ServiceAccountGuard {
		g := exempting(nil, nil)
		g.Spec.Workloads = &v1alpha1.WorkloadGuard{}
		for _, p := range paths {
			g.Spec.Workloads.Templates = append(g.Spec.Workloads.Templates, v1alpha1.WorkloadTemplate{APIGroup: "argoproj.io", Kind: "Rollout", Path: p})
		}
		return g
	}
	everybodys := func(b v1alpha1.PolicyBand, order float64) v1alpha1.PolicyBand {
		b.Spec.Default, b.Spec.DefaultOrder = true, &order
		return b
	}
	bands := []v1alpha1.PolicyBand{band("security", 0, 100, "default", "security"), everybodys(band("everybody", 1000, 2000, "default"), 1500)}
	cases := map[string]struct {
		resource string
		op       admissionv1.Operation
		object   any
		denied   string
	}{
		"a guard that exempts a user":                    {object: exempting([]string{"ops"}, nil)},
		"a guard that exempts a group":                   {object: exempting(nil, []string{"system:masters"})},
		"a guard that exempts nobody's user":             {object: exempting([]string{"system:anonymous"}, nil), denied: "spec.exempt.users[0]"},
		"a guard that exempts everyone":                  {object: exempting(nil, []string{"ok", "system:authenticated"}), denied: "spec.exempt.groups[1]"},
		"a guard that exempts every service account":     {object: exempting(nil, []string{"system:serviceaccounts"}), denied: "spec.exempt.groups[0]"},
		"a guard that exempts every built-in controller": {object: exempting(nil, []string{"system:serviceaccounts:kube-system"}), denied: "spec.exempt.groups[0]"},
		"a guard that exempts one namespace's accounts":  {object: exempting(nil, []string{"system:serviceaccounts:ci"})},
		"a selector that parses":                         {object: selecting(metav1.LabelSelectorOpExists)},
		"a selector that does not":                       {object: selecting("Is"), denied: "spec.namespaceSelector"},
		"two templates":                                  {object: templates("spec.template", "spec.other")},
		"one template twice":                             {object: templates("spec.template", "spec.template"), denied: "spec.workloads.templates[1]"},
		"an update is judged as a create is":             {op: admissionv1.Update, object: exempting(nil, []string{"system:authenticated"}), denied: "spec.exempt.groups[0]"},
		"deleting a guard is RBAC's business":            {op: admissionv1.Delete},
		"a band in a gap":                                {resource: "policybands", object: band("x", 100, 1000, "default")},
		"a band that overlaps another of its tier":       {resource: "policybands", object: band("x", 99, 1000, "default"), denied: "overlap band security"},
		"a band that overlaps in its second tier":        {resource: "policybands", object: band("x", 50, 60, "other", "security"), denied: "overlap band security"},
		"the same orders in another tier":                {resource: "policybands", object: band("x", 0, 100, "other")},
		"a band does not overlap itself":                 {resource: "policybands", op: admissionv1.Update, object: band("security", 0, 200, "default", "security")},
		"a second default order for the same tier":       {resource: "policybands", object: everybodys(band("x", 2000, 3000, "default"), 2500), denied: "second defaultOrder"},
		"a second default order in another tier":         {resource: "policybands", object: everybodys(band("x", 2000, 3000, "other"), 2500)},
		"deleting a band is RBAC's business":             {resource: "policybands", op: admissionv1.Delete},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.bands = bands
			resource, op := "serviceaccountguards", admissionv1.Create
			if tc.resource != "" {
				resource = tc.resource
			}
			if tc.op != "" {
				op = tc.op
			}
			resp := newRig(t, w).Validate(t.Context(), guardRequest(t, op, resource, tc.object))
			if resp.Allowed != (tc.denied == "") {
				t.Fatalf("allowed %v: %+v", resp.Allowed, resp.Result)
			}
			if tc.denied != "" {
				text := resp.Result.Message
				for _, c := range resp.Result.Details.Causes {
					text += " " + c.Field
				}
				if !strings.Contains(text, tc.denied) {
					t.Errorf("%q does not say %q", text, tc.denied)
				}
			}
		})
	}
}

// Who writes a guard that will refuse them is told, and not stopped.
func TestWriterWhoLocksThemselvesOutIsWarned(t *testing.T) {
	warned := func(w *world, object any, resource string) bool {
		resp := newRig(t, w).Validate(t.Context(), guardRequest(t, admissionv1.Create, resource, object))
		if !resp.Allowed {
			t.Errorf("refused: %+v", resp.Result)
		}
		return len(resp.Warnings) > 0
	}
	g := labelGuard(v1alpha1.ModeEnforce, "role", "net.example.com/*")
	holds := newWorld()
	holds.grant("admin", "", "use", "serviceaccounts/labels", "role=*", "net.example.com/*")
	half := newWorld()
	half.grant("admin", "", "use", "serviceaccounts/labels", "role=*")
	exempt := g
	exempt.Spec.Exempt.Users = []string{"admin"}
	if !warned(newWorld(), g, "serviceaccountguards") || !warned(half, g, "serviceaccountguards") {
		t.Error("a writer without the permissions is not warned")
	}
	if warned(holds, g, "serviceaccountguards") || warned(newWorld(), exempt, "serviceaccountguards") || warned(newWorld(), labelGuard(v1alpha1.ModeWarn, "role"), "serviceaccountguards") {
		t.Error("a writer who is not locked out is warned")
	}
	b := band("dev", 0, 1, "default")
	holds.grant("admin", "", "use", "policybands", "dev")
	if !warned(newWorld(), b, "policybands") || warned(holds, b, "policybands") {
		t.Error("the writer of a band is warned wrongly")
	}
}
