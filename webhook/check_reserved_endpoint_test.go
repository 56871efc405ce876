package webhook_test

import (
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

func TestReservedLabelsOfEndpoints(t *testing.T) {
	create, update := admissionv1.Create, admissionv1.Update
	labelled := func(kind, labels string) string {
		spec := "{nets: [10.0.0.0/8]}"
		if kind == "HostEndpoint" {
			spec = "{node: node-1, interfaceName: eth0}"
		}
		return fmt.Sprintf("kind: %s\nmetadata: {name: p, labels: {%s}}\nspec: %s\n", kind, labels, spec)
	}
	profiles := func(names string) string {
		return "kind: HostEndpoint\nspec: {node: node-1, interfaceName: eth0, profiles: [" + names + "]}\n"
	}
	for _, kind := range []string{"NetworkSet", "GlobalNetworkSet", "HostEndpoint"} {
		cases := map[string]struct {
			op       admissionv1.Operation
			now, was string
			change   func(*world, *webhook.Request)
			denied   string
		}{
			"labels of one's own":               {op: create, now: labelled(kind, "role: a, projectcalico.org/created-by: x")},
			"an account's name":                 {op: create, now: labelled(kind, "projectcalico.org/serviceaccount: web"), denied: "projectcalico.org/serviceaccount=web"},
			"an account's label":                {op: create, now: labelled(kind, "pcsa.role: a"), denied: "pcsa.role=a"},
			"a namespace's label":               {op: create, now: labelled(kind, "pcns.env: a"), denied: "pcns.env=a"},
			"a namespace":                       {op: create, now: labelled(kind, "projectcalico.org/namespace: prod"), denied: "projectcalico.org/namespace=prod"},
			"the orchestrator":                  {op: create, now: labelled(kind, "projectcalico.org/orchestrator: k8s"), denied: "projectcalico.org/orchestrator=k8s"},
			"a label that becomes reserved":     {op: update, now: labelled(kind, "pcsa.role: a"), was: labelled(kind, "role: a"), denied: "pcsa.role=a"},
			"a reserved label that changes":     {op: update, now: labelled(kind, "pcsa.role: b"), was: labelled(kind, "pcsa.role: a"), denied: "pcsa.role=b"},
			"a reserved label that stays":       {op: update, now: labelled(kind, "pcsa.role: a, x: z"), was: labelled(kind, "pcsa.role: a")},
			"a reserved label that goes":        {op: update, now: labelled(kind, "x: z"), was: labelled(kind, "pcsa.role: a")},
			"deleting":                          {op: admissionv1.Delete, was: labelled(kind, "pcsa.role: a")},
			"mode Off":                          {op: create, now: labelled(kind, "pcsa.role: a"), change: noHygiene},
			"a prefix that only begins so":      {op: create, now: labelled(kind, "pcsa: a, xpcsa.role: b")},
			"whatever permissions one may have": {op: create, now: labelled(kind, "pcsa.role: a"), denied: "pcsa.role=a", change: func(_ *world, r *webhook.Request) { r.Subject.Groups = []string{"system:masters"} }},
		}
		if kind == "HostEndpoint" {
			cases["a profile of an account"] = cases["mode Off"]
			add := func(name string, op admissionv1.Operation, now, was, denied string) {
				c := cases["labels of one's own"]
				c.op, c.now, c.was, c.denied = op, now, was, denied
				cases[name] = c
			}
			add("a profile of an account", create, profiles("ksa.prod.web"), "", "profile ksa.prod.web")
			add("a profile of a namespace", create, profiles("projectcalico-default-allow, kns.prod"), "", "profile kns.prod")
			add("the usual profile", create, profiles("projectcalico-default-allow"), "", "")
			add("a profile that stays", update, profiles("kns.prod, x"), profiles("kns.prod"), "")
		}
		bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
			for name, tc := range cases {
				t.Run(kind+"/"+name, func(t *testing.T) {
					w := newWorld()
					w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
					req := calicoRequest(t, gv, tc.op, "alice", tc.now, tc.was)
					if tc.change != nil {
						tc.change(w, req)
					}
					var denied []string
					if tc.denied != "" {
						denied = []string{tc.denied}
					}
					expect(t, newRig(t, w).Validate(t.Context(), req), denied...)
				})
			}
		})
	}
}

// Calico reads the annotation of a stored object with encoding/json, for which the case of names does not matter.
func TestReservedLabelsInStoredMetadata(t *testing.T) {
	for name, tc := range map[string]struct{ annotation, was, denied string }{
		"another case of the field's name": {annotation: `{"LABELS":{"pcsa.role":"a"}}`, denied: "pcsa.role=a"},
		"the field twice":                  {annotation: `{"labels":{"a":"b"},"Labels":{"pcsa.role":"a"}}`, denied: "pcsa.role=a"},
		"no JSON":                          {annotation: `{"labels":`, denied: "metadata that does not parse"},
		"no JSON, as it was":               {annotation: `{"labels":`, was: `{"labels":`},
		"no JSON put right":                {annotation: `{"labels":{"a":"b"}}`, was: `{"labels":`},
		"no JSON put wrong":                {annotation: `{"labels":{"pcsa.role":"a"}}`, was: `{"labels":`, denied: "pcsa.role=a"},
	} {
		w := newWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{enforcePolicies()}
		obj := func(annotation string) string {
			return fmt.Sprintf(`{"apiVersion":"crd.projectcalico.org/v1","kind":"GlobalNetworkSet","metadata":{"name":"p","annotations":{"projectcalico.org/metadata":%q}}}`, annotation)
		}
		req := calicoRequest(t, groups[1], admissionv1.Create, "alice", "kind: GlobalNetworkSet\n", "")
		req.Object = []byte(obj(tc.annotation))
		if tc.was != "" {
			req.Operation, req.OldObject = admissionv1.Update, []byte(obj(tc.was))
		}
		t.Run(name, func(t *testing.T) {
			resp := newRig(t, w).Validate(t.Context(), req)
			if resp.Allowed != (tc.denied == "") || !resp.Allowed && !strings.Contains(resp.Result.Message, tc.denied) {
				t.Errorf("got %+v, want %q", resp.Result, tc.denied)
			}
		})
	}
}
