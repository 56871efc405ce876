package helmtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"testing"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/internal/identity"
)

// TestRequestsAreOfTheirFlowSchema: the API server itself says in each response which FlowSchema it counted the request for.
func TestRequestsAreOfTheirFlowSchema(t *testing.T) {
	w := shared
	for _, object := range w.rendered(t, "-set", "agent.enabled=true") {
		if object.GetKind() == "FlowSchema" {
			w.apply(t, object)
		}
	}
	tests := map[string]struct{ user, schema string }{
		"the webhook's":            {"saguard", "saguard"},
		"the agent's":              {"saguard-agent", "saguard-agent"},
		"another account's":        {"default", "service-accounts"},
		"the hook's, which is one": {"saguard-test", "service-accounts"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			uid := w.must(t, "get", "flowschema", test.schema, "-o", "jsonpath={.metadata.uid}")
			// The API server takes a new FlowSchema up in its own time.
			eventually(t, "the request to be of "+test.schema, func(ctx context.Context) error {
				got, err := w.flowSchemaOf(ctx, test.user)
				if err == nil && got != uid {
					err = fmt.Errorf("it is of %s, want %s", got, uid)
				}
				return err
			})
		})
	}
	for schema, level := range map[string]string{"saguard": "saguard", "saguard-agent": "workload-high"} {
		if dangling := w.must(t, "get", "flowschema", schema, "-o", `jsonpath={.status.conditions[?(@.type=="Dangling")].status}`); dangling != "False" {
			t.Errorf("%s: its priority level is not there: Dangling=%s", schema, dangling)
		}
		if got := w.must(t, "get", "flowschema", schema, "-o", "jsonpath={.spec.priorityLevelConfiguration.name}"); got != level {
			t.Errorf("%s: level %s", schema, got)
		}
	}
}

// flowSchemaOf asks as a service account of the release, whether it may or not, and returns the UID that the response names.
func (w world) flowSchemaOf(ctx context.Context, name string) (string, error) {
	account, err := identity.NewServiceAccount(install.Namespace, name)
	if err != nil {
		return "", err
	}
	config, err := w.CP.User(account.Username(), account.Groups()...)
	if err != nil {
		return "", err
	}
	certificate, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CAData)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.CP.URL()+"/api/v1/namespaces/"+install.Namespace+"/pods", nil)
	if err != nil {
		return "", err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	return response.Header.Get("X-Kubernetes-Pf-Flowschema-Uid"), nil
}
