package admission_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
)

// A controller that is not built in, with an account of its own, is judged as that account, whatever its objects' owner says.
func TestOtherControllersAreJudgedAsThemselves(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	te.existing("robot")
	te.bind("robot", "workloads", rbacv1.Subject{Kind: "ServiceAccount", Namespace: te.namespace, Name: "robot"})
	robot := *te
	c, err := dynamic.NewForConfig(userConfig(t, "system:serviceaccount:"+te.namespace+":robot", "system:serviceaccounts", "system:serviceaccounts:"+te.namespace))
	if err != nil {
		t.Fatal(err)
	}
	robot.dynamic = c
	const jobs = 7
	te.waitFor("the robot's grant", func(ctx context.Context) error {
		return robot.create(ctx, jobs, "probe", `"serviceAccountName":"web",`, true)
	})
	denied(t, robot.create(t.Context(), jobs, "job", `"serviceAccountName":"payments",`, false), "serviceaccounts/payments")
	if err := robot.create(t.Context(), jobs, "job", `"serviceAccountName":"web",`, false); err != nil {
		t.Error(err)
	}
}

func TestWorkloadsByServerSideApply(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	apply := func(account, image string) error {
		text := fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"app","namespace":%q},%s}`,
			te.namespace, selecting(`"replicas":0,`)(podSpec("Deployment", image, fmt.Sprintf(`"serviceAccountName":%q,`, account))))
		_, err := shared.KubectlStdin(t.Context(), te.kubeconfig, strings.NewReader(text), "apply", "--server-side", "-f", "-")
		return err
	}
	refused := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "serviceaccounts/payments") && strings.Contains(err.Error(), "validate.saguard.io")
	}
	if err := apply("payments", "example/app:1"); !refused(err) {
		t.Errorf("applying for another account: %v", err)
	}
	for _, image := range []string{"example/app:1", "example/app:1", "example/app:2"} {
		if err := apply("web", image); err != nil {
			t.Errorf("applying %s for one's own account: %v", image, err)
		}
	}
	if err := apply("payments", "example/app:2"); !refused(err) {
		t.Errorf("changing the account: %v", err)
	}
}

func TestWorkloadsInModesWarnAndAudit(t *testing.T) {
	for _, mode := range []string{"Warn", "Audit"} {
		t.Run(mode, func(t *testing.T) {
			te := newTeam(t, fmt.Sprintf(`"workloads":{"mode":%[1]q,"connect":%[1]q,"tokens":%[1]q}`, mode))
			pod := func(name string) string {
				return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q},"spec":%s}`, name, te.namespace, podSpec("Pod", "example/app:1", `"serviceAccountName":"payments",`))
			}
			n := 0
			te.waitFor("the finding", func(ctx context.Context) error {
				n++
				out, err := shared.KubectlStdin(ctx, te.kubeconfig, strings.NewReader(pod(fmt.Sprintf("p%d", n))), "create", "-f", "-")
				if err != nil {
					t.Fatalf("mode %s refused: %v", mode, err)
				}
				records, err := shared.Records()
				if err != nil {
					return err
				}
				warned := strings.Contains(out.Stderr, "Warning: account-use: you may not run")
				for _, r := range records {
					if r.User == te.user && r.Reason == "tolerated" && r.Mode == mode && r.Object.Resource == "pods" {
						if warned != (mode == "Warn") {
							t.Errorf("kubectl printed %q", out.Stderr)
						}
						return nil
					}
				}
				return fmt.Errorf("no record")
			})
			if _, err := shared.Kubectl(t.Context(), te.kubeconfig, "create", "token", "payments", "-n", te.namespace); err != nil {
				t.Errorf("mode %s refused a token: %v", mode, err)
			}
		})
	}
}

// An exemption by exact name passes; a name that only looks like it does not.
func TestExemptUsers(t *testing.T) {
	te := newTeam(t, strictWorkloads)
	te.applyGuard(te.namespace, fmt.Sprintf(`{"namespaceSelector":{"matchLabels":{"guarded":%q}},%s,"exempt":{"users":[%q]}}`, te.namespace, strictWorkloads, te.user))
	te.waitFor("the exemption", func(ctx context.Context) error {
		return te.create(ctx, 0, "p", `"serviceAccountName":"payments",`, true)
	})
	te.applyGuard(te.namespace, fmt.Sprintf(`{"namespaceSelector":{"matchLabels":{"guarded":%q}},%s,"exempt":{"users":[%q]}}`, te.namespace, strictWorkloads, te.user+"x"))
	te.waitFor("the end of the exemption", func(ctx context.Context) error {
		err := te.create(ctx, 0, "p", `"serviceAccountName":"payments",`, true)
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
}
