package scan_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/hollow"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/rbac/rbactest"
	"github.com/saguard/saguard/webhook"
)

func splitDocuments(text string) []string {
	var out []string
	for _, doc := range strings.Split(text, "\n---\n") {
		if strings.TrimSpace(doc) != "" {
			out = append(out, doc)
		}
	}
	return out
}

// words are "CHECK CERTAINTY NAME" of violations, and "CHECK ? NAME" of what could not be judged.
func words(v scan.Verdict) []string {
	out := []string{}
	for _, x := range v.Violations {
		out = append(out, fmt.Sprintf("%s %s %s", x.Check, x.Certainty, x.Object.Name))
	}
	for _, x := range v.Unjudged {
		out = append(out, fmt.Sprintf("%s ? %s", x.Check, x.Object.Name))
	}
	return out
}

const (
	webHolder = "role prod/r use serviceaccounts web\nrole prod/r use serviceaccounts/labels role=web\nbind prod/b role:r user:alice\n"
	replica   = "{kind: ReplicaSet, apiVersion: apps/v1, metadata: {name: rs, uid: u1}, spec: {template: {spec: {serviceAccountName: web}}}}"
)

func podOf(account, more string) string {
	return "{kind: Pod, metadata: {name: p" + more + "}, spec: {serviceAccountName: " + account + ", nodeName: n1, containers: [{name: a, image: b}]}}"
}

func owned(uid string) string {
	return ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: " + uid + ", controller: true}]"
}

