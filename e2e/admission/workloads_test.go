package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// team is a tenant whose user may write every workload kind, and run as account web only.
type team struct {
	*tenant
	dynamic    dynamic.Interface
	kubeconfig string
}

// workloadKinds are the built-in kinds with a pod template, each with what stands around the pod spec.
var workloadKinds = []struct {
	gvr  schema.GroupVersionResource
	kind string
	wrap func(podSpec string) string
}{
	{gvr: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, kind: "Pod", wrap: func(s string) string { return `"spec":` + s }},
	{gvr: schema.GroupVersionResource{Version: "v1", Resource: "podtemplates"}, kind: "PodTemplate", wrap: func(s string) string { return `"template":{"spec":` + s + `}` }},
	{gvr: schema.GroupVersionResource{Version: "v1", Resource: "replicationcontrollers"}, kind: "ReplicationController", wrap: func(s string) string { return `"spec":{"replicas":0,"selector":{"app":"x"},` + templated(s) + `}` }},
	{gvr: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, kind: "Deployment", wrap: selecting(`"replicas":0,`)},
	{gvr: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, kind: "ReplicaSet", wrap: selecting(`"replicas":0,`)},
	{gvr: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, kind: "StatefulSet", wrap: selecting(`"replicas":0,"serviceName":"x",`)},
	{gvr: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, kind: "DaemonSet", wrap: selecting("")},
	{gvr: schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, kind: "Job", wrap: func(s string) string { return `"spec":{"suspend":true,"template":{"spec":` + s + `}}` }},
	{gvr: schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}, kind: "CronJob", wrap: func(s string) string {
		return `"spec":{"suspend":true,"schedule":"0 0 1 1 *","jobTemplate":{"spec":{"template":{"spec":` + s + `}}}}`
	}},
}

func templated(podSpec string) string {
	return `"template":{"metadata":{"labels":{"app":"x"}},"spec":` + podSpec + `}`
}

func selecting(more string) func(string) string {
	return func(podSpec string) string {
		return `"spec":{` + more + `"selector":{"matchLabels":{"app":"x"}},` + templated(podSpec) + `}`
	}
}

// podSpec names the account in the fields given; restartPolicy Never is what every kind but the long-running takes.
func podSpec(kind, image, accounts string) string {
	policy := "Always"
	if kind == "Job" || kind == "CronJob" {
		policy = "Never"
	}
	return fmt.Sprintf(`{"restartPolicy":%q,"automountServiceAccountToken":false,%s"containers":[{"name":"c","image":%q}]}`, policy, accounts, image)
}

func newTeam(t *testing.T, guard string) *team {
	t.Helper()
	tn := newTenant(t)
	kubeconfig, err := shared.CP.Kubeconfig(tn.user, "group-"+tn.namespace)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dynamic.NewForConfig(userConfig(t, tn.user, "group-"+tn.namespace))
	if err != nil {
		t.Fatal(err)
	}
	te := &team{tenant: tn, dynamic: c, kubeconfig: kubeconfig}
	tn.existing("web")
	tn.existing("payments")
	tn.waitFor("the default account", func(ctx context.Context) error {
		_, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	tn.role("workloads",
		rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"apps", "batch"}, Resources: []string{"*"}},
		rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{
			"pods", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers", "secrets", "serviceaccounts/token",
		}},
		rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"web"}},
	)
	tn.bind("workloads", "workloads", rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "group-" + tn.namespace})
	tn.guard(guard)
	if strings.Contains(guard, "Enforce") {
		tn.waitFor("the guard", func(ctx context.Context) error {
			if err := te.create(ctx, 0, "probe", `"serviceAccountName":"payments",`, true); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "saguard.io") {
				return fmt.Errorf("not enforced yet: %v", err)
			}
			return nil
		})
	}
	tn.waitFor("the team's grant", func(ctx context.Context) error {
		return te.create(ctx, 0, "probe", `"serviceAccountName":"web",`, true)
	})
	return te
}

const strictWorkloads = `"workloads":{"mode":"Enforce","connect":"Enforce","tokens":"Enforce"}`

