package webhook_test

import (
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

func TestPolicyDefaults(t *testing.T) {
	create, update := admissionv1.Create, admissionv1.Update
	cases := map[string]struct {
		op       admissionv1.Operation
		now, was string
		store    bool
		change   func(*world, *webhook.Request)
		want     string // spec after; "" = no patch
	}{
		"nothing said":               {op: create, now: "kind: NetworkPolicy\nspec: {selector: a == 'b'}", want: `{"order":1500,"selector":"a == 'b'","tier":"default","types":["Ingress"]}`},
		"no spec":                    {op: create, now: "kind: NetworkPolicy\n", want: `{"order":1500,"tier":"default","types":["Ingress"]}`},
		"all said":                   {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, types: [Egress]}"},
		"only ingress":               {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, ingress: [{action: Allow}]}", want: `{"ingress":[{"action":"Allow"}],"order":5,"tier":"default","types":["Ingress"]}`},
		"only egress":                {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, egress: [{action: Allow}]}", want: `{"egress":[{"action":"Allow"}],"order":5,"tier":"default","types":["Egress"]}`},
		"both":                       {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, ingress: [{action: Allow}], egress: [{action: Allow}]}", want: `{"egress":[{"action":"Allow"}],"ingress":[{"action":"Allow"}],"order":5,"tier":"default","types":["Ingress","Egress"]}`},
		"an empty egress is none":    {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, egress: []}", want: `{"egress":[],"order":5,"tier":"default","types":["Ingress"]}`},
		"empty types are none":       {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 5, types: []}", want: `{"order":5,"tier":"default","types":["Ingress"]}`},
		"order zero is an order":     {op: create, now: "kind: NetworkPolicy\nspec: {tier: default, order: 0, types: [Ingress]}"},
		"another tier has no order":  {op: create, now: "kind: NetworkPolicy\nspec: {tier: security, types: [Ingress]}"},
		"global":                     {op: create, now: "kind: GlobalNetworkPolicy\nspec: {types: [Ingress]}", want: `{"order":1500,"tier":"default","types":["Ingress"]}`},
		"staged":                     {op: create, now: "kind: StagedNetworkPolicy\nspec: {stagedAction: Set}", want: `{"order":1500,"stagedAction":"Set","tier":"default","types":["Ingress"]}`},
		"staged to delete":           {op: create, now: "kind: StagedNetworkPolicy\nspec: {stagedAction: Delete}", want: `{"stagedAction":"Delete","tier":"default"}`},
		"no precedence, no order":    {op: create, now: "kind: NetworkPolicy\nspec: {types: [Ingress]}", want: `{"tier":"default","types":["Ingress"]}`, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Policies.Precedence = v1alpha1.ModeOff }},
		"no bands, no order":         {op: create, now: "kind: NetworkPolicy\nspec: {types: [Ingress]}", want: `{"tier":"default","types":["Ingress"]}`, change: func(w *world, _ *webhook.Request) { w.bands = nil }},
		"no guard":                   {op: create, now: "kind: NetworkPolicy\n", change: func(w *world, _ *webhook.Request) { w.guards = nil }},
		"an exempt user":             {op: create, now: "kind: NetworkPolicy\n", change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Exempt.Users = []string{"alice"} }},
		"Calico's store":             {op: create, now: "kind: NetworkPolicy\nspec: {selector: a == 'b'}", store: true},
		"an update of labels":        {op: update, now: "kind: NetworkPolicy\nmetadata: {name: p, labels: {a: b}}\nspec: {selector: a == 'b'}", was: "kind: NetworkPolicy\nspec: {selector: a == 'b'}"},
		"an update that drops order": {op: update, now: "kind: NetworkPolicy\nspec: {tier: default, types: [Ingress]}", was: "kind: NetworkPolicy\nspec: {tier: default, order: 5, types: [Ingress]}", want: `{"order":1500,"tier":"default","types":["Ingress"]}`},
		"what cannot be read":        {op: create, now: "kind: NetworkPolicy\nspec: {selector: [1]}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
			w.bands = []v1alpha1.PolicyBand{orderBand("everybody", true, ptr(1000), ptr(2000), ptr(1500), "default"), orderBand("security", false, nil, ptr(100), ptr(50), "security")}
			gv := groups[0]
			if tc.store {
				gv = groups[1]
			}
			req := calicoRequest(t, gv, tc.op, "alice", tc.now, tc.was)
			if tc.change != nil {
				tc.change(w, req)
			}
			rig := newRig(t, w)
			resp := rig.Mutate(t.Context(), req)
			if !resp.Allowed {
				t.Fatalf("denied: %+v", resp.Result)
			}
			if tc.want == "" {
				if resp.Patch != nil {
					t.Fatalf("patch %s", resp.Patch)
				}
				return
			}
			patch, err := jsonpatch.DecodePatch(resp.Patch)
			if err != nil {
				t.Fatalf("%v: %s", err, resp.Patch)
			}
			if req.Object, err = patch.Apply(req.Object); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Spec map[string]any `json:"spec"`
			}
			unmarshal(t, req.Object, &got)
			if text := string(raw(t, got.Spec)); text != tc.want {
				t.Errorf("spec %s\nwant %s", text, tc.want)
			}
			// Called again, as under reinvocationPolicy IfNeeded, it has nothing to add.
			if again := rig.Mutate(t.Context(), req); again.Patch != nil {
				t.Errorf("the second call patches %s", again.Patch)
			}
		})
	}
}
