package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// netCases are installations with the safety net.
var netCases = map[string]string{
	"safety-net":       `{safetyNet: {enabled: true}}`,
	"safety-net-agent": `{safetyNet: {enabled: true, failurePolicy: Fail}, agent: {enabled: true}, certificates: {source: certManager}, webhook: {namespaceDeleters: []}}`,
}

// newNet is the net as it runs in the API server of this module's version.
func newNet(t *testing.T) *net {
	t.Helper()
	return netOf(t, netCases["safety-net"], environment.DefaultCompatibilityVersion(), environment.StoredExpressions)
}

// A Kubernetes 1.30 accepts new expressions that 1.29 understands as well.
func TestSafetyNetCompilesOnTheOldestKubernetes(t *testing.T) {
	netOf(t, netCases["safety-net-agent"], version.MajorMinor(1, 29), environment.NewExpressions)
}

func TestSafetyNetIsOffByDefault(t *testing.T) {
	for name, values := range cases {
		for _, o := range render(t, values).Objects {
			if strings.HasSuffix(o.GetName(), ".safety-net.saguard.io") {
				t.Errorf("%s: %s %s", name, o.GetKind(), o.GetName())
			}
		}
	}
}

func TestEveryPolicyOfTheSafetyNetIsBoundOnceAndToEveryGuard(t *testing.T) {
	for name, values := range netCases {
		n := renderNet(t, values)
		if !slices.Equal(slices.Sorted(maps.Keys(n.policies)), slices.Sorted(maps.Keys(n.bindings))) {
			t.Errorf("%s: policies %v, bindings %v", name, slices.Sorted(maps.Keys(n.policies)), slices.Sorted(maps.Keys(n.bindings)))
		}
		for _, b := range n.bindings {
			p, ok := n.policies[b.Spec.PolicyName]
			if !ok {
				t.Errorf("%s: binding %s of policy %s, which there is not", name, b.Name, b.Spec.PolicyName)
				continue
			}
			ref := b.Spec.ParamRef
			switch {
			case (p.Spec.ParamKind != nil) != (ref != nil):
				t.Errorf("%s: %s: a parameter on one side alone", name, b.Name)
			case ref != nil && (ref.Selector == nil || len(ref.Selector.MatchLabels)+len(ref.Selector.MatchExpressions) > 0 || *ref.ParameterNotFoundAction != "Allow"):
				t.Errorf("%s: %s: %+v, want every guard, and nothing denied where there is none", name, b.Name, ref)
			case b.Spec.MatchResources != nil:
				t.Errorf("%s: %s narrows the policy", name, b.Name)
			}
		}
	}
}

func TestSafetyNetWithoutItsOwnObjects(t *testing.T) {
	for name := range renderNet(t, `{safetyNet: {enabled: true, ownObjects: false}}`).policies {
		if strings.HasPrefix(name, "own-") {
			t.Errorf("%s is rendered", name)
		}
	}
}

const (
	guardWorkloads = `{namespaceSelector: {}, workloads: {mode: Enforce}}`
	guardLabels    = `{labels: {mode: Enforce, keys: [role, example.com/*]}}`
	plainPod       = `{metadata: {name: p}, spec: {serviceAccountName: web, containers: [{name: c, image: i}]}}`
	controllers    = "system:serviceaccount:kube-system:"
)

func podTemplate(account string) string {
	return `{metadata: {labels: {a: b}}, spec: {` + account + `containers: [{name: c, image: i}]}}`
}

func ownedPod(apiVersion, kind string) string {
	return `{metadata: {name: p, ownerReferences: [{apiVersion: ` + apiVersion + `, kind: ` + kind + `, name: o, uid: u, controller: true}]}, spec: {serviceAccountName: web, containers: [{name: c, image: i}]}}`
}

