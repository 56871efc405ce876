package helmtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/e2e/install"
)

// hook applies a hook's account with its permissions and returns the arguments of its pod, and the name of its account.
func (w world) hook(t *testing.T, phase string) (args []string, account string) {
	t.Helper()
	var rights []*unstructured.Unstructured
	for _, object := range w.render(t, "-hooks") {
		if object.GetAnnotations()["helm.sh/hook"] != phase {
			continue
		}
		var spec corev1.PodSpec
		switch object.GetKind() {
		case "Pod":
			pod := &corev1.Pod{}
			convert(t, object, pod)
			spec = pod.Spec
		case "Job":
			job := &batchv1.Job{}
			convert(t, object, job)
			spec = job.Spec.Template.Spec
		default:
			rights = append(rights, object)
			continue
		}
		args, account = spec.Containers[0].Args, spec.ServiceAccountName
		// The API server takes the pod as it is.
		object.SetAnnotations(nil)
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.KubectlStdin(t.Context(), w.Admin, strings.NewReader(string(text)), "create", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Error(err)
		}
	}
	w.apply(t, rights...)
	return args, account
}

func convert(t *testing.T, object *unstructured.Unstructured, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
		t.Fatal(err)
	}
}

// program runs the webhook's program with the arguments of a hook, as its account; more come last and win.
func (w world) program(t *testing.T, account string, args []string, more ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.webhook, slices.Concat(args, []string{"--kubeconfig", w.account(t, account)}, more)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (w world) failurePolicy(t *testing.T, policy string) {
	t.Helper()
	for _, object := range w.rendered(t, "-set", "webhook.failurePolicy.validating="+policy) {
		if object.GetKind() == "ValidatingWebhookConfiguration" {
			w.apply(t, object)
		}
	}
}

// rendered renders the chart as it is installed here, by URL.
func (w world) rendered(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	ca := t.TempDir() + "/ca.crt"
	writeFile(t, ca, w.CP.CABundle())
	return w.render(t, append([]string{
		"-set", "certificates.source=secret", "-set", "certificates.secretName=saguard-tls", "-set", "webhook.url=" + w.WebhookURL(), "-set-file", "webhook.caBundle=" + ca,
	}, args...)...)
}

// TestHelmTest runs what `helm test` does, in every state that it has to tell apart.
func TestHelmTest(t *testing.T) {
	w := shared
	args, account := w.hook(t, "test")

	if out, code := w.program(t, account, args); code != 0 || !strings.Contains(out, "admission is in force") {
		t.Errorf("exit code %d while admission is in force: %s", code, out)
	}
	if left := w.must(t, "get", "serviceaccountguards", "-o", "name"); left != "" {
		t.Errorf("left behind: %s", left)
	}

	t.Run("the account may ask nothing else", func(t *testing.T) {
		const other = `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"other"},"spec":{}}`
		for name, command := range map[string][]string{
			"another guard":           {"apply", "--server-side", "-f", "-"},
			"another guard, by POST":  {"create", "--validate=false", "-f", "-"},
			"guards that there are":   {"get", "serviceaccountguards"},
			"accounts":                {"get", "serviceaccounts", "-A"},
			"webhook configurations":  {"delete", "validatingwebhookconfiguration", "validate.saguard.io"},
			"the webhook's own Lease": {"get", "lease", "saguard-webhook", "-n", install.Namespace},
		} {
			out, err := w.CP.KubectlStdin(t.Context(), w.account(t, account), strings.NewReader(other), command...)
			if err != nil {
				t.Fatal(err)
			}
			if out.Code == 0 || !strings.Contains(out.Stderr, "orbidden") {
				t.Errorf("%s: exit code %d: %s%s", name, out.Code, out.Stdout, out.Stderr)
			}
		}
	})
	t.Run("an account without permission is told so at once", func(t *testing.T) {
		if out, code := w.program(t, "nobody", args); code != 1 || !strings.Contains(out, "cannot patch resource") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("the webhook is down", func(t *testing.T) {
		if err := w.StopWebhook(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out, code := w.program(t, account, args, "--timeout=2s"); code != 1 || !strings.Contains(out, "gave no answer") {
			t.Errorf("exit code %d under failurePolicy Fail: %s", code, out)
		}
		w.failurePolicy(t, "Ignore")
		eventually(t, "failurePolicy Ignore", w.dryRunGuard)
		if out, code := w.program(t, account, args, "--timeout=2s"); code != 1 || !strings.Contains(out, "was let pass") {
			t.Errorf("exit code %d under failurePolicy Ignore: %s", code, out)
		}
	})
	t.Run("the webhook is back meanwhile", func(t *testing.T) {
		w.failurePolicy(t, "Fail")
		if err := w.StartWebhookNotReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out, code := w.program(t, account, args); code != 0 {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
}

// TestUninstallHook runs what `helm uninstall` does first.
func TestUninstallHook(t *testing.T) {
	w := shared
	t.Cleanup(func() {
		if err := w.Register(contextWithout(t)); err != nil {
			t.Error(err)
		}
	})
	args, account := w.hook(t, "pre-delete")
	before := w.must(t, "get", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "-o", "name")
	if strings.Count(before, "saguard.io") != 2 {
		t.Fatalf("registered: %s", before)
	}
	other := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": "other.example.com"},
	}}
	w.apply(t, other)
	t.Cleanup(func() {
		if _, err := w.Kubectl(contextWithout(t), w.Admin, "delete", "validatingwebhookconfiguration", "other.example.com"); err != nil {
			t.Error(err)
		}
	})

	out, err := w.CP.Kubectl(t.Context(), w.account(t, account), "delete", "validatingwebhookconfiguration", "other.example.com")
	if err != nil || out.Code == 0 {
		t.Errorf("the account may delete what is not saguard's: %v %s", err, out.Stdout)
	}
	// The webhook is gone, or ill: nothing of the removal may wait for it.
	if err := w.StopWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.StartWebhook(contextWithout(t)); err != nil {
			t.Error(err)
		}
	})
	for attempt := range 2 {
		if out, code := w.program(t, account, args); code != 0 {
			t.Errorf("attempt %d: exit code %d: %s", attempt, code, out)
		}
	}
	if after := w.must(t, "get", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "-o", "name"); strings.Contains(after, "saguard.io") || !strings.Contains(after, "other.example.com") {
		t.Errorf("left: %s", after)
	}
	// What the webhook guards no longer waits for it.
	eventually(t, "the API server to forget the webhook", w.dryRunGuard)
}