func TestWhatWorkloadsViolate(t *testing.T) {
	lost := func(_ *scan.Options, r *rig) { r.lost = true }
	live := func(t *testing.T) func(*scan.Options, *rig) {
		return func(_ *scan.Options, r *rig) {
			o := objects(t, replica)[0]
			r.owners["prod/rs"] = o
		}
	}
	cases := map[string]struct {
		objects string
		rbac    string
		change  func(*scan.Options, *rig)
		want    []string
	}{
		"somebody may":                                 {objects: podOf("web", ""), rbac: webHolder},
		"nobody may":                                   {objects: podOf("api", ""), rbac: webHolder, want: []string{"account-use nobody-may p"}},
		"only holders of every verb may":               {objects: podOf("web", ""), rbac: "clusterrole r * *\nclusterbind b clusterrole:r user:root", want: []string{"account-use nobody-may p"}},
		"no account is default":                        {objects: "{kind: Pod, metadata: {name: p}, spec: {containers: []}}", rbac: webHolder, want: []string{"account-use nobody-may p"}},
		"the deprecated spelling":                      {objects: "{kind: Pod, metadata: {name: p}, spec: {serviceAccount: api}}", rbac: webHolder, want: []string{"account-use nobody-may p"}},
		"it has ended":                                 {objects: "{kind: Pod, metadata: {name: p}, spec: {serviceAccountName: api}, status: {phase: Failed}}"},
		"an excluded namespace":                        {objects: "{kind: Pod, metadata: {name: p, namespace: kube-system}, spec: {}}"},
		"made of a template that was seen":             {objects: replica + "\n---\n" + podOf("web", owned("u1")), rbac: webHolder},
		"its template is judged, not what is made":     {objects: replica + "\n---\n" + podOf("web", owned("u1")), want: []string{"account-use nobody-may rs"}},
		"made of a template that is looked up":         {objects: podOf("web", owned("u1")), change: live(t)},
		"its owner cannot be looked up":                {objects: podOf("web", owned("u1")), rbac: webHolder, change: lost, want: []string{" ? p"}},
		"its owner is not there":                       {objects: podOf("api", owned("u1")), want: []string{"account-use nobody-may p"}},
		"its owner is another of the name":             {objects: podOf("web", owned("u2")), change: live(t), want: []string{"account-use nobody-may p"}},
		"it runs as somebody else than its owner says": {objects: replica + "\n---\n" + podOf("api", owned("u1")), rbac: webHolder, want: []string{"account-use nobody-may p"}},
		"owned by what makes no pods of templates":     {objects: strings.Replace(podOf("api", owned("u1")), "kind: ReplicaSet", "kind: Deployment", 1), change: live(t), want: []string{"account-use nobody-may p"}},
		"owned, but not controlled":                    {objects: strings.Replace(podOf("api", owned("u1")), "controller: true", "controller: false", 1), change: live(t), want: []string{"account-use nobody-may p"}},
		"a mirror of a node's own manifest":            {objects: "{kind: Pod, metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: n1}}"},
		"a mirror that runs as an account":             {objects: strings.Replace(podOf("api", ""), "name: p", "name: p, annotations: {kubernetes.io/config.mirror: x}", 1), want: []string{"account-use nobody-may p"}},
		"a label that nobody may write":                {objects: strings.Replace(podOf("web", ""), "name: p", "name: p, labels: {pcsa.a: b}", 1), rbac: webHolder, want: []string{"reserved-label certain p"}},
		"a namespace that nobody may label so":         {objects: "{kind: Namespace, metadata: {name: prod, labels: {projectcalico.org/name: x}}}", want: []string{"reserved-label certain prod"}},
		"an object that cannot be read":                {objects: "{kind: Pod, metadata: {name: p}, spec: 7}", want: []string{"unreadable certain p"}},
		"what is not known yet":                        {objects: podOf("web", ""), change: func(_ *scan.Options, r *rig) { r.world.notCurrent = "starting" }, want: []string{" ? p"}},
		"what is not asked for":                        {objects: podOf("api", ""), change: func(o *scan.Options, _ *rig) { o.Only = []string{webhook.CheckLabelUse} }},
		"a policy with more than is asked for at once": {objects: "{kind: NetworkPolicy, apiVersion: projectcalico.org/v3, metadata: {name: p}, spec: {order: 1, ingress: [{action: Allow, source: {serviceAccounts: {names: [a, b, c, d, e, f, g, h, i, j]}}}]}}", want: slices.Concat(slices.Repeat([]string{"policy-reference nobody-may p"}, 8), []string{"policy-reference ? p"})},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			change := func(*scan.Options, *rig) {}
			if tc.change != nil {
				change = tc.change
			}
			got := words(newRig(t, strict, tc.rbac, change).look(t, tc.objects))
			if tc.want == nil {
				tc.want = []string{}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func account(label, by string) string {
	return "{kind: ServiceAccount, metadata: {name: a, labels: {role: " + label + ", other: x}, annotations: {saguard.io/labelled-by: '" + by + "'}}}"
}

func TestWhatLabelsViolate(t *testing.T) {
	exempt := `{metadata: {name: strict}, spec: {labels: {keys: [role]}, exempt: {groups: [sre], users: [olga]}}}`
	cases := map[string]struct {
		object string
		guard  string
		rbac   string
		change func(*scan.Options, *rig)
		want   []string
	}{
		"its author may":                                       {object: account("web", `{"role":"alice"}`), rbac: webHolder},
		"its author may by every verb":                         {object: account("web", `{"role":"root"}`), rbac: "clusterrole r * *\nclusterbind b clusterrole:r user:root"},
		"its author may no longer, another may":                {object: account("web", `{"role":"mallory"}`), rbac: webHolder, want: []string{"label-use author-may-not a"}},
		"its author may no longer, nobody may":                 {object: account("db", `{"role":"mallory"}`), rbac: webHolder, want: []string{"label-use author-may-not a"}},
		"its author may be in a group that may":                {object: account("web", `{"role":"mallory"}`), rbac: strings.Replace(webHolder, "user:alice", "group:web", 1), want: []string{"label-use ? a"}},
		"its author may be in a group of every verb":           {object: account("db", `{"role":"mallory"}`), rbac: "clusterrole r * *\nclusterbind b clusterrole:r group:admins", want: []string{"label-use nobody-may a"}},
		"its author is a service account, of known groups":     {object: account("web", `{"role":"system:serviceaccount:ci:d"}`), rbac: strings.Replace(webHolder, "user:alice", "group:web", 1), want: []string{"label-use author-may-not a"}},
		"its author is a service account whose group may":      {object: account("web", `{"role":"system:serviceaccount:ci:d"}`), rbac: strings.Replace(webHolder, "user:alice", "group:system:serviceaccounts:ci", 1)},
		"its author is exempt":                                 {object: account("db", `{"role":"olga"}`), guard: exempt},
		"its author may be in a group that is exempt":          {object: account("web", `{"role":"mallory"}`), guard: exempt, rbac: webHolder, want: []string{"label-use ? a"}},
		"nobody knows who put it, and somebody may":            {object: account("web", ""), rbac: webHolder, want: []string{"label-use ? a"}},
		"nobody knows who put it, and nobody may":              {object: account("db", ""), rbac: webHolder, want: []string{"label-use nobody-may a"}},
		"a claim that does not parse claims nothing":           {object: account("web", "x"), rbac: webHolder, want: []string{"label-use ? a"}},
		"a claim of another label":                             {object: account("web", `{"other":"alice"}`), rbac: webHolder, want: []string{"label-use ? a"}},
		"its author cannot be asked about":                     {object: account("web", `{"role":"alice"}`), rbac: webHolder, change: func(o *scan.Options, _ *rig) { o.Authorizer = deaf{} }, want: []string{"label-use ? a"}},
		"its author cannot be asked about, and nobody may":     {object: account("db", `{"role":"alice"}`), rbac: webHolder, change: func(o *scan.Options, _ *rig) { o.Authorizer = deaf{} }, want: []string{"label-use ? a"}},
		"a label that nobody guards":                           {object: "{kind: ServiceAccount, metadata: {name: a, labels: {other: x}}}"},
		"an author of a label where no guard holds":            {object: account("web", `{"role":"mallory"}`), guard: `{metadata: {name: strict}, spec: {namespaceSelector: {matchLabels: {env: dev}}, labels: {keys: [role]}}}`},
		"a guard by labels, and a namespace that is not known": {object: strings.Replace(account("web", ""), "name: a", "name: a, namespace: new", 1), guard: `{metadata: {name: strict}, spec: {namespaceSelector: {matchLabels: {env: prod}}, labels: {keys: [role]}}}`, want: []string{" ? a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			change := func(*scan.Options, *rig) {}
			if tc.change != nil {
				change = tc.change
			}
			if tc.guard == "" {
				tc.guard = strict
			}
			got := words(newRig(t, tc.guard, tc.rbac, change).look(t, tc.object))
			if tc.want == nil {
				tc.want = []string{}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A violation is of the guards that look at it, and of no other.
func TestWhoseViolationItIs(t *testing.T) {
	text := strict + `
---
{metadata: {name: labels}, spec: {labels: {mode: Audit, keys: [role]}}}
---
{metadata: {name: other-key}, spec: {labels: {keys: [team]}}}
---
{metadata: {name: workloads}, spec: {workloads: {mode: "Off"}}}
---
{metadata: {name: elsewhere}, spec: {namespaceSelector: {matchLabels: {env: dev}}, labels: {keys: [role]}, workloads: {}}}`
	r := newRig(t, text, "")
	for object, want := range map[string][]string{
		account("db", ""): {"labels", "strict"},
		podOf("api", ""):  {"strict"},
	} {
		v := r.look(t, object)
		if len(v.Violations) != 1 || !slices.Equal(v.Violations[0].Guards, want) {
			t.Errorf("%s: %+v, want guards %q", object, v.Violations, want)
		}
	}
	v := r.Missing(t.Context(), scan.Object{Kind: "Pod"}, "may not list pods")
	if len(v.Unjudged) != 1 || len(v.Unjudged[0].Guards) != 5 {
		t.Errorf("what could not be read at all: %+v", v)
	}
}

func TestHollow(t *testing.T) {
	w := rbactest.MustParse(t, "clusterrole r impersonate users\nbind prod/b clusterrole:r group:editors\nbind dev/b clusterrole:r group:editors\nbind kube-system/b clusterrole:r group:editors")
	in := hollow.Input{RBAC: &hollow.Objects{ClusterRoles: w.ClusterRoles, RoleBindings: w.RoleBindings}, Guards: decision.Unknown[hollow.GuardModes]("")}
	r := newRig(t, `{metadata: {name: strict}, spec: {namespaceSelector: {matchLabels: {env: prod}}, workloads: {}}}`, "")
	v := r.Hollow(t.Context(), in)
	if len(v.Violations) != 1 || v.Violations[0].Object.String() != "RoleBinding prod/b" || v.Violations[0].Power != hollow.Impersonate {
		t.Errorf("%+v", v.Violations)
	}
}

// What the API server binds itself is no violation; what only looks like it is.
func TestBootstrapBindings(t *testing.T) {
	binding := func(name, role, group string) string {
		return "{kind: ClusterRoleBinding, apiVersion: rbac.authorization.k8s.io/v1, metadata: {name: '" + name + "', labels: {kubernetes.io/bootstrapping: rbac-defaults}}, roleRef: {kind: ClusterRole, apiGroup: rbac.authorization.k8s.io, name: '" + role + "'}, subjects: [{kind: Group, name: '" + group + "'}]}"
	}
	for text, want := range map[string]int{
		binding("system:discovery", "system:discovery", "system:authenticated"):   0,
		binding("system:discovery", "cluster-admin", "system:authenticated"):      1,
		binding("system:discovery", "system:discovery", "system:unauthenticated"): 1,
		binding("discovery", "system:discovery", "system:authenticated"):          1,
	} {
		r := newRig(t, `{metadata: {name: strict}, spec: {defaultAccount: {}}}`, "")
		if v := r.look(t, text); len(v.Violations) != want {
			t.Errorf("%s: %+v", text, v.Violations)
		}
	}
}

func TestEveryCheckIsInTheClosedSet(t *testing.T) {
	all := scan.Checks()
	for _, c := range webhook.Checks() {
		if has := slices.Contains(all, c.ID); has == (c.ID == webhook.CheckAccountConnect) {
			t.Errorf("%s: %v", c.ID, has)
		}
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("%q", all)
	}
}

// Workloads come before what they own, and each kind of pod template is looked at.
func TestResourcesAreInOrder(t *testing.T) {
	at := map[string]int{}
	for i, r := range scan.Resources() {
		at[r.Resource.GroupResource().String()] = i
	}
	for _, b := range webhook.BuiltinTemplates() {
		name := b.Resource
		if b.Group != "" {
			name += "." + b.Group
		}
		if _, ok := at[name]; !ok {
			t.Errorf("%s is not looked at", name)
		}
	}
	for _, pair := range [][2]string{{"deployments.apps", "replicasets.apps"}, {"cronjobs.batch", "jobs.batch"}, {"replicasets.apps", "pods"}, {"jobs.batch", "pods"}, {"statefulsets.apps", "controllerrevisions.apps"}, {"namespaces", "serviceaccounts"}} {
		if at[pair[0]] > at[pair[1]] {
			t.Errorf("%s comes after %s", pair[0], pair[1])
		}
	}
}

func TestTally(t *testing.T) {
	tally := scan.NewTally(scan.Limits{PerNamespace: 2, Total: 5}, []string{"strict", "quiet"})
	for i := range 4 {
		for _, namespace := range []string{"b", "a"} {
			o := scan.Object{Kind: "Pod", Namespace: namespace, Name: fmt.Sprint(9 - i)}
			tally.Add(scan.Verdict{
				Violations: []scan.Violation{{Check: "account-use", Object: o, Certainty: scan.NobodyMay, Mode: "Enforce", Guards: []string{"strict"}}},
				Unjudged:   []scan.Unjudged{{Object: o, Guards: []string{"strict", "late"}}},
			})
		}
	}
	tally.Looked(8)
	r := tally.Result()
	if r.Objects != 8 || r.Total != 8 || r.TotalUnjudged != 8 || r.NotShown != 11 || len(r.Violations)+len(r.Unjudged) != 5 {
		t.Errorf("%+v", r)
	}
	if g := r.ByGuard["strict"]; g.Violations != 8 || g.Unjudged != 8 || g.ByCheck["account-use"] != 8 {
		t.Errorf("strict: %+v", g)
	}
	if g, ok := r.ByGuard["quiet"]; !ok || g.Violations != 0 {
		t.Errorf("quiet: %+v", g)
	}
	if c := r.ByNamespace["a"]; c != (scan.Count{Violations: 4, Unjudged: 4}) {
		t.Errorf("a: %+v", c)
	}
	if r.Violations[0].Object.Namespace != "a" {
		t.Error("not sorted")
	}
}

// What is added after a mark can be forgotten, and nothing before it.
func TestTallyGoesBack(t *testing.T) {
	verdict := func(name string) scan.Verdict {
		o := scan.Object{Kind: "Pod", Namespace: name, Name: name}
		return scan.Verdict{Violations: []scan.Violation{{Check: name, Object: o, Certainty: scan.Certain, Guards: []string{"strict"}}}, Unjudged: []scan.Unjudged{{Object: o, Guards: []string{"strict"}}}}
	}
	make := func(names ...string) *scan.Tally {
		tally := scan.NewTally(scan.Limits{PerNamespace: 3}, []string{"strict"})
		for _, n := range names {
			tally.Looked(1)
			tally.Add(verdict(n))
		}
		return tally
	}
	tally := make("a", "b")
	mark := tally.Mark()
	for _, n := range []string{"a", "c", "a", "a", "b"} {
		tally.Looked(1)
		tally.Add(verdict(n))
	}
	tally.Back(mark)
	tally.Looked(1)
	tally.Add(verdict("d"))
	if got, want := tally.Result(), make("a", "b", "d").Result(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestScannerWantsItsParts(t *testing.T) {
	if _, err := scan.New(scan.Options{}); err == nil {
		t.Error("made of nothing")
	}
}