// Each case says what is asked for; whoever holds it passes, and whoever does not is denied with it.
func TestSafetyNetAsksForTheUseOfAccounts(t *testing.T) {
	template := func(account string) string { return podTemplate("serviceAccountName: " + account + ", ") }
	cases := map[string]struct {
		request netRequest
		want    string // "" = nothing is asked for
	}{
		"a pod":                                 {netRequest{resource: "pods", object: plainPod}, "web"},
		"a pod that names nobody":               {netRequest{resource: "pods", object: `{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}`}, "default"},
		"the deprecated name":                   {netRequest{resource: "pods", object: `{metadata: {name: p}, spec: {serviceAccount: old, containers: [{name: c, image: i}]}}`}, "old"},
		"a pod's label":                         {netRequest{resource: "pods", object: strings.Replace(plainPod, "name: p", "name: p, labels: {a: b}", 1), old: plainPod}, ""},
		"a pod's image":                         {netRequest{resource: "pods", object: strings.Replace(plainPod, "image: i", "image: j", 1), old: plainPod}, "web"},
		"a pod's end":                           {netRequest{resource: "pods", old: plainPod}, ""},
		"a deployment":                          {netRequest{resource: "deployments", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"scaling":                               {netRequest{resource: "deployments", object: `{metadata: {name: d}, spec: {replicas: 2, template: ` + template("web") + `}}`, old: `{metadata: {name: d}, spec: {replicas: 1, template: ` + template("web") + `}}`}, ""},
		"another account":                       {netRequest{resource: "deployments", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`, old: `{metadata: {name: d}, spec: {template: ` + template("db") + `}}`}, "web"},
		"a stateful set":                        {netRequest{resource: "statefulsets", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"a daemon set":                          {netRequest{resource: "daemonsets", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"a replica set":                         {netRequest{resource: "replicasets", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"a replication controller":              {netRequest{resource: "replicationcontrollers", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"a pod template":                        {netRequest{resource: "podtemplates", object: `{metadata: {name: d}, template: ` + template("web") + `}`}, "web"},
		"a job":                                 {netRequest{resource: "jobs", object: `{metadata: {name: d}, spec: {template: ` + template("web") + `}}`}, "web"},
		"a cron job":                            {netRequest{resource: "cronjobs", object: `{metadata: {name: d}, spec: {jobTemplate: {spec: {template: ` + template("web") + `}}}}`}, "web"},
		"a cron job's schedule":                 {netRequest{resource: "cronjobs", object: `{metadata: {name: d}, spec: {schedule: b, jobTemplate: {spec: {template: ` + template("web") + `}}}}`, old: `{metadata: {name: d}, spec: {schedule: a, jobTemplate: {spec: {template: ` + template("web") + `}}}}`}, ""},
		"a pod of the replica set controller":   {netRequest{resource: "pods", user: controllers + "replicaset-controller", object: ownedPod("apps/v1", "ReplicaSet")}, ""},
		"a pod of another group's ReplicaSet":   {netRequest{resource: "pods", user: controllers + "replicaset-controller", object: ownedPod("example.com/v1", "ReplicaSet")}, "web"},
		"a pod of its own, by that controller":  {netRequest{resource: "pods", user: controllers + "replicaset-controller", object: plainPod}, "web"},
		"a pod of a namesake":                   {netRequest{resource: "pods", user: "system:serviceaccount:prod:replicaset-controller", object: ownedPod("apps/v1", "ReplicaSet")}, "web"},
		"a user's pod with an owner":            {netRequest{resource: "pods", object: ownedPod("apps/v1", "ReplicaSet")}, "web"},
		"a pod of a ReplicationController":      {netRequest{resource: "pods", user: controllers + "replication-controller", object: ownedPod("v1", "ReplicationController")}, ""},
		"the volume scrubber's pod":             {netRequest{resource: "pods", user: controllers + "persistent-volume-binder", object: plainPod}, ""},
		"all controllers under one name":        {netRequest{resource: "pods", user: "system:kube-controller-manager", object: ownedPod("batch/v1", "Job")}, ""},
		"a controller that changes an image":    {netRequest{resource: "pods", user: controllers + "replicaset-controller", object: strings.Replace(ownedPod("apps/v1", "ReplicaSet"), "image: i", "image: j", 1), old: ownedPod("apps/v1", "ReplicaSet")}, "web"},
		"a replica set of the deployment's":     {netRequest{resource: "replicasets", user: controllers + "deployment-controller", object: `{metadata: {name: d, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: o, uid: u, controller: true}]}, spec: {template: ` + template("web") + `}}`}, ""},
		"a kubelet's mirror pod":                {netRequest{resource: "pods", user: "system:node:n1", groups: []string{"system:nodes"}, object: `{metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1, containers: [{name: c, image: i}]}}`}, ""},
		"a mirror pod of another node":          {netRequest{resource: "pods", user: "system:node:n1", groups: []string{"system:nodes"}, object: `{metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n2, containers: [{name: c, image: i}]}}`}, "default"},
		"a mirror pod of no node":               {netRequest{resource: "pods", user: "system:node:", groups: []string{"system:nodes"}, object: `{metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {containers: [{name: c, image: i}]}}`}, "default"},
		"a mirror pod by no kubelet":            {netRequest{resource: "pods", user: "system:node:n1", object: `{metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1, containers: [{name: c, image: i}]}}`}, "default"},
		"a mirror pod with an account":          {netRequest{resource: "pods", user: "system:node:n1", groups: []string{"system:nodes"}, object: `{metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1, serviceAccountName: web, containers: [{name: c, image: i}]}}`}, "web"},
		"kube-system":                           {netRequest{resource: "pods", namespace: "kube-system", object: plainPod}, ""},
		"the release's own namespace":           {netRequest{resource: "pods", namespace: "saguard-system", object: plainPod}, ""},
		"a namespace that is never sent":        {netRequest{resource: "pods", namespace: "calico-system", object: plainPod}, ""},
		"a name of a user in the way of a user": {netRequest{resource: "pods", user: "system:serviceaccount:prod:web", object: plainPod}, "web"},
	}
	n := newNet(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.request.guards = []string{guardWorkloads}
			refused := n.judge(t, tc.request)
			tc.request.grants = []string{"use serviceaccounts " + tc.want}
			if passed := n.judge(t, tc.request); len(passed.denied) > 0 {
				t.Errorf("denied to one who holds it: %v", passed.denied)
			}
			if tc.want == "" {
				if len(refused.denied) > 0 || len(refused.annotations) > 0 {
					t.Errorf("judged: %v %v", refused.denied, refused.annotations)
				}
				return
			}
			line := "kubectl auth can-i use serviceaccounts/" + tc.want + " -n prod"
			if len(refused.denied) != 1 || !strings.HasPrefix(refused.denied[0], "account-use: ") || !strings.HasSuffix(refused.denied[0], line) {
				t.Errorf("denied %q, want once, with %q", refused.denied, line)
			}
			if got, want := refused.annotations["account-use/asked"], "use serviceaccounts "+tc.want+" in prod"; got != want {
				t.Errorf("annotation %q, want %q", got, want)
			}
		})
	}
}

// A guard holds where, for whom and how hard internal/guard says; the same for labels as for workloads.
func TestSafetyNetObeysGuards(t *testing.T) {
	prod := map[string]string{"env": "prod", "tier": ""}
	cases := map[string]struct {
		guards []string // %s stands for the section
		user   string
		groups []string
		want   string // denied, warned, audited
	}{
		"no guard":                               {},
		"a guard without the section":            {guards: []string{`{namespaceSelector: {}}`}},
		"Enforce":                                {guards: []string{`{%s: {mode: Enforce}}`}, want: "denied"},
		"no mode":                                {guards: []string{`{%s: {}}`}, want: "denied"},
		"a mode of a later version":              {guards: []string{`{%s: {mode: Insist}}`}, want: "denied"},
		"Warn":                                   {guards: []string{`{%s: {mode: Warn}}`}, want: "warned"},
		"Audit":                                  {guards: []string{`{%s: {mode: Audit}}`}, want: "audited"},
		"Off":                                    {guards: []string{`{%s: {mode: "Off"}}`}},
		"the strictest of several":               {guards: []string{`{%s: {mode: "Off"}}`, `{%s: {mode: Enforce}}`, `{%s: {mode: "Off"}}`}, want: "denied"},
		"labels that match":                      {guards: []string{`{namespaceSelector: {matchLabels: {env: prod, tier: ""}}, %s: {mode: Enforce}}`}, want: "denied"},
		"another value":                          {guards: []string{`{namespaceSelector: {matchLabels: {env: dev}}, %s: {mode: Enforce}}`}},
		"a label that is not there":              {guards: []string{`{namespaceSelector: {matchLabels: {env: prod, x: ""}}, %s: {mode: Enforce}}`}},
		"In":                                     {guards: []string{`{namespaceSelector: {matchExpressions: [{key: env, operator: In, values: [dev, prod]}]}, %s: {}}`}, want: "denied"},
		"In, of others":                          {guards: []string{`{namespaceSelector: {matchExpressions: [{key: env, operator: In, values: [dev]}]}, %s: {}}`}},
		"In, not there":                          {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: In, values: [dev]}]}, %s: {}}`}},
		"NotIn":                                  {guards: []string{`{namespaceSelector: {matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}, %s: {}}`}, want: "denied"},
		"NotIn, not there":                       {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: NotIn, values: [dev]}]}, %s: {}}`}, want: "denied"},
		"NotIn, of others":                       {guards: []string{`{namespaceSelector: {matchExpressions: [{key: env, operator: NotIn, values: [prod]}]}, %s: {}}`}},
		"Exists":                                 {guards: []string{`{namespaceSelector: {matchExpressions: [{key: tier, operator: Exists}]}, %s: {}}`}, want: "denied"},
		"Exists, not there":                      {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: Exists}]}, %s: {}}`}},
		"DoesNotExist":                           {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: DoesNotExist}]}, %s: {}}`}, want: "denied"},
		"DoesNotExist, there":                    {guards: []string{`{namespaceSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}, %s: {}}`}},
		"an operator nobody knows":               {guards: []string{`{namespaceSelector: {matchLabels: {env: dev}, matchExpressions: [{key: x, operator: Near}]}, %s: {}}`}, want: "denied"},
		"In nothing":                             {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: In}]}, %s: {}}`}, want: "denied"},
		"Exists with values":                     {guards: []string{`{namespaceSelector: {matchExpressions: [{key: x, operator: Exists, values: [y]}]}, %s: {}}`}, want: "denied"},
		"an exempt user":                         {guards: []string{`{exempt: {users: [bob, alice]}, %s: {}}`}},
		"an exempt group":                        {guards: []string{`{exempt: {groups: [ops]}, %s: {}}`}, groups: []string{"dev", "ops"}},
		"a group named like an exempt user":      {guards: []string{`{exempt: {users: [ops]}, %s: {}}`}, groups: []string{"ops"}, want: "denied"},
		"a user named like an exempt group":      {guards: []string{`{exempt: {groups: [alice]}, %s: {}}`}, want: "denied"},
		"a prefix of an exempt user":             {guards: []string{`{exempt: {users: [alicea]}, %s: {}}`}, want: "denied"},
		"exempt from one of two":                 {guards: []string{`{exempt: {users: [alice]}, %s: {}}`, `{%s: {}}`}, want: "denied"},
		"one who may delete for namespaces":      {guards: []string{`{%s: {}}`}, user: controllers + "namespace-controller", want: "denied"},
		"a member of a group that sounds mighty": {guards: []string{`{%s: {}}`}, groups: []string{"system:serviceaccounts:kube-system"}, want: "denied"},
	}
	n := newNet(t)
	for section, request := range map[string]netRequest{
		"workloads": {resource: "pods", object: plainPod},
		"labels":    {resource: "serviceaccounts", object: `{metadata: {name: web, labels: {role: x}}}`},
	} {
		for name, tc := range cases {
			t.Run(section+", "+name, func(t *testing.T) {
				r := request
				for _, g := range tc.guards {
					spec := strings.ReplaceAll(g, "%s", section)
					if section == "labels" {
						spec = strings.NewReplacer("labels: {}", "labels: {keys: [role]}", "labels: {mode", "labels: {keys: [role], mode").Replace(spec)
					}
					r.guards = append(r.guards, spec)
				}
				r.user, r.groups, r.namespaceLabels = tc.user, tc.groups, prod
				a := n.judge(t, r)
				for kind, list := range map[string][]string{"denied": a.denied, "warned": a.warned, "audited": a.audited} {
					if (len(list) > 0) != (kind == tc.want) {
						t.Errorf("%s: %q, want it %q", kind, list, tc.want)
					}
				}
			})
		}
	}
}

