package safetynet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
)

// attempt is one request of the mirror's table; all are dry runs.
type attempt struct {
	name string
	// denied says which of the team's users are refused by both: 0 the one without grants, 1 the one with them.
	denied [2]bool
	// limit is the row of docs/safety-net.md that says why the two differ; passesNet or deniedByNet says how, for the user
	// without grants.
	limit                  string
	passesNet, deniedByNet bool
	do                     func(context.Context, *caller) error
}

type caller struct {
	kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
}

// dry are options of a request that leaves nothing behind.
func dry() []string { return []string{metav1.DryRunAll} }

func (c *caller) create(ctx context.Context, t *testing.T, text string) error {
	o := object(t, text)
	_, err := c.resource(o).Create(ctx, o, metav1.CreateOptions{DryRun: dry()})
	return err
}

func (c *caller) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	plural := strings.ToLower(o.GetKind()) + "s"
	if strings.HasSuffix(plural, "ys") {
		plural = strings.TrimSuffix(plural, "ys") + "ies"
	}
	return c.dynamic.Resource(o.GroupVersionKind().GroupVersion().WithResource(plural)).Namespace(c.namespace)
}

func (c *caller) patch(ctx context.Context, resource, name, merge string) error {
	gv := schema.GroupVersion{Version: "v1"}
	if resource == "deployments" || resource == "controllerrevisions" {
		gv.Group = "apps"
	}
	_, err := c.dynamic.Resource(gv.WithResource(resource)).Namespace(c.namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(merge), metav1.PatchOptions{DryRun: dry()})
	return err
}

const (
	containers = `containers: [{name: c, image: example/a}]`
	selector   = `selector: {matchLabels: {a: b}}, `
)

func templateOf(account string) string {
	return `{metadata: {labels: {a: b}}, spec: {serviceAccountName: ` + account + `, restartPolicy: Always, ` + containers + `}}`
}

func workload(apiVersion, kind, extra, account string) string {
	template := templateOf(account)
	if kind == "Job" {
		template = strings.Replace(template, "Always", "Never", 1)
	}
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: x}, spec: {%s template: %s}}", apiVersion, kind, extra, template)
}

func labels(pairs string) string {
	return `{"metadata":{"labels":{` + pairs + `}}}`
}

