package webhook_test

import (
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// Every built-in kind with a pod template, by its own list: a kind that is added is tested at once.
func TestAccountUseOnEveryBuiltinKind(t *testing.T) {
	scaled := at(7, "spec", "replicas")
	labelled := at(object{"a": "b"}, "metadata", "labels")
	cases := map[string]struct {
		now, old func(webhook.BuiltinTemplate) object // old nil = CREATE
		grants   []string
		denied   []string
		asked    bool
		notPods  bool // a pod has no template beside itself
	}{
		"creating takes use of the account": {
			now:   func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
			asked: true, denied: []string{"as service account prod/web", "kubectl auth can-i use serviceaccounts/web -n prod"},
		},
		"creating with use of the account": {
			now: func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") }, grants: []string{"web"}, asked: true,
		},
		"use of another account does not serve": {
			now:    func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
			grants: []string{"default", "web2", "we"}, asked: true, denied: []string{"serviceaccounts/web"},
		},
		"no account is the account default": {
			now:    func(b webhook.BuiltinTemplate) object { return workload(b, "", "i:1") },
			grants: []string{"web"}, asked: true, denied: []string{"kubectl auth can-i use serviceaccounts/default -n prod"},
		},
		"no account with use of default": {
			now: func(b webhook.BuiltinTemplate) object { return workload(b, "", "i:1") }, grants: []string{"default"}, asked: true,
		},
		"scaling and labelling is nobody's business": {
			now: func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1", scaled, labelled) },
			old: func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
		},
		"another image takes use of the account": {
			now:   func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:2") },
			old:   func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
			asked: true, denied: []string{"as service account prod/web"},
		},
		"another image with use of the account": {
			now:    func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:2") },
			old:    func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
			grants: []string{"web"}, asked: true,
		},
		"another account takes use of the new one": {
			now: func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") }, notPods: true,
			old:    func(b webhook.BuiltinTemplate) object { return workload(b, "batch", "i:1") },
			grants: []string{"batch"}, asked: true, denied: []string{"serviceaccounts/web"},
		},
		"leaving an account takes nothing of the old one": {
			now: func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") }, notPods: true,
			old:    func(b webhook.BuiltinTemplate) object { return workload(b, "batch", "i:1") },
			grants: []string{"web"}, asked: true,
		},
		"restarting is a change of the template": {
			now: func(b webhook.BuiltinTemplate) object {
				return workload(b, "web", "i:1", at(object{"kubectl.kubernetes.io/restartedAt": "now"}, append(slices.Clone(b.Path), "metadata", "annotations")...))
			}, notPods: true,
			old:   func(b webhook.BuiltinTemplate) object { return workload(b, "web", "i:1") },
			asked: true, denied: []string{"as service account prod/web"},
		},
	}
	for name, tc := range cases {
		for _, b := range webhook.BuiltinTemplates() {
			if tc.notPods && len(b.Path) == 0 {
				continue
			}
			t.Run(name+"/"+b.Kind, func(t *testing.T) {
				w := identityWorld()
				if len(tc.grants) > 0 {
					w.grant("alice", "prod", "use", "serviceaccounts", tc.grants...)
				}
				var old any
				if tc.old != nil {
					old = tc.old(b)
				}
				newRig(t, w).expect(t, workloadRequest(t, b, "alice", tc.now(b), old), tc.denied, tc.asked)
			})
		}
	}
}

// What a built-in controller makes of a template passes; nothing else that it does, and nobody who looks like it.
func TestAccountUseExemptsBuiltinControllersExactly(t *testing.T) {
	made := []struct {
		user, kind, apiVersion, owner string
	}{
		{user: controllers + "replicaset-controller", kind: "Pod", apiVersion: "apps/v1", owner: "ReplicaSet"},
		{user: controllers + "replication-controller", kind: "Pod", apiVersion: "v1", owner: "ReplicationController"},
		{user: controllers + "daemon-set-controller", kind: "Pod", apiVersion: "apps/v1", owner: "DaemonSet"},
		{user: controllers + "statefulset-controller", kind: "Pod", apiVersion: "apps/v1", owner: "StatefulSet"},
		{user: controllers + "job-controller", kind: "Pod", apiVersion: "batch/v1", owner: "Job"},
		{user: controllers + "deployment-controller", kind: "ReplicaSet", apiVersion: "apps/v1", owner: "Deployment"},
		{user: controllers + "cronjob-controller", kind: "Job", apiVersion: "batch/v1", owner: "CronJob"},
		{user: controllers + "daemon-set-controller", kind: "ControllerRevision", apiVersion: "apps/v1", owner: "DaemonSet"},
		{user: controllers + "statefulset-controller", kind: "ControllerRevision", apiVersion: "apps/v1", owner: "StatefulSet"},
	}
	denied := []string{"as service account prod/web"}
	for _, m := range made {
		b := builtin(t, m.kind)
		mine := workload(b, "web", "i:1", owned(m.apiVersion, m.owner))
		notControlling := workload(b, "web", "i:1", at([]any{object{"apiVersion": m.apiVersion, "kind": m.owner, "name": "o"}}, "metadata", "ownerReferences"))
		for name, tc := range map[string]struct {
			user   string
			object object
			old    object
			denied []string
		}{
			"the controller":                             {user: m.user, object: mine},
			"without credentials of its own":             {user: "system:kube-controller-manager", object: mine},
			"without an owner":                           {user: m.user, object: workload(b, "web", "i:1"), denied: denied},
			"for an owner of a foreign kind":             {user: m.user, object: workload(b, "web", "i:1", owned("example.com/v1", m.owner)), denied: denied},
			"for an owner of a foreign group":            {user: m.user, object: workload(b, "web", "i:1", owned(m.apiVersion, "Rollout")), denied: denied},
			"for an owner that does not control":         {user: m.user, object: notControlling, denied: denied},
			"changing one that is there":                 {user: m.user, object: workload(b, "web", "i:2", owned(m.apiVersion, m.owner)), old: mine, denied: denied},
			"a namesake in another namespace":            {user: "system:serviceaccount:prod:" + m.user[len(controllers):], object: mine, denied: denied},
			"a longer name":                              {user: m.user + "2", object: mine, denied: denied},
			"another controller of kube-system":          {user: controllers + "generic-garbage-collector", object: mine, denied: denied},
			"a user who says that the controller did it": {user: "alice", object: mine, denied: denied},
		} {
			t.Run(m.kind+" of "+m.owner+"/"+name, func(t *testing.T) {
				var old any
				if tc.old != nil {
					old = tc.old
				}
				newRig(t, identityWorld()).expect(t, workloadRequest(t, b, tc.user, tc.object, old), tc.denied, len(tc.denied) > 0)
			})
		}
	}
}

func TestAccountUse(t *testing.T) {
	const node = "system:node:n1"
	deployment := builtin(t, "Deployment")
	pod := builtin(t, "Pod")
	mirror := merged(object{"metadata": object{"name": "p", "annotations": object{"kubernetes.io/config.mirror": "hash"}}}, object{"spec": object{"nodeName": "n1", "containers": []any{}}})
	asNode := func(_ *world, r *webhook.Request) {
		r.Subject.Groups = []string{"system:nodes", "system:authenticated"}
	}
	conflict := podOf("", "i:1", at("web", "spec", "serviceAccountName"), at("admin", "spec", "serviceAccount"))
	revision := func(template object) object {
		return merged(object{"metadata": object{"name": "w"}}, at(template, "data", "spec", "template"))
	}
	cases := map[string]struct {
		kind     webhook.BuiltinTemplate
		user     string
		now, old any
		grants   []string
		change   func(*world, *webhook.Request)
		denied   []string
		asked    bool
	}{
		"the deprecated spelling alone counts": {
			kind: pod, now: podOf("", "i:1", at("web", "spec", "serviceAccount")), grants: []string{"default"}, asked: true, denied: []string{"serviceaccounts/web", "as service account prod/web"},
		},
		"the deprecated spelling alone needs no more than itself": {
			kind: pod, now: podOf("", "i:1", at("web", "spec", "serviceAccount")), grants: []string{"web"}, asked: true,
		},
		"of two spellings that differ both are judged, without the one":   {kind: pod, now: conflict, grants: []string{"web"}, asked: true, denied: []string{"serviceaccounts/admin"}},
		"of two spellings that differ both are judged, without the other": {kind: pod, now: conflict, grants: []string{"admin"}, asked: true, denied: []string{"serviceaccounts/web"}},
		"of two spellings that differ both are held":                      {kind: pod, now: conflict, grants: []string{"admin", "web"}, asked: true},
		"field names are compared exactly":                                {kind: pod, now: podOf("", "i:1", at("web", "spec", "ServiceAccountName")), grants: []string{"default"}, asked: true},
		"an unrestricted grant serves every account": {
			kind: pod, now: podOf("web", "i:1"), asked: true,
			change: func(w *world, _ *webhook.Request) { w.grant("alice", "prod", "use", "serviceaccounts") },
		},
		"a grant in another namespace does not serve": {
			kind: pod, now: podOf("web", "i:1"), asked: true, denied: []string{"serviceaccounts/web"},
			change: func(w *world, _ *webhook.Request) { w.grant("alice", "dev", "use", "serviceaccounts") },
		},
		"a grant of another verb does not serve": {
			kind: pod, now: podOf("web", "i:1"), asked: true, denied: []string{"serviceaccounts/web"},
			change: func(w *world, _ *webhook.Request) { w.grant("alice", "prod", "impersonate", "serviceaccounts") },
		},
		"a pod by generateName": {
			kind: pod, now: podOf("web", "i:1"), asked: true, denied: []string{"run a Pod of namespace prod as service account prod/web"},
			change: func(_ *world, r *webhook.Request) { r.Name = "" },
		},
		"kube-system is never guarded": {kind: pod, now: podOf("web", "i:1"), change: func(_ *world, r *webhook.Request) { r.Namespace = "kube-system" }},
		"an exempt user":               {kind: pod, now: podOf("web", "i:1"), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Exempt.Users = []string{"alice"} }},
		"a guard without workloads":    {kind: pod, now: podOf("web", "i:1"), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Workloads = nil }},
		"tolerations and finalizers of a running pod": {
			kind: pod, old: podOf("web", "i:1"), now: podOf("web", "i:1", at([]any{object{"operator": "Exists"}}, "spec", "tolerations"), at([]any{"x/y"}, "metadata", "finalizers")),
		},
		"an init container's image of a running pod": {
			kind: pod, old: podOf("web", "i:1", at([]any{object{"name": "i", "image": "a"}}, "spec", "initContainers")),
			now:   podOf("web", "i:1", at([]any{object{"name": "i", "image": "b"}}, "spec", "initContainers")),
			asked: true, denied: []string{"change what runs in Pod prod/w, which runs as service account prod/web"},
		},

		"a mirror pod by its own node": {kind: pod, user: node, now: mirror, change: asNode},
		"a mirror pod by another node": {
			kind: pod, user: "system:node:n2", now: mirror, change: asNode, asked: true, denied: []string{"serviceaccounts/default"},
		},
		"a mirror pod by one who only has the node's name":  {kind: pod, user: node, now: mirror, asked: true, denied: []string{"serviceaccounts/default"}},
		"a mirror pod by one who only is in the group":      {kind: pod, now: mirror, change: asNode, asked: true, denied: []string{"serviceaccounts/default"}},
		"a node creates a pod that is no mirror pod":        {kind: pod, user: node, now: podOf("", "i:1", at("n1", "spec", "nodeName")), change: asNode, asked: true, denied: []string{"serviceaccounts/default"}},
		"a mirror pod that names an account":                {kind: pod, user: node, now: merged(mirror, at("web", "spec", "serviceAccountName")), change: asNode, asked: true, denied: []string{"serviceaccounts/web"}},
		"a mirror pod that names one by the other spelling": {kind: pod, user: node, now: merged(mirror, at("web", "spec", "serviceAccount")), change: asNode, asked: true, denied: []string{"serviceaccounts/web"}},
		"a mirror pod on no node, by one who is none":       {kind: pod, now: merged(mirror, at("", "spec", "nodeName")), asked: true, denied: []string{"serviceaccounts/default"}},
		"a node writes a template of mirror pods": {
			kind: deployment, user: node, now: at(mirror, "spec", "template"), change: asNode, asked: true, denied: []string{"serviceaccounts/default"},
		},
		"a node creates a deployment": {kind: deployment, user: node, now: workload(deployment, "web", "i:1"), change: asNode, asked: true, denied: []string{"serviceaccounts/web"}},

		"a template in another order of fields is the same": {
			kind: deployment, now: `{"spec":{"template":{"spec":{"b":{"x":1,"y":2},"serviceAccountName":"web"}}}}`,
			old: `{"spec": {"template": {"spec": {"serviceAccountName": "web", "b": {"y": 2, "x": 1}}}, "replicas": 1}}`,
		},
		"the order of a list counts": {
			kind: deployment, now: `{"spec":{"template":{"spec":{"a":[1,2],"serviceAccountName":"web"}}}}`,
			old: `{"spec":{"template":{"spec":{"a":[2,1],"serviceAccountName":"web"}}}}`, asked: true, denied: []string{"serviceaccounts/web"},
		},
		"status of a workload": {
			kind: deployment, now: workload(deployment, "web", "i:2"), old: workload(deployment, "web", "i:1"),
			change: func(_ *world, r *webhook.Request) { r.Subresource = "status" },
		},
		"scale of a workload": {
			kind: deployment, now: `{"spec":{"replicas":3}}`, old: `{"spec":{"replicas":1}}`,
			change: func(_ *world, r *webhook.Request) { r.Subresource, r.Kind = "scale", "Scale" },
		},
		"a subresource of a workload that nobody knows": {
			kind: deployment, now: `{}`, old: `{}`, denied: []string{"write rollback of Deployment prod/w", "does not know"},
			change: func(_ *world, r *webhook.Request) { r.Subresource = "rollback" },
		},
		"deleting a workload": {
			kind: deployment, old: workload(deployment, "web", "i:1"),
			change: func(_ *world, r *webhook.Request) { r.Operation, r.Object = admissionv1.Delete, nil },
		},
		"deleting what cannot be read": {
			kind: pod, old: `{"spec":7}`,
			change: func(_ *world, r *webhook.Request) { r.Operation, r.Object = admissionv1.Delete, nil },
		},
		"a workload that is being deleted loses a finalizer": {
			kind: deployment, old: workload(deployment, "web", "i:1", at([]any{"x/y"}, "metadata", "finalizers")),
			now: workload(deployment, "web", "i:1", at("2026-01-01T00:00:00Z", "metadata", "deletionTimestamp")),
		},

		"a revision that is merged may make pods of any account": {
			kind: builtin(t, "ControllerRevision"), now: revision(object{"spec": podSpecOf("", "evil")}), grants: []string{"default", "web"},
			asked: true, denied: []string{"patches pods whatever their service account", "kubectl auth can-i use serviceaccounts -n prod"},
		},
		"a revision that is merged, by one who may use all": {
			kind: builtin(t, "ControllerRevision"), now: revision(object{"spec": podSpecOf("", "evil")}), asked: true,
			change: func(w *world, _ *webhook.Request) { w.grant("alice", "prod", "use", "serviceaccounts") },
		},
		"a revision that only takes the account away": {
			kind: builtin(t, "ControllerRevision"), now: revision(object{"spec": object{"serviceAccountName": nil}}), grants: []string{"default"},
			asked: true, denied: []string{"patches pods whatever their service account"},
		},
		"a revision of something that is no pod": {
			kind: builtin(t, "ControllerRevision"), now: revision(object{"spec": object{"domain": object{"cpu": 1}}}),
		},
		"a revision without data": {kind: builtin(t, "ControllerRevision"), now: object{"metadata": object{"name": "w"}, "revision": 1}},
		"a revision of text":      {kind: builtin(t, "ControllerRevision"), now: object{"data": "spec"}},
		"a revision whose number changes": {
			kind: builtin(t, "ControllerRevision"), old: workload(builtin(t, "ControllerRevision"), "web", "i:1", object{"revision": 1}),
			now: workload(builtin(t, "ControllerRevision"), "web", "i:1", object{"revision": 2}),
		},
		"a revision whose account is no text": {
			kind: builtin(t, "ControllerRevision"), now: revision(object{"spec": object{"serviceAccountName": 7}}), denied: []string{"cannot be read"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			user := tc.user
			if user == "" {
				user = "alice"
			}
			if len(tc.grants) > 0 {
				w.grant(user, "prod", "use", "serviceaccounts", tc.grants...)
			}
			req := workloadRequest(t, tc.kind, user, tc.now, tc.old)
			if tc.change != nil {
				tc.change(w, req)
			}
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
		})
	}
}

