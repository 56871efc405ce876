package drills

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/install"
)

// direct is a client of the replicas' own ports.
func (s *site) direct(t *testing.T) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CP.CABundle())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// review is what an API server asks when a user gives an account the label.
func review(user, role string, more map[string]string) ([]byte, error) {
	object := func(labels map[string]string) (runtime.RawExtension, error) {
		raw, err := json.Marshal(&corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: namespace, Labels: labels},
		})
		return runtime.RawExtension{Raw: raw}, err
	}
	now := map[string]string{"role": role}
	for k, v := range more {
		now[k] = v
	}
	r := &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID("drill"), Operation: admissionv1.Update, Namespace: namespace, Name: "x",
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"},
			UserInfo: authenticationv1.UserInfo{Username: user, Groups: []string{"system:authenticated"}},
		},
	}
	var err error
	if r.Request.Object, err = object(now); err != nil {
		return nil, err
	}
	if r.Request.OldObject, err = object(nil); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// ask asks one replica whether a user may give a label; code is that of the refusal.
func ask(ctx context.Context, c *http.Client, r *install.Replica, user, role string) (allowed bool, code int32, err error) {
	body, err := review(user, role, nil)
	if err != nil {
		return false, 0, err
	}
	answer, err := post(ctx, c, r, bytes.NewReader(body))
	switch {
	case err != nil:
		return false, 0, err
	case answer.Response == nil:
		return false, 0, fmt.Errorf("%s: no response", r.Name)
	case answer.Response.Result != nil:
		code = answer.Response.Result.Code
	}
	return answer.Response.Allowed, code, nil
}

func post(ctx context.Context, c *http.Client, r *install.Replica, body io.Reader) (*admissionv1.AdmissionReview, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+r.Address+"/validate?timeout=5s", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	answer := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("%s answers %d: %s", r.Name, resp.StatusCode, text)
	}
	return answer, nil
}
