package admission_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

// fullNamespace makes a namespace with guarded accounts.
func fullNamespace(t *testing.T) *tenant {
	t.Helper()
	tn := newTenant(t)
	tn.guardLabels("role")
	for i := range 20 {
		tn.existing(fmt.Sprintf("a%d", i), "role", "intern")
	}
	return tn
}

func (tn *tenant) deleteNamespace() {
	tn.t.Helper()
	if err := tn.admin.CoreV1().Namespaces().Delete(tn.t.Context(), tn.namespace, metav1.DeleteOptions{}); err != nil {
		tn.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tn.t.Context(), 90*time.Second)
	defer cancel()
	for {
		ns, err := tn.admin.CoreV1().Namespaces().Get(ctx, tn.namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if ctx.Err() != nil {
			tn.t.Fatalf("namespace still there: %+v, %v", ns.Status, err)
		}
	}
}

func TestNamespaceFullOfGuardedAccountsCanBeDeleted(t *testing.T) {
	fullNamespace(t).deleteNamespace()
}

// The rest of the file stops, starves or restarts the webhook, so it runs on an installation of its own.
func TestWebhookDownAndStarved(t *testing.T) {
	ctx := t.Context()
	own, err := install.New(ctx, install.Options{ControlPlane: controlplane.Options{ControllerManager: true, Log: os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	saved := shared
	shared = own
	t.Cleanup(func() {
		shared = saved
		if err := own.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})

	t.Run("policies of a kind that appears at run time guard the keys they read", func(t *testing.T) { testPoliciesAppear(t) })
	t.Run("what the webhook may not ask the API server it refuses", func(t *testing.T) { testAuthorizerFails(t) })
	t.Run("hostile bodies leave the process alive", func(t *testing.T) { testHostileBodies(t) })
	t.Run("a namespace can be deleted while the webhook is stopped", func(t *testing.T) {
		tn := fullNamespace(t)
		if err := own.StopWebhook(t.Context()); err != nil {
			t.Fatal(err)
		}
		// failurePolicy Fail: a label change has to wait, an update that leaves labels alone has not.
		accounts := tn.admin.CoreV1().ServiceAccounts(tn.namespace)
		if _, err := accounts.Patch(t.Context(), "a0", types.MergePatchType, []byte(`{"metadata":{"labels":{"role":null}}}`), metav1.PatchOptions{}); err == nil {
			t.Error("a label was changed while the webhook was stopped")
		}
		if _, err := accounts.Patch(t.Context(), "a0", types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
			t.Errorf("an annotation could not be changed while the webhook was stopped: %v", err)
		}
		tn.deleteNamespace()
		if err := own.StartWebhook(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a webhook that cannot read RBAC is not ready and refuses", func(t *testing.T) { testUnsynced(t) })
}

// Calico's CRDs come after the webhook has started, and go again.
func testPoliciesAppear(t *testing.T) {
	tn := newTenant(t)
	tn.guard(`"labels":{"mode":"Enforce","fromPolicies":true}`)
	create := func(ctx context.Context) error { return tn.dryCreate(ctx, "web", [2]string{"department", "x"}) }
	if err := create(t.Context()); err != nil {
		t.Fatalf("before there are policies: %v", err)
	}
	if err := shared.CP.InstallCRDs(t.Context(), os.DirFS("../testdata/calico-crds")); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"p","namespace":%q},
		"spec":{"ingress":[{"action":"Allow","source":{"serviceAccounts":{"selector":"department == 'finance'"}}}]}}`, tn.namespace)
	if _, err := shared.KubectlStdin(t.Context(), shared.Admin, strings.NewReader(policy), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	tn.waitFor("the key to be guarded", func(ctx context.Context) error {
		if err := create(ctx); !apierrors.IsForbidden(err) {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
	denied(t, create(t.Context()), "department=x")
	// The whole group goes; nothing reads the key any more.
	if _, err := shared.Kubectl(t.Context(), shared.Admin, "delete", "crd", "networkpolicies.projectcalico.org"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err := create(ctx); err != nil; err = create(ctx) {
		if ctx.Err() != nil {
			t.Fatalf("still guarded a minute after the CRD went: %v", err)
		}
	}
	if report, err := shared.Ready(t.Context()); err != nil || !report.Ready {
		t.Errorf("readiness %+v, %v", report, err)
	}
}

// Without create on subjectaccessreviews, what the index does not allow cannot be decided.
func testAuthorizerFails(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	tn.grantLabels("role=a")
	tn.waitFor("the grant", func(ctx context.Context) error { return tn.dryCreate(ctx, "web", [2]string{"role", "a"}) })
	rbac := tn.admin.RbacV1().ClusterRoles()
	role, err := rbac.Get(t.Context(), "saguard", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	starved := role.DeepCopy()
	starved.Rules = nil
	for _, r := range role.Rules {
		if r.Resources[0] != "subjectaccessreviews" {
			starved.Rules = append(starved.Rules, r)
		}
	}
	if _, err := rbac.Update(t.Context(), starved, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	value := 0
	tn.waitFor("the refusal", func(ctx context.Context) error {
		value++ // a new question each time: denials are remembered for some seconds
		err := tn.dryCreate(ctx, "web", [2]string{"role", fmt.Sprintf("b%d", value)})
		if !apierrors.IsInternalError(err) {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
	if got := counter(t, "saguard_admission_decisions_total", map[string]string{"decision": "Error", "reason": "authorizer-error"}); got < 1 {
		t.Errorf("counted %v refusals for want of an answer", got)
	}
	// What the index allows still passes: permissions only add up.
	if err := tn.dryCreate(t.Context(), "web", [2]string{"role", "a"}); err != nil {
		t.Error(err)
	}
	current, err := rbac.Get(t.Context(), "saguard", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	current.Rules = role.Rules
	if _, err := rbac.Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.waitFor("the denial", func(ctx context.Context) error {
		value++
		if err := tn.dryCreate(ctx, "web", [2]string{"role", fmt.Sprintf("b%d", value)}); !apierrors.IsForbidden(err) {
			return fmt.Errorf("create: %v", err)
		}
		return nil
	})
}

func testHostileBodies(t *testing.T) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shared.CP.CABundle())
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: patience}
	pid := shared.Webhook().Pid()
	for name, tc := range map[string]struct {
		body []byte
		code int
	}{
		"malformed": {body: []byte(`{"apiVersion":`), code: http.StatusBadRequest},
		"oversized": {body: bytes.Repeat([]byte("x"), 8<<20), code: http.StatusRequestEntityTooLarge},
		"nested":    {body: []byte(strings.Repeat("[", 1<<20)), code: http.StatusBadRequest},
	} {
		for _, path := range []string{"/validate", "/mutate"} {
			before := counter(t, "saguard_admission_decisions_total", map[string]string{"decision": "Error"})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, shared.WebhookURL()+path, bytes.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			var review admissionv1.AdmissionReview
			if err != nil || json.Unmarshal(text, &review) != nil || review.Response == nil || review.Response.Allowed || resp.StatusCode != tc.code {
				t.Errorf("%s: answered %d %s, %v", name, resp.StatusCode, text, err)
			}
			if after := counter(t, "saguard_admission_decisions_total", map[string]string{"decision": "Error"}); after != before+1 {
				t.Errorf("%s: counted %v, then %v", name, before, after)
			}
		}
	}
	if shared.Webhook().Pid() != pid {
		t.Error("the webhook was restarted")
	}
	if report, err := shared.Ready(t.Context()); err != nil || !report.Ready {
		t.Errorf("readiness %+v, %v", report, err)
	}
}

// A webhook that starts without the right to read RBAC must never answer yes.
func testUnsynced(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	rbac := tn.admin.RbacV1()
	binding, err := rbac.ClusterRoleBindings().Get(t.Context(), "saguard", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.StopWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := rbac.ClusterRoleBindings().Delete(t.Context(), "saguard", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := shared.StartWebhookNotReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	tn.waitFor("the webhook to answer", func(ctx context.Context) error {
		_, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, account("web", "role", "a"), metav1.CreateOptions{})
		if err == nil {
			t.Fatal("allowed by a webhook that has read nothing")
		}
		if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "try again") {
			return err
		}
		return nil
	})
	if report, err := shared.Ready(t.Context()); err != nil || report.Ready || len(report.Reasons) == 0 {
		t.Errorf("readiness %+v, %v", report, err)
	}
	binding.ResourceVersion, binding.UID = "", ""
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tn.waitFor("the webhook to recover", func(ctx context.Context) error {
		return tn.dryCreateAs(ctx, "web", [2]string{"role", "a"})
	})
}

// dryCreateAs is dryCreate by the administrator.
func (tn *tenant) dryCreateAs(ctx context.Context, name string, label [2]string) error {
	_, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, account(name, label[0], label[1]), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