// attempts is the table. Grants are those of newPair.
func attempts(t *testing.T) []attempt {
	neither, both, first := [2]bool{}, [2]bool{true, true}, [2]bool{true, false}
	create := func(text string) func(context.Context, *caller) error {
		return func(ctx context.Context, c *caller) error { return c.create(ctx, t, text) }
	}
	patch := func(resource, name, merge string) func(context.Context, *caller) error {
		return func(ctx context.Context, c *caller) error { return c.patch(ctx, resource, name, merge) }
	}
	pod := func(account string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {" + account + containers + "}}"
	}
	account := func(name, labels string) string {
		return "{apiVersion: v1, kind: ServiceAccount, metadata: {name: " + name + ", labels: {" + labels + "}}}"
	}
	many := func(n int, format string) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return strings.Join(out, ", ")
	}
	cron := "{apiVersion: batch/v1, kind: CronJob, metadata: {name: x}, spec: {schedule: '* * * * *', jobTemplate: {spec: {template: " + strings.Replace(templateOf("web"), "Always", "Never", 1) + "}}}}"
	return []attempt{
		{name: "a pod as an account of one's own", denied: first, do: create(pod("serviceAccountName: web, "))},
		{name: "a pod by the account's old name", denied: first, do: create(pod("serviceAccount: web, "))},
		{name: "a pod as another account", denied: both, do: create(pod("serviceAccountName: db, "))},
		{name: "a pod that names nobody", denied: both, do: create(pod(""))},
		{name: "a pod with a generated name", denied: first, do: create(strings.Replace(pod("serviceAccountName: web, "), "name: x", "generateName: x-", 1))},
		{name: "a deployment", denied: first, do: create(workload("apps/v1", "Deployment", selector, "web"))},
		{name: "a deployment as another account", denied: both, do: create(workload("apps/v1", "Deployment", selector, "db"))},
		{name: "a stateful set", denied: first, do: create(workload("apps/v1", "StatefulSet", selector+"serviceName: s, ", "web"))},
		{name: "a daemon set", denied: first, do: create(workload("apps/v1", "DaemonSet", selector, "web"))},
		{name: "a replica set", denied: first, do: create(workload("apps/v1", "ReplicaSet", selector, "web"))},
		{name: "a replication controller", denied: first, do: create(workload("v1", "ReplicationController", "selector: {a: b}, ", "web"))},
		{name: "a pod template", denied: first, do: create("{apiVersion: v1, kind: PodTemplate, metadata: {name: x}, template: " + templateOf("web") + "}")},
		{name: "a job", denied: first, do: create(workload("batch/v1", "Job", "", "web"))},
		{name: "a cron job", denied: first, do: create(cron)},
		{name: "another image", denied: first, do: patch("deployments", "app", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"example/b"}]}}}}`)},
		{name: "another account", denied: both, do: patch("deployments", "app", `{"spec":{"template":{"spec":{"serviceAccountName":"db","serviceAccount":"db"}}}}`)},
		{name: "more replicas", denied: neither, do: patch("deployments", "app", `{"spec":{"replicas":0}}`)},
		{name: "a deployment's label", denied: neither, do: patch("deployments", "app", labels(`"x":"y"`))},
		{name: "a pod's image", denied: first, do: patch("pods", "app", `{"spec":{"containers":[{"name":"c","image":"example/b"}]}}`)},
		{name: "a pod's label", denied: neither, do: patch("pods", "app", labels(`"x":"y"`))},
		{name: "a pod's end", denied: neither, do: func(ctx context.Context, c *caller) error {
			return c.CoreV1().Pods(c.namespace).Delete(ctx, "app", metav1.DeleteOptions{DryRun: dry()})
		}},

		{name: "an account without labels", denied: neither, do: create(account("x", ""))},
		{name: "an account with a guarded label", denied: first, do: create(account("x", "role: own"))},
		{name: "an account with another's label", denied: both, do: create(account("x", "role: theirs"))},
		{name: "an account with a label that is not guarded", denied: neither, do: create(account("x", "color: red"))},
		{name: "an account with a generated name", denied: first, do: create(strings.Replace(account("x", "role: own"), "name: x", "generateName: x-", 1))},
		{name: "a label by any value", denied: first, do: patch("serviceaccounts", "plain", labels(`"any":"v"`))},
		{name: "a label by its prefix", denied: first, do: patch("serviceaccounts", "plain", labels(`"example.com/team":"v"`))},
		{name: "a label of a longer prefix", denied: neither, do: patch("serviceaccounts", "plain", labels(`"sub.example.com/team":"v"`))},
		{name: "a label of one account", denied: first, do: patch("serviceaccounts", "web", labels(`"bound":"v"`))},
		{name: "that label of another account", denied: both, do: patch("serviceaccounts", "plain", labels(`"bound":"v"`))},
		{name: "all labels of one account", denied: first, do: patch("serviceaccounts", "free", labels(`"role":"theirs","bound":"w"`))},
		{name: "from one value to another", denied: first, do: patch("serviceaccounts", "web", labels(`"role":"also"`))},
		{name: "to another's value", denied: both, do: patch("serviceaccounts", "web", labels(`"role":"theirs"`))},
		{name: "from another's value", denied: both, do: patch("serviceaccounts", "db", labels(`"role":"own"`))},
		{name: "taking a label off", denied: first, do: patch("serviceaccounts", "web", labels(`"role":null`))},
		{name: "taking another's off", denied: both, do: patch("serviceaccounts", "db", labels(`"role":null`))},
		{name: "the empty value", denied: both, do: patch("serviceaccounts", "web", labels(`"role":""`))},
		{name: "an annotation of a labelled account", denied: neither, do: patch("serviceaccounts", "db", `{"metadata":{"annotations":{"x":"y"}}}`)},
		{name: "deleting an account", denied: first, do: func(ctx context.Context, c *caller) error {
			return c.CoreV1().ServiceAccounts(c.namespace).Delete(ctx, "web", metav1.DeleteOptions{DryRun: dry()})
		}},
		{name: "deleting another's account", denied: both, do: func(ctx context.Context, c *caller) error {
			return c.CoreV1().ServiceAccounts(c.namespace).Delete(ctx, "db", metav1.DeleteOptions{DryRun: dry()})
		}},
		{name: "deleting all accounts", denied: both, do: func(ctx context.Context, c *caller) error {
			return c.CoreV1().ServiceAccounts(c.namespace).DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry()}, metav1.ListOptions{})
		}},
		{name: "twenty-eight labels", denied: first, do: patch("serviceaccounts", "plain", labels(many(28, `"any%d":"v"`)))},
		{name: "twenty-eight labels and another's", denied: both, do: patch("serviceaccounts", "plain", labels(many(27, `"any%d":"v"`)+`, "role":"theirs"`))},

		{name: "more labels than the net can count", denied: first, limit: "more than 30 guarded labels", deniedByNet: true, do: patch("serviceaccounts", "plain", labels(many(31, `"any%d":"v"`)))},
		{name: "more labels than the net can read", denied: neither, limit: "more than 500 labels", deniedByNet: true, do: patch("serviceaccounts", "plain", labels(many(501, `"x%d":"v"`)))},
		{name: "a label that policies read", limit: "keys that policies read", passesNet: true, do: patch("serviceaccounts", "plain", labels(`"of-policy":"v"`))},
		{name: "a custom workload", limit: "custom kinds", passesNet: true, do: create("{apiVersion: example.com/v1, kind: Rollout, metadata: {name: x}, spec: {template: " + templateOf("web") + "}}")},
		{name: "a controller revision", limit: "ControllerRevisions", passesNet: true, do: create("{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: x}, revision: 1, data: {spec: {template: {$patch: replace, spec: {serviceAccountName: web, " + containers + "}}}}}")},
		{name: "a token", limit: "credentials", passesNet: true, do: func(ctx context.Context, c *caller) error {
			_, err := c.CoreV1().ServiceAccounts(c.namespace).CreateToken(ctx, "web", &authenticationv1.TokenRequest{}, metav1.CreateOptions{DryRun: dry()})
			return err
		}},
		{name: "a Secret for a token", limit: "credentials", passesNet: true, do: create("{apiVersion: v1, kind: Secret, metadata: {name: x, annotations: {kubernetes.io/service-account.name: web}}, type: kubernetes.io/service-account-token}")},
		{name: "exec", limit: "getting into pods", passesNet: true, do: func(ctx context.Context, c *caller) error {
			err := c.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.namespace).Name("app").SubResource("exec").VersionedParams(&corev1.PodExecOptions{Command: []string{"x"}}, scheme.ParameterCodec).Do(ctx).Error()
			if denied, _ := refused(err); !denied {
				return nil // the pod is on no node
			}
			return err
		}},
		{name: "a claim who put a label", limit: "who put a label", passesNet: true, do: func(ctx context.Context, c *caller) error {
			claim := `{"metadata":{"annotations":{"saguard.io/labelled-by":"{\"role\":\"eve\"}"}}}`
			a, err := c.CoreV1().ServiceAccounts(c.namespace).Patch(ctx, "plain", types.MergePatchType, []byte(claim), metav1.PatchOptions{DryRun: dry()})
			if err == nil && !strings.Contains(a.Annotations["saguard.io/labelled-by"], "eve") {
				return errClaimRemoved
			}
			return err
		}},
		{name: "a policy", limit: "Calico's policies", passesNet: true, do: create("{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: default.x}, spec: {ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}}}]}}")},
		{name: "a reserved label", limit: "reserved labels", passesNet: true, do: patch("pods", "app", labels(`"pcsa.role":"x"`))},
		{name: "a binding to the account default", limit: "bindings to accounts named default", passesNet: true, do: create("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: work}, subjects: [{kind: ServiceAccount, name: default}]}")},
	}
}

// newPair makes a team with two users, the second of whom holds permissions, and what they are to change.
func newPair(t *testing.T) (*team, [2]*caller) {
	t.Helper()
	te := newTeam(t)
	second := "bob-" + te.namespace
	te.role("work-too", workRule(), second)
	te.role("accounts", use("serviceaccounts", "web"), second)
	te.role("labels", use("serviceaccounts/labels", append([]string{"role=own", "role=also", "any=*", "example.com/*", "web:bound=v", "free:*"}, anyKeys()...)...), second)
	ctx := t.Context()
	for name, labels := range map[string]map[string]string{"plain": nil, "web": {"role": "own"}, "db": {"role": "theirs"}, "free": nil} {
		if _, err := shared.admin.CoreV1().ServiceAccounts(te.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	admin := &caller{dynamic: shared.objects, namespace: te.namespace}
	for _, text := range []string{
		strings.Replace(workload("apps/v1", "Deployment", selector+"replicas: 1, paused: true,", "web"), "name: x", "name: app", 1),
		"{apiVersion: v1, kind: Pod, metadata: {name: app}, spec: {serviceAccountName: web, " + containers + "}}",
		"{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: default.reads}, spec: {serviceAccountSelector: 'has(of-policy)'}}",
	} {
		o := object(t, text)
		if _, err := admin.resource(o).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var pair [2]*caller
	for i, user := range []string{te.user, second} {
		cfg, err := shared.CP.User(user, "developers")
		if err != nil {
			t.Fatal(err)
		}
		d, err := dynamic.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pair[i] = &caller{Interface: as(t, user, "developers"), dynamic: d, namespace: te.namespace}
	}
	return te, pair
}

func anyKeys() []string {
	var out []string
	for i := range 31 {
		out = append(out, fmt.Sprintf("any%d=*", i))
	}
	return out
}

// mirrorGuard is all that the table rests on.
func mirrorGuard(mode string) string {
	keys := append([]string{"role", "any", "bound", "example.com/*"}, func() (out []string) {
		for i := range 31 {
			out = append(out, fmt.Sprintf("any%d", i))
		}
		return out
	}()...)
	list, _ := json.Marshal(keys) //nolint:errcheck // strings
	return fmt.Sprintf(`