// Labels are judged as the webhook's check label-use judges them: want lists the questions, of which any other answers count
// for nothing.
func TestSafetyNetAsksForTheUseOfLabels(t *testing.T) {
	account := func(labels string) string { return `{metadata: {name: web, labels: {` + labels + `}}}` }
	cases := map[string]struct {
		request netRequest
		guard   string
		want    []string
	}{
		"a new account":                    {request: netRequest{object: account("role: a, x: y")}, want: []string{"role=a"}},
		"an account without labels":        {request: netRequest{object: `{metadata: {name: web}}`}},
		"a first label":                    {request: netRequest{object: account("role: a"), old: `{metadata: {name: web}}`}, want: []string{"role=a"}},
		"another value":                    {request: netRequest{object: account("role: b"), old: account("role: a")}, want: []string{"role=a", "role=b"}},
		"the empty value":                  {request: netRequest{object: account(`role: ""`), old: account("role: a")}, want: []string{"role=", "role=a"}},
		"taken off":                        {request: netRequest{object: account("x: y"), old: account("role: a, x: y")}, want: []string{"role=a"}},
		"deleted":                          {request: netRequest{old: account("role: a, example.com/t: u, x: y")}, want: []string{"example.com/t=u", "role=a"}},
		"nothing changes":                  {request: netRequest{object: account("role: a, x: z"), old: account("role: a, x: y")}},
		"the secrets change":               {request: netRequest{object: `{metadata: {name: web, labels: {role: a}}, secrets: [{name: s}]}`, old: account("role: a")}},
		"a key of a prefix":                {request: netRequest{object: account("example.com/team: a")}, want: []string{"example.com/team=a"}},
		"a longer prefix":                  {request: netRequest{object: account("sub.example.com/team: a")}},
		"the prefix alone":                 {request: netRequest{object: account("example.com: a")}},
		"another case":                     {request: netRequest{object: account("Role: a")}},
		"a key guarded twice":              {guard: `{labels: {keys: [example.com/t, example.com/*]}}`, request: netRequest{object: account("example.com/t: a")}, want: []string{"example.com/t=a"}},
		"keys of policies are not known":   {guard: `{labels: {fromPolicies: true}}`, request: netRequest{object: account("role: a")}},
		"the namespace controller":         {request: netRequest{old: account("role: a"), user: controllers + "namespace-controller"}},
		"the garbage collector":            {request: netRequest{old: account("role: a"), user: controllers + "generic-garbage-collector"}, want: []string{"role=a"}},
		"it empties a namespace":           {request: netRequest{old: account("role: a"), user: controllers + "generic-garbage-collector", terminating: true}},
		"others in a dying namespace":      {request: netRequest{old: account("role: a"), terminating: true}, want: []string{"role=a"}},
		"it writes in a dying namespace":   {request: netRequest{object: account("role: b"), old: account("role: a"), user: controllers + "generic-garbage-collector", terminating: true}, want: []string{"role=a", "role=b"}},
		"four keys, over two policies":     {request: netRequest{object: account("example.com/c: c, role: r, example.com/a: a, example.com/b: b")}, want: []string{"example.com/a=a", "example.com/b=b", "example.com/c=c", "role=r"}},
		"deleted in a whole collection":    {request: netRequest{old: account("role: a")}, want: []string{"role=a"}},
		"the release's own namespace":      {request: netRequest{object: account("role: a"), namespace: "saguard-system"}},
		"a namespace that is never sent":   {request: netRequest{object: account("role: a"), namespace: "tigera-operator"}},
		"a value as long as values can be": {request: netRequest{object: account("role: " + strings.Repeat("v", 63))}, want: []string{"role=" + strings.Repeat("v", 63)}},
	}
	n := newNet(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := tc.request
			r.resource, r.guards = "serviceaccounts", []string{or(tc.guard, guardLabels)}
			granted := func(names ...string) answer {
				r.grants = nil
				for _, g := range names {
					r.grants = append(r.grants, strings.TrimSpace("use serviceaccounts/labels "+g))
				}
				return n.judge(t, r)
			}
			none := granted()
			if len(none.denied) != len(tc.want) {
				t.Errorf("denied %q, want one for each of %q", none.denied, tc.want)
			}
			for _, q := range tc.want {
				line := "check: kubectl auth can-i use serviceaccounts/" + q + " --subresource=labels -n prod"
				if !slices.ContainsFunc(none.denied, func(d string) bool { return strings.HasSuffix(d, line) }) {
					t.Errorf("nothing of %q in %q", line, none.denied)
				}
			}
			key := func(q string) string { return strings.SplitN(q, "=", 2)[0] }
			for i, q := range tc.want {
				others := slices.Delete(slices.Clone(tc.want), i, i+1)
				if a := granted(others...); len(a.denied) != 1 || !strings.Contains(a.denied[0], q) {
					t.Errorf("with all but %s: %q", q, a.denied)
				}
				wide := []string{q, key(q) + "=*", "web:" + q, "web:" + key(q) + "=*"}
				if prefix, _, ok := strings.Cut(key(q), "/"); ok {
					wide = append(wide, prefix+"/*", "web:"+prefix+"/*")
				}
				for _, w := range wide {
					if a := granted(append(others, w)...); len(a.denied) > 0 {
						t.Errorf("denied to one who holds %s: %q", w, a.denied)
					}
				}
				for _, no := range []string{"*", "=", key(q), key(q) + "=", "db:" + q, "db:*", key(q) + "/*", strings.ToUpper(q), "web", q + "x", "other=*"} {
					if slices.Contains(wide, no) {
						continue
					}
					if a := granted(append(others, no)...); len(a.denied) == 0 {
						t.Errorf("passes with %s for %s", no, q)
					}
				}
			}
			for _, all := range []string{"", "web:*"} {
				if a := granted(all); len(a.denied) > 0 {
					t.Errorf("denied to one who holds %q: %q", all, a.denied)
				}
			}
			r.grants = []string{"error"}
			if a := n.judge(t, r); (len(a.denied) > 0) != (len(tc.want) > 0) {
				t.Errorf("where nobody can say: %q", a.denied)
			}
		})
	}
}

