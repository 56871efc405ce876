package webhook_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// onlyHygiene leaves nothing but reserved-label on.
func onlyHygiene() *world {
	w := identityWorld()
	w.guards[0].Spec = v1alpha1.ServiceAccountGuardSpec{Policies: &v1alpha1.PolicyGuard{Hygiene: v1alpha1.ModeEnforce}}
	return w
}

// Every place that a label can get to Calico from, by the same cases.
func TestReservedLabel(t *testing.T) {
	type place struct {
		request func(t *testing.T, now, old object) *webhook.Request
		field   string
	}
	simple := func(resource, kind string) place {
		return place{field: "metadata.labels", request: func(t *testing.T, now, old object) *webhook.Request {
			t.Helper()
			object := func(labels object) any {
				if labels == nil {
					return nil
				}
				return object{"metadata": object{"name": "w", "labels": labels}}
			}
			op := admissionv1.Create
			if old != nil {
				op = admissionv1.Update
			}
			req := request(t, op, "alice", resource, object(now), object(old))
			req.Kind, req.Name = kind, "w"
			return req
		}}
	}
	places := map[string]place{"ServiceAccount": simple("serviceaccounts", "ServiceAccount"), "Namespace": simple("namespaces", "Namespace")}
	for _, b := range webhook.BuiltinTemplates() {
		field := "metadata.labels"
		path := append(append([]string{}, b.Path...), "metadata", "labels")
		for i := len(b.Path) - 1; i >= 0; i-- {
			field = b.Path[i] + "." + field
		}
		places[b.Kind] = place{field: field, request: func(t *testing.T, now, old object) *webhook.Request {
			t.Helper()
			var before any
			if old != nil {
				before = workload(b, "web", "i:1", at(old, path...))
			}
			return workloadRequest(t, b, "alice", workload(b, "web", "i:1", at(now, path...)), before)
		}}
	}
	cases := map[string]struct {
		now, old object
		key      string // of the label that is refused
	}{
		"labels of an account":                     {now: object{"pcsa.role": "x"}, key: "pcsa.role"},
		"labels of a namespace":                    {now: object{"pcns.env": "prod"}, key: "pcns.env"},
		"a prefix's own prefix":                    {now: object{"pcsa.example.com/role": "x"}, key: "pcsa.example.com/role"},
		"the account":                              {now: object{"projectcalico.org/serviceaccount": "web"}, key: "projectcalico.org/serviceaccount"},
		"the namespace":                            {now: object{"projectcalico.org/namespace": "prod"}, key: "projectcalico.org/namespace"},
		"the name":                                 {now: object{"projectcalico.org/name": "x"}, key: "projectcalico.org/name"},
		"the orchestrator":                         {now: object{"projectcalico.org/orchestrator": "k8s"}, key: "projectcalico.org/orchestrator"},
		"one among others":                         {now: object{"app": "x", "pcsa.role": "x"}, key: "pcsa.role"},
		"an empty value":                           {now: object{"pcsa.role": ""}, key: "pcsa.role"},
		"a new value":                              {old: object{"pcsa.role": "x"}, now: object{"pcsa.role": "y"}, key: "pcsa.role"},
		"one put on later":                         {old: object{"app": "x"}, now: object{"app": "x", "pcsa.role": "y"}, key: "pcsa.role"},
		"one that is there and stays":              {old: object{"pcsa.role": "x", "app": "x"}, now: object{"pcsa.role": "x", "app": "y"}},
		"one that is taken off":                    {old: object{"pcsa.role": "x"}, now: object{"app": "y"}},
		"names of Kubernetes":                      {now: object{"kubernetes.io/metadata.name": "prod", "app.kubernetes.io/name": "x"}},
		"other names of Calico":                    {now: object{"projectcalico.org/other": "x"}},
		"a name that only starts like a prefix":    {now: object{"pcsax": "x", "pcns-x": "x"}},
		"upper case is another key":                {now: object{"Pcsa.role": "x", "projectcalico.org/Name": "x"}},
		"the prefix in the middle is none":         {now: object{"x.pcsa.role": "x", "example.com/pcsa.role": "x"}},
		"the name under another prefix is another": {now: object{"crd.projectcalico.org/name": "x"}},
	}
	for name, tc := range cases {
		for kind, p := range places {
			t.Run(name+"/"+kind, func(t *testing.T) {
				var denied []string
				if tc.key != "" {
					denied = []string{"write label " + tc.key, p.field + "[" + tc.key + "]", "nobody may write them"}
				}
				newRig(t, onlyHygiene()).expect(t, p.request(t, tc.now, tc.old), denied, false)
			})
		}
	}
}

