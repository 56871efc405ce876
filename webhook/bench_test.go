package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// BenchmarkHandler times a whole admission of a service-account UPDATE, from the bytes of the AdmissionReview to those of the
// answer, with 10,000 Roles and RoleBindings in the index and a guard with a namespaceSelector. Nothing is asked over the
// network. The baseline is a controller-runtime webhook that allows everything, on the same bytes; the two take turns, and the
// ratio is the median over their turns.
func BenchmarkHandler(b *testing.B) {
	cases := map[string]struct {
		path    string
		changes map[string]string
		reason  string
		patches bool
	}{
		"label-use allowed": {path: webhook.PathValidate, changes: map[string]string{"role": "trusted"}, reason: webhook.ReasonGranted},
		"no guarded label":  {path: webhook.PathValidate, changes: map[string]string{"app": "web"}, reason: webhook.ReasonNotGuarded},
		"labelled-by":       {path: webhook.PathMutate, changes: map[string]string{"role": "trusted"}, patches: true},
	}
	for name, tc := range cases {
		b.Run(name, func(b *testing.B) {
			asked := &asked{}
			ours := busyHandler(b, asked)
			server := ours.ValidateHTTP()
			if tc.path == webhook.PathMutate {
				server = ours.MutateHTTP()
			}
			body := updateReview(b, tc.changes)
			first := serveOnce(b, server, body)
			if !first.Allowed || first.AuditAnnotations[audit.AnnotationReason] != tc.reason || (len(first.Patch) > 0) != tc.patches {
				b.Fatalf("the handler answers %+v", first)
			}
			everything := allowAll(b)
			if first := serveOnce(b, everything, body); !first.Allowed {
				b.Fatalf("the baseline answers %+v", first)
			}

			const turn = 50
			var ratios []float64
			n, began := 0, time.Now()
			takeTurns := func() {
				took := time.Since(began)
				began = time.Now()
				for range n {
					serve(b, everything, body)
				}
				ratios = append(ratios, float64(took)/float64(time.Since(began)))
				n, began = 0, time.Now()
			}
			b.ReportAllocs()
			for b.Loop() {
				serve(b, server, body)
				if n++; n == turn {
					b.StopTimer()
					takeTurns()
					b.StartTimer()
				}
			}
			if len(ratios) == 0 {
				takeTurns()
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "x-allow-all")
			b.ReportMetric(float64(len(body)), "body-bytes")
			if times := asked.network.Load(); times > 0 {
				b.Errorf("the handler asked over the network %d times", times)
			}
		})
	}
	b.Run("baseline allow-all", func(b *testing.B) {
		everything, body := allowAll(b), updateReview(b, map[string]string{"role": "trusted"})
		b.ReportAllocs()
		for b.Loop() {
			serve(b, everything, body)
		}
	})
}

// asked counts the questions that would have gone over the network.
type asked struct{ network atomic.Int64 }

func (a *asked) Review(context.Context, identity.Subject, rbac.Attributes) (bool, string, error) {
	a.network.Add(1)
	return false, "", errors.New("asked over the network")
}

// busyWorld is a world with its guards compiled, as in internal/state.
type busyWorld struct {
	*world
	compiled *guard.Set
	asked    *asked
}

func (w busyWorld) Guards() *guard.Set { return w.compiled }

func (w busyWorld) Namespace(ctx context.Context, name string, fresh bool) decision.Fact[guard.Namespace] {
	if fresh {
		w.asked.network.Add(1)
	}
	return w.world.Namespace(ctx, name, fresh)
}