func TestAccountUseOnCustomKinds(t *testing.T) {
	rollout := v1alpha1.WorkloadTemplate{APIGroup: "argoproj.io", Kind: "Rollout", Path: "spec.template"}
	taskRun := v1alpha1.WorkloadTemplate{APIGroup: "tekton.dev", Kind: "TaskRun", Path: "spec"}
	jobSet := v1alpha1.WorkloadTemplate{APIGroup: "jobset.x-k8s.io", Kind: "JobSet", Path: "spec.replicatedJobs.template.spec.template"}
	template := func(account, image string) object { return object{"spec": podSpecOf(account, image)} }
	jobs := func(templates ...object) object {
		var list []any
		for _, one := range templates {
			list = append(list, at(one, "template", "spec", "template"))
		}
		return at(list, "spec", "replicatedJobs")
	}
	cases := map[string]struct {
		named    v1alpha1.WorkloadTemplate
		group    string // by default that which is named
		kind     string
		now, old any
		grants   []string
		denied   []string
		asked    bool
		lost     bool // the path led to nothing
	}{
		"creating takes use of the account":       {named: rollout, now: at(template("web", "i:1"), "spec", "template"), asked: true, denied: []string{"run pods of Rollout prod/w as service account prod/web"}},
		"creating with use of the account":        {named: rollout, now: at(template("web", "i:1"), "spec", "template"), grants: []string{"web"}, asked: true},
		"another image takes use of the account":  {named: rollout, now: at(template("web", "i:2"), "spec", "template"), old: at(template("web", "i:1"), "spec", "template"), asked: true, denied: []string{"prod/web"}},
		"everything but the template is free":     {named: rollout, now: merged(at(template("web", "i:1"), "spec", "template"), at(3, "spec", "replicas")), old: at(template("web", "i:1"), "spec", "template")},
		"of two spellings that differ both count": {named: rollout, now: at(template("web", "i:1"), "spec", "template"), grants: []string{"web"}, asked: true},
		"conflicting spellings": {
			named: rollout, now: at(merged(template("web", "i:1"), at("admin", "spec", "serviceAccount")), "spec", "template"), grants: []string{"web"}, asked: true, denied: []string{"serviceaccounts/admin"},
		},
		"a kind of the same name in another group":   {named: rollout, group: "example.com", now: at(template("web", "i:1"), "spec", "template")},
		"another kind of the same group":             {named: rollout, kind: "Experiment", now: at(template("web", "i:1"), "spec", "template")},
		"a path that finds nothing":                  {named: rollout, now: at(template("web", "i:1"), "spec", "podTemplate"), lost: true},
		"a path that finds null":                     {named: rollout, now: `{"spec":{"template":null}}`, lost: true},
		"a path that finds text":                     {named: rollout, now: `{"spec":{"template":"x"}}`, lost: true},
		"a path through text":                        {named: rollout, now: `{"spec":"x"}`, lost: true},
		"a template that appears":                    {named: rollout, now: at(template("web", "i:1"), "spec", "template"), old: `{"spec":{}}`, asked: true, denied: []string{"prod/web"}},
		"a template that goes":                       {named: rollout, now: `{"spec":{}}`, old: at(template("web", "i:1"), "spec", "template"), lost: true},
		"a template that cannot be read":             {named: rollout, now: `{"spec":{"template":{"spec":"x"}}}`, denied: []string{"its pod template cannot be read"}},
		"an old template that could not be read":     {named: rollout, now: at(template("web", "i:1"), "spec", "template"), old: `{"spec":{"template":{"spec":"x"}}}`, asked: true, denied: []string{"prod/web"}},
		"an account at the path itself":              {named: taskRun, now: `{"spec":{"serviceAccountName":"web"}}`, asked: true, denied: []string{"prod/web"}},
		"no account at the path itself is default":   {named: taskRun, now: `{"spec":{"taskRef":{"name":"x"}}}`, asked: true, denied: []string{"prod/default"}},
		"a list on the way: all of it, one held":     {named: jobSet, now: jobs(template("web", "i"), template("admin", "i")), grants: []string{"web"}, asked: true, denied: []string{"serviceaccounts/admin"}},
		"a list on the way: all of it, both held":    {named: jobSet, now: jobs(template("web", "i"), template("admin", "i")), grants: []string{"web", "admin"}, asked: true},
		"a list on the way: only what is new counts": {named: jobSet, now: jobs(template("admin", "i"), template("web", "i")), old: jobs(template("admin", "i")), grants: []string{"web"}, asked: true},
		"a null in a list is no template":            {named: jobSet, now: `{"spec":{"replicatedJobs":[null,{"template":null}]}}`, lost: true},
		"a list in a list has no fields":             {named: jobSet, now: `{"spec":{"replicatedJobs":[[{"template":{"spec":{"template":{"spec":{}}}}}]]}}`, lost: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			w.guards[0].Spec.Workloads.Templates = []v1alpha1.WorkloadTemplate{tc.named}
			// A second guard that names the same does not find it twice.
			w.guards = append(w.guards, w.guards[0])
			w.guards[1].Name = "again"
			if len(tc.grants) > 0 {
				w.grant("alice", "prod", "use", "serviceaccounts", tc.grants...)
			}
			op := admissionv1.Create
			if tc.old != nil {
				op = admissionv1.Update
			}
			req := request(t, op, "alice", "somethings", tc.now, tc.old)
			req.Kind, req.Name = tc.named.Kind, "w"
			req.Resource = schema.GroupVersionResource{Group: tc.named.APIGroup, Version: "v1", Resource: "somethings"}
			if tc.group != "" {
				req.Resource.Group = tc.group
			}
			if tc.kind != "" {
				req.Kind = tc.kind
			}
			rig := newRig(t, w)
			rig.expect(t, req, tc.denied, tc.asked)
			if found, came := rig.TemplateSightings()[tc.named]; came && !found != tc.lost || !came && tc.lost {
				t.Errorf("found %v, came by %v; want lost %v", found, came, tc.lost)
			}
			for labels := range rig.counters(t, "saguard_admission_decisions_total") {
				if !slices.Contains([]string{"other"}, labels[len(labels)-len("other"):]) {
					t.Errorf("a custom kind's resource became a metric label: %s", labels)
				}
			}
		})
	}
}