labels: {mode: %[1]s, keys: %[2]s, fromPolicies: true},
workloads: {mode: %[1]s, connect: %[1]s, tokens: %[1]s, templates: [{apiGroup: example.com, kind: Rollout, path: spec.template}]},
policies: {references: %[1]s, precedence: %[1]s, hygiene: %[1]s},
defaultAccount: {bindings: %[1]s}`, mode, list)
}

// The table through the net alone, and through the webhook alone: what differs is what the documentation says, and no more. What
// both refuse names the same permission.
func TestNetAndWebhookDifferAsDocumented(t *testing.T) {
	te, pair := newPair(t)
	te.guard(mirrorGuard("Enforce"))
	table := attempts(t)
	denies := func(ctx context.Context) error { return table[2].do(ctx, pair[1]) }
	canI := regexp.MustCompile(`check: kubectl auth can-i .*`)
	play := func() map[string][2]string {
		out := map[string][2]string{}
		for _, a := range table {
			var got [2]string
			for i, c := range pair {
				err := a.do(t.Context(), c)
				denied, err2 := refused(err)
				if err2 != nil {
					t.Errorf("%s, user %d: %v", a.name, i, err2)
				}
				if denied {
					got[i] = canI.FindString(err.Error()) + " "
				}
			}
			out[a.name] = got
		}
		return out
	}
	until(t, "the net", true, denies)
	byNet := play()

	ctx := context.WithoutCancel(t.Context())
	if err := shared.removeBindings(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the net is gone", false, denies)
	if err := shared.restoreWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{shared.restoreBindings(ctx), shared.removeWebhook(ctx)} {
			if err != nil {
				t.Error(err)
			}
		}
		until(t, "the net again", true, denies)
	})
	until(t, "the webhook", true, denies)
	byWebhook := play()

	rows := documentedLimits(t)
	seen := map[string]bool{}
	for _, a := range table {
		net, hook := byNet[a.name], byWebhook[a.name]
		var netDenies, hookDenies [2]bool
		for i := range 2 {
			netDenies[i], hookDenies[i] = net[i] != "", hook[i] != ""
		}
		switch {
		case a.limit == "":
			if netDenies != a.denied || hookDenies != a.denied {
				t.Errorf("%s: net %q, webhook %q, want refused %v", a.name, net, hook, a.denied)
			}
			for i := range 2 {
				// The webhook lists all that is missing, the API server one denial of policies.
				if a.denied[i] && strings.Count(hook[i], "check: ") == 1 && net[i] != hook[i] {
					t.Errorf("%s, user %d: the net says %q, the webhook %q", a.name, i, net[i], hook[i])
				}
			}
		case a.passesNet && (netDenies[0] || !hookDenies[0]), a.deniedByNet && (!netDenies[1] || hookDenies[1]):
			t.Errorf("%s: net %q, webhook %q: they do not differ as the documentation says", a.name, net, hook)
		}
		if a.limit == "" {
			continue
		}
		i := slices.IndexFunc(rows, func(r string) bool { return strings.Contains(r, a.limit) })
		if i < 0 {
			t.Errorf("%s: docs/safety-net.md has no row for %q", a.name, a.limit)
			continue
		}
		seen[rows[i]] = true
	}
	for _, r := range rows {
		if !seen[r] {
			t.Errorf("docs/safety-net.md: nothing here shows %q", r)
		}
	}
	if len(rows) != len(slices.Collect(maps.Keys(seen))) {
		t.Errorf("%d rows, %d shown", len(rows), len(seen))
	}
}

// documentedLimits returns the rows of the table under "Where the two differ".
func documentedLimits(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/safety-net.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := bytes.Cut(page, []byte("## Where the two differ\n"))
	if !ok {
		t.Fatal("docs/safety-net.md: no such section")
	}
	section, _, _ := bytes.Cut(after, []byte("\n## "))
	var rows []string
	for _, line := range strings.Split(string(section), "\n") {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| what ") && !strings.HasPrefix(line, "|-") {
			rows = append(rows, line)
		}
	}
	if len(rows) == 0 {
		t.Fatal("docs/safety-net.md: no limits")
	}
	return rows
}