// Whatever there is to change at once, nothing errs and 3 % of the budget stay: an error would let the request pass.
func TestSafetyNetKeepsItsBudgetAtItsWorst(t *testing.T) {
	n := newNet(t)
	prefix := strings.Repeat(strings.Repeat("p", 60)+".", 4) + "example"
	guard := func(whole, prefixes int) string {
		var keys []string
		for i := range whole {
			keys = append(keys, fmt.Sprintf("%q", fmt.Sprintf("%s/%s%02d", prefix, strings.Repeat("k", 60), i)))
		}
		for i := range prefixes {
			keys = append(keys, fmt.Sprintf("%q", fmt.Sprintf("a%d.%s/*", i, prefix)))
		}
		users, groups := make([]string, 128), make([]string, 64)
		for i := range users {
			users[i] = fmt.Sprintf("%q", strings.Repeat("u", 500)+fmt.Sprint(i))
		}
		for i := range groups {
			groups[i] = fmt.Sprintf("%q", strings.Repeat("g", 500)+fmt.Sprint(i))
		}
		return `{namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: NotIn, values: [d]}]}, exempt: {users: [` + strings.Join(users, ",") + `], groups: [` + strings.Join(groups, ",") + `]}, labels: {keys: [` + strings.Join(keys, ",") + `]}}`
	}
	labels := func(value string, whole, unguarded, prefixed, prefixes int) string {
		all := []string{}
		for i := range whole {
			all = append(all, fmt.Sprintf("%s/%s%02d: %s", prefix, strings.Repeat("k", 60), i, strings.Repeat(value, 63)))
		}
		for i := range prefixed {
			all = append(all, fmt.Sprintf("a%d.%s/%s%d: %s", prefixes-1, prefix, strings.Repeat("k", 50), i, strings.Repeat(value, 63)))
		}
		for i := range unguarded {
			all = append(all, fmt.Sprintf("b.%s/%s%d: %s", prefix, strings.Repeat("k", 50), i, strings.Repeat(value, 63)))
		}
		return `{metadata: {name: ` + strings.Repeat("n", 253) + `, labels: {` + strings.Join(all, ", ") + `}}}`
	}
	var groups []string
	for i := range 500 {
		groups = append(groups, strings.Repeat("G", 100)+fmt.Sprint(i))
	}
	var everything []string
	for i := range 30 {
		for _, v := range []string{"a", "b"} {
			everything = append(everything, fmt.Sprintf("use serviceaccounts/labels %s:%s/%s%02d=%s", strings.Repeat("n", 253), prefix, strings.Repeat("k", 60), i, strings.Repeat(v, 63)))
		}
	}
	cases := map[string]struct {
		guard       string
		object, old string
		grants      []string
		denied      int
		text        string
	}{
		"28 changed keys, nothing held":                  {guard: guard(28, 0), object: labels("b", 28, 0, 0, 0), old: labels("a", 28, 0, 0, 0), denied: 56, text: "label-use: you may not"},
		"28 changed keys, all held by the last question": {guard: guard(28, 0), object: labels("b", 28, 0, 0, 0), old: labels("a", 28, 0, 0, 0), grants: everything},
		"28 changed keys, all but one held":              {guard: guard(28, 0), object: labels("b", 28, 0, 0, 0), old: labels("a", 28, 0, 0, 0), grants: slices.Delete(slices.Clone(everything), 55, 56), denied: 1, text: "k27=bbb"},
		"28 changed keys, held by their prefix":          {guard: guard(28, 0), object: labels("b", 28, 0, 0, 0), old: labels("a", 28, 0, 0, 0), grants: []string{"use serviceaccounts/labels " + strings.Repeat("n", 253) + ":" + prefix + "/*"}},
		"as many as can be":                              {guard: guard(30, 98), object: labels("b", 30, 220, 0, 98), old: labels("a", 30, 220, 0, 98), denied: 60, text: "label-use: you may not"},
		"as many as can be, of a prefix":                 {guard: guard(0, 128), object: labels("b", 0, 220, 30, 128), old: labels("a", 0, 220, 30, 128), denied: 60, text: "label-use: you may not"},
		"one too many":                                   {guard: guard(31, 97), object: labels("b", 31, 219, 0, 97), old: labels("a", 31, 219, 0, 97), denied: 1, text: "more than 30 guarded labels"},
		"all that a guard can name":                      {guard: guard(128, 0), object: labels("b", 128, 0, 0, 0), old: labels("a", 128, 0, 0, 0), denied: 1, text: "more than 30 guarded labels"},
		"all keys of a prefix":                           {guard: guard(0, 128), object: labels("b", 0, 0, 250, 128), old: labels("a", 0, 0, 250, 128), denied: 1, text: "more than 30 guarded labels"},
		"too many to read":                               {guard: guard(0, 128), object: labels("b", 0, 501, 0, 128), denied: 1, text: "more than 500 labels"},
		"far too many to read":                           {guard: guard(1, 127), object: labels("b", 1, 1500, 0, 127), old: labels("a", 1, 1500, 0, 127), denied: 3, text: "more than 500 labels"},
		"many labels of which none is guarded":           {guard: guard(128, 0), object: labels("b", 0, 1500, 0, 0), old: labels("a", 0, 1500, 0, 0)},
		"many labels of which some are guarded":          {guard: guard(128, 0), object: labels("b", 30, 1500, 0, 0), old: labels("a", 30, 1500, 0, 0), denied: 60, text: "label-use: you may not"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := n.judge(t, netRequest{
				resource: "serviceaccounts", object: tc.object, old: tc.old, guards: []string{tc.guard}, grants: tc.grants, groups: groups,
				namespaceLabels: map[string]string{"a": "b"}, budget: celconfig.RuntimeCELCostBudget * 97 / 100,
			})
			if len(a.denied) != tc.denied || (tc.denied > 0 && !slices.ContainsFunc(a.denied, func(d string) bool { return strings.Contains(d, tc.text) })) {
				t.Errorf("%d denials %.300q, want %d with %q", len(a.denied), a.denied, tc.denied, tc.text)
			}
			if a.most > 28 {
				t.Errorf("one policy asked %d questions", a.most)
			}
			t.Logf("at most %d questions a policy", a.most)
		})
	}
}