// Once a path has led to a template, one object without is no reason for alarm.
func TestTemplateOnceFoundStaysFound(t *testing.T) {
	w := identityWorld()
	named := v1alpha1.WorkloadTemplate{APIGroup: "argoproj.io", Kind: "Rollout", Path: "spec.template"}
	w.guards[0].Spec.Workloads.Templates = []v1alpha1.WorkloadTemplate{named}
	rig := newRig(t, w)
	judge := func(object string) {
		req := request(t, admissionv1.Create, "alice", "rollouts", object, nil)
		req.Resource.Group, req.Kind = "argoproj.io", "Rollout"
		rig.Validate(t.Context(), req)
	}
	if got := rig.TemplateSightings(); len(got) != 0 {
		t.Fatalf("sightings %v before anything came by", got)
	}
	judge(`{"spec":{}}`)
	if found, came := rig.TemplateSightings()[named]; found || !came {
		t.Fatalf("found %v, came by %v; want it to be missed", found, came)
	}
	judge(`{"spec":{"template":{"spec":{}}}}`)
	judge(`{"spec":{}}`)
	if !rig.TemplateSightings()[named] {
		t.Error("what was found is lost again")
	}
}

func TestAccountUseInModesThatDoNotEnforce(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeWarn, v1alpha1.ModeAudit} {
		w := identityWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{identityGuard(mode)}
		rig := newRig(t, w)
		resp := rig.Validate(t.Context(), workloadRequest(t, builtin(t, "Pod"), "alice", podOf("web", "i:1"), nil))
		if !resp.Allowed || (len(resp.Warnings) > 0) != (mode == v1alpha1.ModeWarn) {
			t.Errorf("%s: allowed %v, warnings %q", mode, resp.Allowed, resp.Warnings)
		}
		if rec := rig.records.last(t); rec.Reason != webhook.ReasonTolerated || len(rec.Checks) != 1 || rec.Checks[0].ID != webhook.CheckAccountUse {
			t.Errorf("%s: recorded %+v", mode, rec)
		}
	}
}

// A built-in workload always has a template where its kind has it; one in which there is none cannot be judged.
func TestBuiltinWorkloadWithoutTemplateIsRefused(t *testing.T) {
	for _, b := range webhook.BuiltinTemplates() {
		if len(b.Path) == 0 || b.Opaque {
			continue
		}
		for _, text := range []string{`{}`, `{"spec":{}}`, `{"spec":{"template":null}}`, `{"spec":{"template":7}}`, `{"spec":[]}`} {
			rig := newRig(t, identityWorld())
			if resp := rig.Validate(t.Context(), workloadRequest(t, b, "alice", text, nil)); resp.Allowed || resp.Result.Code != 400 {
				t.Errorf("%s %s: %+v, want 400", b.Kind, text, resp)
			}
		}
	}
}
