package webhook_test

import (
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

func orderBand(name string, everybodys bool, from, to, order *float64, tiers ...string) v1alpha1.PolicyBand {
	return v1alpha1.PolicyBand{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PolicyBandSpec{
		Tiers: tiers, Order: v1alpha1.OrderRange{Min: from, Max: to}, Default: everybodys, DefaultOrder: order,
	}}
}

func ptr(v float64) *float64 { return &v }

// placed is a policy at a place; order "" is none.
func placed(kind, tier, order string) string {
	spec := ""
	if tier != "" {
		spec += "tier: " + tier + ", "
	}
	if order != "" {
		spec += "order: " + order + ", "
	}
	return fmt.Sprintf("kind: %s\nspec: {%sselector: app == 'x'}\n", kind, spec)
}

func TestPolicyPrecedence(t *testing.T) {
	create, update, del := admissionv1.Create, admissionv1.Update, admissionv1.Delete
	const np, gnp = "NetworkPolicy", "GlobalNetworkPolicy"
	dev := []string{"prod developer"}
	cases := map[string]struct {
		op       admissionv1.Operation
		now, was string
		grants   []string // NAMESPACE BAND; "-" is cluster-wide, no band is any
		change   func(*world, *webhook.Request)
		denied   []string
	}{
		"in a band that one may use":              {op: create, now: placed(np, "default", "1500"), grants: dev},
		"in a band that one may not":              {op: create, now: placed(np, "default", "1500"), denied: []string{"place policy in tier default, order 1500", "kubectl auth can-i use policybands/developer -n prod"}},
		"no tier is the default tier":             {op: create, now: placed(np, "", "1500"), grants: dev},
		"before security's, by order":             {op: create, now: placed(np, "default", "5"), grants: dev, denied: []string{"order 5", "policybands/security"}},
		"before security's, by a negative order":  {op: create, now: placed(np, "default", "-1e9"), grants: dev, denied: []string{"policybands/security"}},
		"the lower bound is in":                   {op: create, now: placed(np, "default", "1000"), grants: dev},
		"just below the lower bound":              {op: create, now: placed(np, "default", "999.9999"), grants: dev, denied: []string{"which no PolicyBand holds", "kubectl auth can-i use policybands -n prod"}},
		"the upper bound is out":                  {op: create, now: placed(np, "default", "2000"), grants: dev, denied: []string{"which no PolicyBand holds"}},
		"a tie with security's":                   {op: create, now: placed(np, "default", "99"), grants: dev, denied: []string{"policybands/security"}},
		"another tier":                            {op: create, now: placed(np, "security", "1500"), grants: dev, denied: []string{"tier security, order 1500", "policybands/security"}},
		"a tier without bands":                    {op: create, now: placed(np, "fast", "1500"), grants: dev, denied: []string{"tier fast, order 1500, which no PolicyBand holds"}},
		"a tier without bands, by who may all":    {op: create, now: placed(np, "fast", "1500"), grants: []string{"prod"}},
		"without order, everybody's":              {op: create, now: placed(np, "default", "")},
		"at the end, everybody's":                 {op: create, now: placed(np, "default", "1e9")},
		"without order, where no band has no max": {op: create, now: placed(np, "security", ""), grants: []string{"prod security"}, denied: []string{"tier security, without order, which no PolicyBand holds"}},

		"moving later":            {op: update, now: placed(np, "default", "1500"), was: placed(np, "default", "50"), grants: dev, denied: []string{"move or change policy in tier default, order 50", "policybands/security"}},
		"moving earlier":          {op: update, now: placed(np, "default", "50"), was: placed(np, "default", "1500"), grants: dev, denied: []string{"place policy in tier default, order 50"}},
		"moving with both":        {op: update, now: placed(np, "default", "1500"), was: placed(np, "default", "50"), grants: []string{"prod developer", "prod security"}},
		"moving inside of a band": {op: update, now: placed(np, "default", "1500"), was: placed(np, "default", "1600"), grants: dev},
		"taking the order away":   {op: update, now: placed(np, "default", ""), was: placed(np, "default", "50"), denied: []string{"order 50"}},
		"moving the tier":         {op: update, now: placed(np, "default", "1500"), was: placed(np, "security", "50"), grants: dev, denied: []string{"tier security, order 50"}},
		"changing one in place":   {op: update, now: "kind: NetworkPolicy\nspec: {order: 50}", was: placed(np, "default", "50"), denied: []string{"policybands/security"}},
		"changing only metadata":  {op: update, now: "kind: NetworkPolicy\nmetadata: {name: p, labels: {a: b}}\nspec: {order: 50}", was: "kind: NetworkPolicy\nspec: {order: 50}"},
		"deleting":                {op: del, was: placed(np, "default", "50"), grants: dev, denied: []string{"delete policy in tier default, order 50"}},
		"deleting with the band":  {op: del, was: placed(np, "default", "50"), grants: []string{"prod security"}},

		"staged":                           {op: create, now: placed("StagedNetworkPolicy", "default", "5"), grants: dev, denied: []string{"policybands/security"}},
		"staged, global":                   {op: create, now: placed("StagedGlobalNetworkPolicy", "default", "5"), grants: dev, denied: []string{"policybands/security -A"}},
		"global":                           {op: create, now: placed(gnp, "default", "1500"), grants: dev, denied: []string{"kubectl auth can-i use policybands/developer -A"}},
		"global, granted in the cluster":   {op: create, now: placed(gnp, "default", "1500"), grants: []string{"- developer"}},
		"granted in another namespace":     {op: create, now: placed(np, "default", "1500"), grants: []string{"dev developer"}, denied: []string{"-n prod"}},
		"no bands at all":                  {op: create, now: placed(np, "default", "5"), change: func(w *world, _ *webhook.Request) { w.bands = nil }},
		"mode Off":                         {op: create, now: placed(np, "default", "5"), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.Precedence = v1alpha1.ModeOff }},
		"mode Audit":                       {op: create, now: placed(np, "default", "5"), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.Precedence = v1alpha1.ModeAudit }},
		"an order that is none, unchecked": {op: create, now: placed(np, "default", "first"), grants: dev, change: noHygiene, denied: []string{"a place that cannot be read", "use policybands -n prod"}},
		"an order that was none":           {op: update, now: placed(np, "default", "1500"), was: placed(np, "default", "first"), grants: dev, change: noHygiene, denied: []string{"a place that cannot be read"}},
	}
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				w.guards = []v1alpha1.ServiceAccountGuard{policyGuard(v1alpha1.ModeOff, v1alpha1.ModeEnforce, v1alpha1.ModeEnforce)}
				w.bands = []v1alpha1.PolicyBand{
					orderBand("security", false, nil, ptr(100), nil, "default"),
					orderBand("security-early", false, nil, ptr(1000), nil, "security"), orderBand("security-late", false, ptr(1000), ptr(2000), nil, "security"),
					orderBand("developer", false, ptr(1000), ptr(2000), nil, "default"), orderBand("everybody", true, ptr(1e6), nil, nil, "default"),
				}
				for _, g := range tc.grants {
					ns, band, _ := cut(g)
					if band == "" {
						w.grant("alice", ns, "use", "policybands")
					} else {
						w.grant("alice", ns, "use", "policybands", band)
					}
				}
				req := calicoRequest(t, gv, tc.op, "alice", tc.now, tc.was)
				if tc.change != nil {
					tc.change(w, req)
				}
				expect(t, newRig(t, w).Validate(t.Context(), req), tc.denied...)
			})
		}
	})
}

// cut splits "NAMESPACE NAME"; "-" is no namespace.
func cut(s string) (namespace, name string, ok bool) {
	for i := range s {
		if s[i] == ' ' {
			namespace, name, ok = s[:i], s[i+1:], true
			break
		}
	}
	if !ok {
		namespace = s
	}
	if namespace == "-" {
		namespace = ""
	}
	return namespace, name, ok
}