func TestReservedLabelExceptions(t *testing.T) {
	reserved := at(object{"pcsa.role": "x"}, "metadata", "labels")
	pod := builtin(t, "Pod")
	mirror := merged(podOf("", "i:1", reserved, at("n1", "spec", "nodeName")), at(object{"kubernetes.io/config.mirror": "h"}, "metadata", "annotations"))
	denied := []string{"write label pcsa.role=x"}
	cases := map[string]struct {
		user   string
		object object
		old    any
		change func(*world, *webhook.Request)
		denied []string
	}{
		"a pod that a built-in controller makes of a template": {user: controllers + "replicaset-controller", object: podOf("web", "i:1", reserved, owned("apps/v1", "ReplicaSet"))},
		"a pod that it makes of nothing":                       {user: controllers + "replicaset-controller", object: podOf("web", "i:1", reserved), denied: denied},
		"a label that it puts on later": {
			user: controllers + "replicaset-controller", object: podOf("web", "i:1", reserved, owned("apps/v1", "ReplicaSet")), old: podOf("web", "i:1", owned("apps/v1", "ReplicaSet")), denied: denied,
		},
		"a pod that another controller makes": {user: "system:serviceaccount:argo:rollouts", object: podOf("web", "i:1", reserved, owned("argoproj.io/v1", "Rollout")), denied: denied},
		"a mirror pod, whose labels nothing overwrites": {
			user: "system:node:n1", object: mirror, denied: denied,
			change: func(_ *world, r *webhook.Request) { r.Subject.Groups = []string{"system:nodes"} },
		},
		"an exempt user": {user: "alice", object: podOf("web", "i:1", reserved), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Exempt.Users = []string{"alice"} }},
		"a mode that is off": {user: "alice", object: podOf("web", "i:1", reserved), change: func(w *world, _ *webhook.Request) {
			w.guards[0].Spec.Policies.Hygiene = v1alpha1.ModeOff
		}},
		"no permission is enough": {user: "admin", object: podOf("web", "i:1", reserved), denied: denied, change: func(w *world, _ *webhook.Request) { w.grant("admin", "", "*", "*") }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := onlyHygiene()
			req := workloadRequest(t, pod, tc.user, tc.object, tc.old)
			if tc.change != nil {
				tc.change(w, req)
			}
			newRig(t, w).expect(t, req, tc.denied, false)
		})
	}
}

func TestReservedLabelOnCustomTemplates(t *testing.T) {
	w := onlyHygiene()
	w.guards[0].Spec.Workloads = &v1alpha1.WorkloadGuard{Mode: v1alpha1.ModeOff, Templates: []v1alpha1.WorkloadTemplate{{APIGroup: "argoproj.io", Kind: "Rollout", Path: "spec.template"}}}
	for text, denied := range map[string][]string{
		`{"spec":{"template":{"metadata":{"labels":{"pcsa.role":"x"}},"spec":{}}}}`: {"spec.template.metadata.labels[pcsa.role]"},
		`{"spec":{"template":{"metadata":{"labels":{"app":"x"}},"spec":{}}}}`:       nil,
		`{"spec":{"template":{"metadata":"x","spec":{}}}}`:                          {"its pod template cannot be read"},
	} {
		req := request(t, admissionv1.Create, "alice", "rollouts", text, nil)
		req.Resource.Group, req.Kind, req.Name = "argoproj.io", "Rollout", "w"
		newRig(t, w).expect(t, req, denied, false)
	}
}

// A Namespace is cluster-scoped: every guard judges it, whatever namespace the request says and whatever labels it has.
func TestReservedLabelOnNamespaces(t *testing.T) {
	for name, want := range map[string][]string{"prod": {"pcns.env"}, "unseen": {"pcns.env"}, "": {"pcns.env"}, "kube-system": nil, "saguard-system": nil} {
		w := onlyHygiene()
		w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "nowhere"}
		req := request(t, admissionv1.Create, "alice", "namespaces", at(object{"pcns.env": "x"}, "metadata", "labels"), nil)
		for _, said := range []string{name, ""} {
			req.Kind, req.Name, req.Namespace = "Namespace", name, said
			newRig(t, w).expect(t, req, want, false)
		}
	}
}

// The subresources through which labels of pods and namespaces can be changed all the same.
func TestReservedLabelBySubresource(t *testing.T) {
	update, create := admissionv1.Update, admissionv1.Create
	type door struct {
		resource, subresource string
		op                    admissionv1.Operation
	}
	var doors []door
	for _, s := range webhook.RelabellingPodSubresources() {
		op := update
		if s == "binding" {
			op = create
		}
		doors = append(doors, door{resource: "pods", subresource: s, op: op})
	}
	for _, s := range webhook.RelabellingNamespaceSubresources() {
		doors = append(doors, door{resource: "namespaces", subresource: s, op: update})
	}
	doors = append(doors, door{resource: "bindings", op: create})
	for _, d := range doors {
		ask := func(now, was object) *webhook.Request {
			var old any
			if d.op == update {
				old = at(was, "metadata", "labels")
			}
			req := request(t, d.op, "alice", d.resource, at(now, "metadata", "labels"), old)
			req.Name, req.Subresource = "w", d.subresource
			return req
		}
		for name, tc := range map[string]struct {
			now, was object
			denied   []string
			change   func(*world)
		}{
			"another label":              {now: object{"role": "x"}, was: object{}},
			"a reserved label":           {now: object{"role": "x", "pcsa.role": "x"}, was: object{"role": "x"}, denied: []string{"write label pcsa.role=x", "metadata.labels[pcsa.role]"}},
			"a reserved label that goes": {now: object{}, was: object{"pcsa.role": "x"}},
			"mode Off":                   {now: object{"pcsa.role": "x"}, change: func(w *world) { w.guards[0].Spec.Policies.Hygiene = v1alpha1.ModeOff }},
		} {
			t.Run(d.resource+"/"+d.subresource+"/"+name, func(t *testing.T) {
				w := onlyHygiene()
				if tc.change != nil {
					tc.change(w)
				}
				newRig(t, w).expect(t, ask(tc.now, tc.was), tc.denied, false)
			})
		}
		if d.op == update {
			kept := object{"pcsa.role": "x"}
			newRig(t, onlyHygiene()).expect(t, ask(kept, kept), nil, false)
			half := ask(kept, kept)
			half.OldObject = nil
			if resp := newRig(t, onlyHygiene()).Validate(t.Context(), half); resp.Allowed {
				t.Errorf("%+v is allowed though half of it is missing", d)
			}
		}
	}
}