// busyHandler is wired as the process wires it; only the sinks of records and log lead nowhere.
func busyHandler(b *testing.B, asked *asked) *webhook.Handler {
	b.Helper()
	w := busyWorld{world: newWorld(), asked: asked}
	set, problems := guard.Compile([]v1alpha1.ServiceAccountGuard{{
		ObjectMeta: metav1.ObjectMeta{Name: "labels"},
		Spec: v1alpha1.ServiceAccountGuardSpec{
			NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
			Labels:            &v1alpha1.LabelGuard{Mode: v1alpha1.ModeEnforce, Keys: []v1alpha1.LabelKeyPattern{"role", "team", "example.com/*"}},
		},
	}})
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	w.compiled = set
	fillRBAC(w.rbac)
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot, Reviewer: asked, Observe: metrics.Asked})
	if err != nil {
		b.Fatal(err)
	}
	h, err := webhook.New(webhook.Options{
		World: w, Authorizer: authorizer, Recorder: audit.NewWriter(zapcore.Lock(zapcore.AddSync(io.Discard))), Metrics: metrics,
		Log: zapr.NewLogger(quietLogger()), Now: time.Now, ExcludedNamespaces: []string{"kube-system", "saguard-system"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// fillRBAC stores 10,000 Roles and RoleBindings. What alice holds in prod is one of a hundred there.
func fillRBAC(s *rbac.Store) {
	const objects, namespaces = 10_000, 100
	roles, bindings := make([]rbacv1.Role, 0, objects), make([]rbacv1.RoleBinding, 0, objects)
	for i := range objects {
		meta := metav1.ObjectMeta{Namespace: fmt.Sprintf("ns-%d", i%namespaces), Name: fmt.Sprintf("team-%d", i)}
		subjects := []rbacv1.Subject{
			{Kind: rbacv1.UserKind, Name: fmt.Sprintf("user-%d", i%1000)}, {Kind: rbacv1.GroupKind, Name: fmt.Sprintf("group-%d", i%1000)},
		}
		if i%namespaces == 0 {
			meta.Namespace = "prod"
		}
		if i == objects/2 {
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.UserKind, Name: "alice"})
		}
		roles = append(roles, rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"", "apps"}, Resources: []string{"pods", "pods/log", "deployments"}},
			{Verbs: []string{"get", "update", "patch"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}},
			{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: []string{"team=a", "role=intern", "role=trusted"}},
		}})
		bindings = append(bindings, rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: rbac.KindRole, Name: meta.Name}, Subjects: subjects})
	}
	s.ReplaceRoles(roles)
	s.ReplaceRoleBindings(bindings)
}

func allowAll(b *testing.B) http.Handler {
	b.Helper()
	h, err := admission.StandaloneWebhook(&admission.Webhook{
		Handler: admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") }),
	}, admission.StandaloneOptions{Logger: zapr.NewLogger(quietLogger())})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// quietLogger is a logger of level info, as programs have by default; neither webhook logs on the way that is timed.
func quietLogger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
}

// updateReview is what the API server sends when alice changes labels of service account web with kubectl.
func updateReview(b *testing.B, changes map[string]string) []byte {
	b.Helper()
	fields := `{"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}},"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/part-of":{}}}}`
	account := func(extra map[string]string) runtime.RawExtension {
		a := &corev1.ServiceAccount{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{
				Name: "web", Namespace: "prod", UID: "3a1e0f6e-5a0c-4f0e-9a55-6d1b5a3f4c11", ResourceVersion: "48211",
				CreationTimestamp: metav1.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC),
				Labels:            map[string]string{"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop"},
				Annotations:       map[string]string{corev1.LastAppliedConfigAnnotation: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"annotations":{},"labels":{"app.kubernetes.io/name":"web","app.kubernetes.io/part-of":"shop"},"name":"web","namespace":"prod"}}`},
				ManagedFields: []metav1.ManagedFieldsEntry{{
					Manager: "kubectl-client-side-apply", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1",
					FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
				}},
			},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
		}
		for k, v := range extra {
			a.Labels[k] = v
		}
		return runtime.RawExtension{Raw: marshal(b, a)}
	}
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	dryRun := false
	return marshal(b, &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID("705ab4f5-6393-11e8-b7cc-42010a800002"), Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
			Name: "web", Namespace: "prod", Operation: admissionv1.Update, DryRun: &dryRun,
			UserInfo: authenticationv1.UserInfo{
				Username: "alice", Groups: []string{"developers", "oidc:shop", "system:authenticated"},
				Extra: map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/credential-id": {"X509SHA256=" + strings.Repeat("5e", 32)}},
			},
			Object: account(changes), OldObject: account(nil),
			Options: runtime.RawExtension{Raw: []byte(`{"kind":"PatchOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"kubectl-label"}`)},
		},
	})
}

func marshal(b *testing.B, v any) []byte {
	b.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// response keeps the body and does nothing else, so that what is timed is the handler.
type response struct {
	header http.Header
	body   bytes.Buffer
	code   int
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *response) WriteHeader(code int)        { r.code = code }

func serve(b *testing.B, h http.Handler, body []byte) *response {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://saguard.saguard-system.svc:443/?timeout=5s", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	w := &response{header: http.Header{}, code: http.StatusOK}
	h.ServeHTTP(w, req)
	if w.code != http.StatusOK {
		b.Fatalf("code %d: %s", w.code, &w.body)
	}
	return w
}

func serveOnce(b *testing.B, h http.Handler, body []byte) *admissionv1.AdmissionResponse {
	b.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(serve(b, h, body).body.Bytes(), &review); err != nil || review.Response == nil {
		b.Fatalf("answer: %v", err)
	}
	return review.Response
}
