package controlplane_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/controlplane/controlplanetest"
)

// The cases share one control plane; each uses names of its own.
func TestControlPlane(t *testing.T) {
	cp := controlplanetest.Start(t, controlplane.Options{ControllerManager: true})
	for name, test := range map[string]func(*testing.T, *controlplane.ControlPlane){
		"the controller manager makes service accounts and has its own":     testControllers,
		"the audit log shows user, groups and answer of a certificate user": testAudit,
		"RBAC denies what no binding grants and allows what one does":       testRBAC,
		"kubectl answers with its output and exit code":                     testKubectl,
		"definitions are usable as soon as they are installed":              testCRDs,
		"the API server trusts a webhook with a certificate of ours":        testWebhook,
		"version is the one that was built":                                 testVersion,
	} {
		t.Run(name, func(t *testing.T) { test(t, cp) })
	}
}

func testControllers(t *testing.T, cp *controlplane.ControlPlane) {
	accounts := kubernetes.NewForConfigOrDie(cp.AdminConfig()).CoreV1()
	if _, err := accounts.ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := cp.WaitAudit(t.Context(), func(e *auditv1.Event) bool {
		return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Resource == "serviceaccounts" &&
			e.User.Username == "system:serviceaccount:kube-system:service-account-controller"
	}); err != nil {
		t.Errorf("no controller with an account of its own: %v", err)
	}
}

func testAudit(t *testing.T, cp *controlplane.ControlPlane) {
	client := kubernetes.NewForConfigOrDie(controlplanetest.User(t, cp, "alice", "developers", "on-call"))
	if _, err := client.CoreV1().Secrets("audited").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list secrets: %v, want Forbidden", err)
	}
	event, err := cp.WaitAudit(t.Context(), func(e *auditv1.Event) bool {
		return e.ObjectRef != nil && e.ObjectRef.Namespace == "audited"
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(event.User.Groups) // a certificate holds a set
	if got, want := event.User.Groups, []string{"developers", "on-call", "system:authenticated"}; event.User.Username != "alice" || !slices.Equal(got, want) {
		t.Errorf("by %s of %q, want alice of %q", event.User.Username, got, want)
	}
	if event.Level != auditv1.LevelMetadata || event.Stage != auditv1.StageResponseComplete || event.ResponseStatus.Code != http.StatusForbidden {
		t.Errorf("level %s, stage %s, status %v; want Metadata, ResponseComplete, 403", event.Level, event.Stage, event.ResponseStatus)
	}
	received, err := cp.AuditEvents(func(e *auditv1.Event) bool { return e.Stage == auditv1.StageRequestReceived })
	if err != nil || len(received) > 0 {
		t.Errorf("%d events of stage RequestReceived, %v; want none", len(received), err)
	}
}

func testRBAC(t *testing.T, cp *controlplane.ControlPlane) {
	admin := kubernetes.NewForConfigOrDie(cp.AdminConfig())
	bob := kubernetes.NewForConfigOrDie(controlplanetest.User(t, cp, "bob", "readers"))
	if _, err := bob.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a binding: %v, want Forbidden", err)
	}
	if _, err := admin.RbacV1().RoleBindings("default").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "readers"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() error {
		_, err := bob.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		return err
	})
	if _, err := bob.CoreV1().ConfigMaps("kube-system").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("in another namespace: %v, want Forbidden", err)
	}
}

func testKubectl(t *testing.T, cp *controlplane.ControlPlane) {
	admin, eve := controlplanetest.Kubeconfig(t, cp, "root", "system:masters"), controlplanetest.Kubeconfig(t, cp, "eve: a/name with *")
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-stdin}\n"
	for _, tc := range []struct {
		name       string
		kubeconfig string
		stdin      io.Reader
		args       []string
		code       int
		out        string
		err        string
	}{
		{name: "an administrator", kubeconfig: admin, args: []string{"auth", "whoami"}, out: "root"},
		{name: "an odd name", kubeconfig: eve, args: []string{"auth", "whoami"}, out: "eve: a/name with *"},
		{name: "apply from standard input", kubeconfig: admin, stdin: strings.NewReader(manifest), args: []string{"apply", "-f", "-"}, out: "configmap/from-stdin created"},
		{name: "a refusal", kubeconfig: eve, args: []string{"get", "pods"}, code: 1, err: "Forbidden"},
		{name: "a no", kubeconfig: eve, args: []string{"auth", "can-i", "get", "pods"}, code: 1, out: "no"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := cp.KubectlStdin(t.Context(), tc.kubeconfig, tc.stdin, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Code != tc.code || !strings.Contains(got.Stdout, tc.out) || !strings.Contains(got.Stderr, tc.err) {
				t.Errorf("%+v, want code %d, stdout with %q, stderr with %q", got, tc.code, tc.out, tc.err)
			}
		})
	}
	if info, err := os.Stat(admin); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig, which holds a key, has mode %v, %v; want 0600", info.Mode(), err)
	}
}

const crd = `# a comment alone is an empty document
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`

func testCRDs(t *testing.T, cp *controlplane.ControlPlane) {
	admin := controlplanetest.Kubeconfig(t, cp, "root", "system:masters")
	tree := fstest.MapFS{"bases/widgets.yaml": {Data: []byte(crd)}, "README.md": {Data: []byte("not YAML: {")}}
	for _, when := range []string{"first", "again"} {
		if err := cp.InstallCRDs(t.Context(), tree); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	widget := "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: one}\n"
	out, err := cp.KubectlStdin(t.Context(), admin, strings.NewReader(widget), "create", "-f", "-")
	if err != nil || out.Code != 0 {
		t.Errorf("create one: %+v, %v", out, err)
	}
	unknown := fstest.MapFS{"x.yaml": {Data: []byte(strings.Replace(crd, "scope:", "scoop:", 1))}}
	if err := cp.InstallCRDs(t.Context(), unknown); err == nil || !strings.Contains(err.Error(), "scoop") {
		t.Errorf("a definition with an unknown field: %v, want an error that names it", err)
	}
}

func testWebhook(t *testing.T, cp *controlplane.ControlPlane) {
	pair, err := cp.ServingCert([]string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(refuse))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	admin := kubernetes.NewForConfigOrDie(cp.AdminConfig())
	url := server.URL + "/validate"
	configurations := admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := configurations.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "refuse"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "refuse.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: cp.CABundle()},
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "kube-public"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := configurations.Delete(t.Context(), "refuse", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, soon, func() error { // the API server learns of webhooks with a delay
		_, err := admin.CoreV1().ConfigMaps("kube-public").Create(t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "refused-"}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return wantMessage(err, `admission webhook "refuse.example.com" denied the request: by a test`)
	})
}

// refuse is a validating webhook that denies everything.
func refuse(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "by a test"}}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // the API server reports a reply cut short
}

func testVersion(t *testing.T, cp *controlplane.ControlPlane) {
	version, err := kubernetes.NewForConfigOrDie(cp.AdminConfig()).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(version.GitVersion, "v1.") || version.Major != "1" || version.Minor == "" {
		t.Errorf("the API server calls itself %+v", version)
	}
}
