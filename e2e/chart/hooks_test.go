package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// hooksOf renders as `helm install` does and leaves the hooks of a phase.
func hooksOf(t *testing.T, values, phase string) *Rendered {
	t.Helper()
	rendered, err := Render(dir, valuesOf(t, values), Options{Live: true})
	if err != nil {
		t.Fatal(err)
	}
	out := &Rendered{}
	for _, hook := range rendered.Hooks {
		if hook.GetAnnotations()["helm.sh/hook"] == phase {
			out.Objects = append(out.Objects, hook)
		}
	}
	return out
}

// hookPods are the pods of both hooks with their labels, by phase.
func hookPods(t *testing.T, values string) map[string]corev1.PodTemplateSpec {
	t.Helper()
	test := one[*corev1.Pod](t, hooksOf(t, values, "test"))
	job := one[*batchv1.Job](t, hooksOf(t, values, "pre-delete"))
	return map[string]corev1.PodTemplateSpec{"test": {ObjectMeta: test.ObjectMeta, Spec: test.Spec}, "pre-delete": job.Spec.Template}
}

// TestHooksAreOfReleasesOnly: whoever applies what `helm template` prints would run the hook that switches saguard off.
func TestHooksAreOfReleasesOnly(t *testing.T) {
	tests := map[string]struct {
		values string
		live   bool
		phases []string
	}{
		"helm install":           {live: true, phases: []string{"pre-delete", "test"}},
		"helm template":          {},
		"no test":                {values: `{hooks: {test: false}}`, live: true, phases: []string{"pre-delete"}},
		"no removal":             {values: `{hooks: {unregister: false}}`, live: true, phases: []string{"test"}},
		"permissions of our own": {values: `{rbac: {create: false}}`, live: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rendered, err := Render(dir, valuesOf(t, test.values), Options{Live: test.live})
			if err != nil {
				t.Fatal(err)
			}
			phases := map[string]bool{}
			for _, hook := range rendered.Hooks {
				phases[hook.GetAnnotations()["helm.sh/hook"]] = true
			}
			if got := slices.Sorted(maps.Keys(phases)); !slices.Equal(got, test.phases) {
				t.Errorf("hooks of %v, want %v", got, test.phases)
			}
			for _, object := range rendered.Objects {
				if object.GetAnnotations()["helm.sh/hook"] != "" {
					t.Errorf("%s %s is a hook among the manifests", object.GetKind(), object.GetName())
				}
			}
		})
	}
}

// TestHooksMayDoOneThing, while they run.
func TestHooksMayDoOneThing(t *testing.T) {
	probe := map[string]bool{"create serviceaccountguards.saguard.io/saguard-admission-probe": true, "patch serviceaccountguards.saguard.io/saguard-admission-probe": true}
	probeThroughNet := maps.Clone(probe)
	probeThroughNet["escalate serviceaccountguards.saguard.io/saguard-admission-probe"] = true
	tests := map[string]struct {
		values, phase string
		want          map[string]bool
	}{
		"the test":                          {phase: "test", want: probe},
		"the test where the safety net is":  {values: `{safetyNet: {enabled: true}}`, phase: "test", want: probeThroughNet},
		"the test, own objects unprotected": {values: `{safetyNet: {enabled: true, ownObjects: false}}`, phase: "test", want: probe},
		"the removal": {phase: "pre-delete", want: map[string]bool{
			"delete validatingwebhookconfigurations.admissionregistration.k8s.io/validate.saguard.io": true,
			"delete mutatingwebhookconfigurations.admissionregistration.k8s.io/mutate.saguard.io":     true,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hooks := hooksOf(t, test.values, test.phase)
			got := map[string]bool{}
			add(got, "", one[*rbacv1.ClusterRole](t, hooks).Rules)
			if !maps.Equal(got, test.want) {
				t.Errorf("grants %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(test.want)))
			}
			account := one[*corev1.ServiceAccount](t, hooks)
			if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Error("pods get the account's token unasked")
			}
			pod := hookPods(t, test.values)[test.phase]
			if pod.Spec.ServiceAccountName != account.Name || pod.Spec.AutomountServiceAccountToken == nil || !*pod.Spec.AutomountServiceAccountToken {
				t.Errorf("the pod runs as %s", pod.Spec.ServiceAccountName)
			}
			if subjects := one[*rbacv1.ClusterRoleBinding](t, hooks).Subjects; !slices.Equal(subjects, []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: "saguard-system"}}) {
				t.Errorf("bound to %v", subjects)
			}
			for _, object := range hooks.Objects {
				annotations := object.GetAnnotations()
				policies := strings.Split(annotations["helm.sh/hook-delete-policy"], ",")
				runs := slices.Contains([]string{"Job", "Pod"}, object.GetKind())
				if !slices.Contains(policies, "before-hook-creation") {
					t.Errorf("%s stands in the way of the next one: %v", object.GetKind(), policies)
				}
				if !runs && (annotations["helm.sh/hook-weight"] != "-10" || !slices.Contains(policies, "hook-succeeded") || !slices.Contains(policies, "hook-failed")) {
					t.Errorf("%s is not made before the pod, or stays after it: %v", object.GetKind(), annotations)
				}
				if runs && annotations["helm.sh/hook-weight"] != "0" {
					t.Errorf("%s comes at %s", object.GetKind(), annotations["helm.sh/hook-weight"])
				}
				if object.GetLabels()["app.kubernetes.io/instance"] != "saguard" || object.GetLabels()["app.kubernetes.io/component"] != test.phase {
					t.Errorf("%s: labels %v", object.GetKind(), object.GetLabels())
				}
			}
		})
	}
}

func TestPodsOfHooks(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"default", "everything", "cert-manager"} {
		service := one[*corev1.Service](t, render(t, cases[name]))
		deployment := one[*appsv1.Deployment](t, render(t, cases[name]))
		for phase, pod := range hookPods(t, cases[name]) {
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, phase, result.ForbiddenDetail())
			}
			taken := true
			for key, value := range service.Spec.Selector {
				taken = taken && pod.Labels[key] == value
			}
			if taken {
				t.Errorf("%s: %s: the Service takes the pod for a replica of the webhook", name, phase)
			}
			container := pod.Spec.Containers[0]
			if container.Image != deployment.Spec.Template.Spec.Containers[0].Image || !slices.Equal(pod.Spec.ImagePullSecrets, deployment.Spec.Template.Spec.ImagePullSecrets) {
				t.Errorf("%s: %s: image %s", name, phase, container.Image)
			}
			if pod.Spec.RestartPolicy != corev1.RestartPolicyNever || len(container.Resources.Limits) == 0 {
				t.Errorf("%s: %s: restarts %s, resources %v", name, phase, pod.Spec.RestartPolicy, container.Resources)
			}
			if !maps.Equal(pod.Spec.NodeSelector, deployment.Spec.Template.Spec.NodeSelector) || len(pod.Spec.Tolerations) != len(deployment.Spec.Template.Spec.Tolerations) {
				t.Errorf("%s: %s: runs elsewhere than the webhook", name, phase)
			}
		}
	}
}

func TestArgumentsOfHooksAreCommandsOfTheWebhook(t *testing.T) {
	run := parsing(t, "saguard-webhook")
	if run([]string{"verify", "--cert-dir=x"}) == nil {
		t.Fatal("the command accepts any flag, so this test could not fail")
	}
	for phase, pod := range hookPods(t, "") {
		if args := pod.Spec.Containers[0].Args; run(args) != nil {
			t.Errorf("%s: saguard-webhook refuses %q", phase, args)
		}
	}
}