// create makes an object of workloadKinds[kind].
func (te *team) create(ctx context.Context, kind int, name, accounts string, dry bool) error {
	k := workloadKinds[kind]
	apiVersion := k.gvr.GroupVersion().String()
	text := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q},%s}`, apiVersion, k.kind, name, k.wrap(podSpec(k.kind, "example/app:1", accounts)))
	obj := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &obj.Object); err != nil {
		te.t.Fatalf("%s: %v", text, err)
	}
	o := metav1.CreateOptions{}
	if dry {
		o.DryRun = []string{metav1.DryRunAll}
	}
	_, err := te.dynamic.Resource(k.gvr).Namespace(te.namespace).Create(ctx, obj, o)
	return err
}

func TestEveryWorkloadKindIsJudgedByItsAccount(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	for i, k := range workloadKinds {
		t.Run(k.kind, func(t *testing.T) {
			for name, tc := range map[string]struct {
				accounts string
				lacks    string // "" = allowed
			}{
				"own":       {accounts: `"serviceAccountName":"web",`},
				"other":     {accounts: `"serviceAccountName":"payments",`, lacks: "serviceaccounts/payments"},
				"unnamed":   {lacks: "serviceaccounts/default"},
				"by-alias":  {accounts: `"serviceAccount":"payments",`, lacks: "serviceaccounts/payments"},
				"own-alias": {accounts: `"serviceAccount":"web",`},
			} {
				err := te.create(t.Context(), i, "w-"+name, tc.accounts, false)
				if tc.lacks == "" {
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				denied(t, err, "can-i use "+tc.lacks+" -n "+te.namespace)
			}
		})
	}
}

// A template's writer is judged; what the real controllers make of it passes without any grant to them.
func TestControllersFollowTheTemplate(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	ctx := t.Context()
	const deployments = 3
	if err := te.create(ctx, deployments, "app", `"serviceAccountName":"web",`, false); err != nil {
		t.Fatal(err)
	}
	client := te.dynamic.Resource(workloadKinds[deployments].gvr).Namespace(te.namespace)
	patch := func(text string) error {
		_, err := client.Patch(ctx, "app", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	if err := patch(`{"spec":{"replicas":2}}`); err != nil {
		t.Fatalf("scaling: %v", err)
	}
	pods := func(image string, want int) {
		t.Helper()
		te.waitFor(fmt.Sprintf("%d pods of %s", want, image), func(ctx context.Context) error {
			list, err := te.admin.CoreV1().Pods(te.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=x"})
			if err != nil {
				return err
			}
			n := 0
			for _, p := range list.Items {
				if p.Spec.ServiceAccountName == "web" && p.Spec.Containers[0].Image == image {
					n++
				}
			}
			if n < want {
				return fmt.Errorf("%d pods", n)
			}
			return nil
		})
	}
	pods("example/app:1", 2)
	// Without use of the account, what runs as it cannot be changed; how much of it runs, and what is said about it, can.
	rbac := te.admin.RbacV1().Roles(te.namespace)
	role, err := rbac.Get(ctx, "workloads", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	granted := role.DeepCopy()
	role.Rules = role.Rules[:2]
	if role, err = rbac.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	te.waitFor("the revocation", func(ctx context.Context) error {
		if err := te.create(ctx, 0, "probe", `"serviceAccountName":"web",`, true); !apierrors.IsForbidden(err) {
			return fmt.Errorf("still allowed: %v", err)
		}
		return nil
	})
	denied(t, patch(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"example/app:2"}]}}}}`), "serviceaccounts/web")
	if _, err := shared.Kubectl(ctx, te.kubeconfig, "rollout", "restart", "deployment/app", "-n", te.namespace); err == nil {
		t.Error("a rollout restart, which changes the template, passed without use of the account")
	}
	for _, change := range []struct{ what, patch string }{
		{what: "scaling", patch: `{"spec":{"replicas":3}}`},
		{what: "a label", patch: `{"metadata":{"labels":{"a":"b"}}}`},
		{what: "pausing", patch: `{"spec":{"paused":true}}`},
		{what: "going on", patch: `{"spec":{"paused":false}}`},
	} {
		if err := patch(change.patch); err != nil {
			t.Errorf("%s: %v", change.what, err)
		}
	}
	if _, err := shared.Kubectl(ctx, te.kubeconfig, "scale", "deployment/app", "--replicas=2", "-n", te.namespace); err != nil {
		t.Errorf("scaling by its subresource: %v", err)
	}
	role.Rules = granted.Rules
	if _, err := rbac.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	te.waitFor("the new image", func(context.Context) error {
		return patch(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"example/app:2"}]}}}}`)
	})
	pods("example/app:2", 1)
	if _, err := shared.Kubectl(ctx, te.kubeconfig, "rollout", "restart", "deployment/app", "-n", te.namespace); err != nil {
		t.Error(err)
	}
	// A CronJob's Job, and the pods of a Job, are the controllers' own work too.
	const jobs, cronJobs = 7, 8
	if err := te.create(ctx, cronJobs, "nightly", `"serviceAccountName":"web",`, false); err != nil {
		t.Fatal(err)
	}
	cron := te.dynamic.Resource(workloadKinds[cronJobs].gvr).Namespace(te.namespace)
	if _, err := cron.Patch(ctx, "nightly", types.MergePatchType, []byte(`{"spec":{"suspend":false,"schedule":"* * * * *"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := te.create(ctx, jobs, "once", `"serviceAccountName":"web",`, false); err != nil {
		t.Fatal(err)
	}
	if _, err := te.dynamic.Resource(workloadKinds[jobs].gvr).Namespace(te.namespace).Patch(ctx, "once", types.MergePatchType, []byte(`{"spec":{"suspend":false}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	te.waitFor("the Job's pod", func(ctx context.Context) error {
		list, err := te.admin.CoreV1().Pods(te.namespace).List(ctx, metav1.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=once"})
		if err == nil && len(list.Items) == 0 {
			err = fmt.Errorf("no pod")
		}
		return err
	})
	te.waitForLong("the CronJob's Job and its pod", func(ctx context.Context) error {
		list, err := te.admin.CoreV1().Pods(te.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range list.Items {
			if strings.HasPrefix(p.Name, "nightly-") {
				return nil
			}
		}
		return fmt.Errorf("no pod")
	})
	te.deleteNamespace()
}
