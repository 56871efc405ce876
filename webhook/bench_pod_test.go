package webhook_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// BenchmarkPodCreate times the admission of a pod of some six kilobytes from bytes to bytes, like BenchmarkHandler. The
// baseline is a controller-runtime webhook that allows everything, on the same bytes; the two take turns.
func BenchmarkPodCreate(b *testing.B) {
	cases := map[string]struct{ user, reason string }{
		"account-use allowed":       {user: "alice", reason: webhook.ReasonGranted},
		"account-use denied":        {user: "bob", reason: webhook.ReasonForbidden},
		"by the replicaset's maker": {user: controllers + "replicaset-controller", reason: webhook.ReasonNotGuarded},
	}
	for name, tc := range cases {
		b.Run(name, func(b *testing.B) {
			server, everything, body := podHandler(b).ValidateHTTP(), allowAll(b), podReview(b, tc.user)
			if first := serveOnce(b, server, body); first.AuditAnnotations[audit.AnnotationReason] != tc.reason {
				b.Fatalf("the handler answers %+v", first)
			}
			const turn = 100
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
		})
	}
}

func podHandler(b *testing.B) *webhook.Handler {
	b.Helper()
	w := busyWorld{world: newWorld(), asked: &asked{}}
	g := identityGuard(v1alpha1.ModeEnforce)
	g.Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "prod"}
	set, problems := guard.Compile([]v1alpha1.ServiceAccountGuard{g})
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	w.compiled = set
	fillRBAC(w.rbac)
	w.grant("alice", "prod", "use", "serviceaccounts", "web")
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot, Observe: metrics.Asked})
	if err != nil {
		b.Fatal(err)
	}
	h, err := webhook.New(webhook.Options{
		World: w, Authorizer: authorizer, Recorder: audit.NewWriter(zapcore.Lock(zapcore.AddSync(io.Discard))), Metrics: metrics,
		Log: zapr.NewLogger(quietLogger()), Now: time.Now, ExcludedNamespaces: []string{"kube-system"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// podReview is what the API server sends when a pod with two containers is created.
func podReview(b *testing.B, user string) []byte {
	b.Helper()
	yes := true
	var env []corev1.EnvVar
	for range 20 {
		env = append(env, corev1.EnvVar{Name: "SOME_VARIABLE", Value: "some value of some length"})
	}
	container := corev1.Container{
		Name: "web", Image: "registry.example.com/shop/web@sha256:" + strings.Repeat("ab", 32), Env: env,
		VolumeMounts: []corev1.VolumeMount{{Name: "kube-api-access-x", ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}},
	}
	proxy := container
	proxy.Name = "proxy"
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "web-5d4f8c7b9d-", Name: "web-5d4f8c7b9d-abcde", Namespace: "prod",
			Labels:      map[string]string{"app": "web", "pod-template-hash": "5d4f8c7b9d"},
			Annotations: map[string]string{"checksum/config": strings.Repeat("c", 64)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d4f8c7b9d", UID: "3a1e0f6e-5a0c-4f0e-9a55-6d1b5a3f4c11", Controller: &yes, BlockOwnerDeletion: &yes,
			}},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:containers":{` + strings.Repeat(`"f:a":{},`, 60) + `"f:b":{}}}}`),
			}},
		},
		Spec: corev1.PodSpec{ServiceAccountName: "web", DeprecatedServiceAccount: "web", Containers: []corev1.Container{container, proxy}},
	}
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	dryRun := false
	return marshal(b, &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "705ab4f5-6393-11e8-b7cc-42010a800002", Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
			Name: "web-5d4f8c7b9d-abcde", Namespace: "prod", Operation: admissionv1.Create, DryRun: &dryRun,
			UserInfo: authenticationv1.UserInfo{Username: user, Groups: []string{"system:authenticated"}},
			Object:   runtime.RawExtension{Raw: marshal(b, pod)},
			Options:  runtime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)},
		},
	})
}
