package admission_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The README's recipe, pasted into a shell as it stands, does what its heading says.
func TestReadmeRecipeForTheWebTeam(t *testing.T) {
	if err := shared.BuildCLI(t.Context()); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "### Let the web team run only as web-*")
	if !ok {
		t.Fatal("the README has no such recipe")
	}
	_, section, _ = strings.Cut(section, "```sh\n")
	script, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("the recipe has no shell block")
	}
	admin := client(t, shared.CP.AdminConfig())
	const namespace = "prod"
	if _, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn := &tenant{t: t, namespace: namespace, admin: admin, client: client(t, userConfig(t, "wendy", "web-team"))}
	for _, name := range []string{"web-frontend", "payments"} {
		tn.existing(name)
	}
	tn.role("pods", rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}})
	tn.bind("pods", "pods", rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "web-team"})

	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Env = []string{"KUBECONFIG=" + shared.Admin, "HOME=" + t.TempDir(), "PATH=" + kubectlDir(t) + ":" + filepath.Dir(shared.CLI()) + ":" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if _, err := shared.Kubectl(context.WithoutCancel(t.Context()), shared.Admin, "delete", "serviceaccountguard", "workloads"); err != nil {
			t.Error(err)
		}
	})
	run := func(ctx context.Context, account string) error {
		no := false
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: corev1.PodSpec{ServiceAccountName: account, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		_, err := tn.client.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	tn.waitFor("the guard", func(ctx context.Context) error {
		if err := run(ctx, "payments"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "saguard.io") {
			return fmt.Errorf("running as payments: %v", err)
		}
		return nil
	})
	tn.waitFor("the grant", func(ctx context.Context) error { return run(ctx, "web-frontend") })
	denied(t, run(t.Context(), "payments"), "kubectl auth can-i use serviceaccounts/payments -n prod")
}
