package advisories_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/webhook"
)

func useOf(resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{resource}, ResourceNames: names}
}

func anyPod() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: plainVerbs(), APIGroups: []string{""}, Resources: []string{"pods", "serviceaccounts"}}
}

// panics is how many requests of the shared webhook ended in a panic, which is recovered and counted.
func panics(t *testing.T) float64 {
	t.Helper()
	if n, err := shared.Counter(t.Context(), "saguard_admission_decisions_total", nil); err != nil || n == 0 {
		t.Fatalf("%v decisions counted, %v", n, err)
	}
	n, err := shared.Counter(t.Context(), "saguard_admission_decisions_total", map[string]string{"reason": webhook.ReasonPanic})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// post sends a review to a webhook's port as anybody can who reaches it, with a client certificate or without.
func post(ctx context.Context, url string, body []byte, certificates ...tls.Certificate) (int, string, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(shared.CP.CABundle()) {
		return 0, "", fmt.Errorf("no certificate in the bundle")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/validate", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// reviewOf is what the API server would send of a service account that a user creates.
func reviewOf(t *testing.T, namespace, user string, groups []string, object any) []byte {
	t.Helper()
	return jsonOf(t, admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "00000000-0000-0000-0000-000000000001", Operation: admissionv1.Create, Namespace: namespace, Name: "forged",
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"},
			UserInfo: authenticationv1.UserInfo{Username: user, Groups: groups},
			Object:   runtime.RawExtension{Raw: jsonOf(t, object)},
		},
	})
}

// answerOf is the answer to a review; nil if there is none.
func answerOf(status int, text string, err error) *admissionv1.AdmissionResponse {
	var answer admissionv1.AdmissionReview
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(text), &answer) != nil {
		return nil
	}
	return answer.Response
}

// CVE-2025-1974: whoever reached the admission controller's port could have it run their code, with its rights to all Secrets. Here a review is data: it is parsed,
// compared and answered. Nothing of it is run, rendered, written to a file or sent on but the questions of RBAC; and the port can ask for the API server's
// certificate.
func TestWhoReachesThePortGetsAnAnswerAndNothingElse(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	review := func(user string, object any) []byte {
		return reviewOf(t, w.namespace, user, []string{"system:masters"}, object)
	}
	forged := labelled("forged", "role", "trusted")
	forged.APIVersion, forged.Kind, forged.Namespace = "v1", "ServiceAccount", w.namespace
	status, text, err := post(ctx, shared.WebhookURL(), review("anybody", forged))
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %s, %v", status, text, err)
	}
	if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Get(ctx, "forged", metav1.GetOptions{}); err == nil {
		t.Error("a review that nobody but the sender knew of made an object")
	}
	// Text that programs have run: of shells, templates, configuration files, formats and loggers.
	before := panics(t)
	for _, payload := range []string{
		"$(touch /tmp/owned)", "`id`", "{{ .Values }}", "${jndi:ldap://127.0.0.1/x}", "%s%n%x", "\n}\nssl_engine ../../x.so;\n#", "../../../etc/passwd", "\x1b[2J", "a\" || \"a\" == \"a",
	} {
		hostile := labelled(payload, "role", payload)
		hostile.APIVersion, hostile.Kind = "v1", "ServiceAccount"
		hostile.Annotations = map[string]string{"nginx.ingress.kubernetes.io/auth-url": payload, payload: payload}
		for _, user := range []string{"anybody", payload} {
			status, text, err := post(ctx, shared.WebhookURL(), review(user, hostile))
			if answerOf(status, text, err) == nil {
				t.Errorf("%q: %d %s, %v", payload, status, text, err)
			}
		}
	}
	if after := panics(t); after != before {
		t.Errorf("%v panics", after-before)
	}

	// With the client CA, the handshake is the end of it.
	replica, err := shared.StartReplica(install.ReplicaOptions{Name: "client-ca", Args: []string{"--client-ca-name=ca.crt"}})
	if err != nil {
		t.Fatal(err)
	}
	w.await("the webhook with the client CA", func(ctx context.Context) error {
		report, err := replica.Ready(ctx)
		if err == nil && !report.Ready {
			err = fmt.Errorf("not ready: %v", report.Reasons)
		}
		return err
	})
	url := "https://" + replica.Address
	if status, text, err := post(ctx, url, review("anybody", forged)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %d %s, %v", status, text, err)
	}
	pair, err := shared.CP.ClientCert("kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	if status, text, err := post(ctx, url, review("anybody", forged), certificate); err != nil || status != http.StatusOK {
		t.Errorf("with a certificate: %d %s, %v", status, text, err)
	}
}

// GHSA-gxjc, GHSA-jc72, GHSA-793w: a tenant's regular expression that does not parse ended the controller, for all tenants.
func TestHostileSelectorsHarmNobodyElse(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	for i, hostile := range []string{"(", "[", "*", "+", "(?P<", "\\", "a{2,1}", "(a+)+$", "^$", "[[:foo:]]", "\xff", strings.Repeat("(", 1000), strings.Repeat("a", 4096)} {
		quoted := string(jsonOf(t, hostile))
		name := fmt.Sprintf("hostile%d-%s", i, w.namespace)
		// Whether it is accepted or refused: it is answered.
		for _, spec := range []string{
			`"labels":{"mode":"Enforce","keys":[` + quoted + `]}`,
			`"labels":{"mode":"Enforce","keys":["x"]},"namespaceSelector":{"matchExpressions":[{"key":"a","operator":` + quoted + `}]}`,
			`"labels":{"mode":"Enforce","keys":["x"]},"namespaceSelector":{"matchLabels":{"a":` + quoted + `}}`,
			`"exempt":{"users":[` + quoted + `]}`,
			`"workloads":{"mode":"Enforce","templates":[{"apiGroup":"example.com","kind":"X","path":` + quoted + `}]}`,
		} {
			if err := applyGuard(ctx, name, spec); err == nil {
				t.Cleanup(func() { deleteGuard(t, name) })
			}
		}
		_, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("x", "role", "trusted"), dry())
		refused(t, "beside "+hostile, err, "role=trusted")
		if _, err := w.attacker.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "web"), dry()); err != nil {
			t.Errorf("beside %q a pod of one's own: %v", hostile, err)
		}
	}
	if n := panics(t); n != 0 {
		t.Errorf("%v panics", n)
	}
	if report, err := shared.Ready(ctx); err != nil || !report.Ready {
		t.Errorf("the webhook: %+v, %v", report, err)
	}
}
