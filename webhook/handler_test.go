package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/webhook"
)

// counters returns a metric's counters by their labels' values, joined by "/" in the order of the labels' names.
func (r *rig) counters(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			out[labelValues(m)] = m.GetCounter().GetValue()
		}
	}
	return out
}

func labelValues(m *dto.Metric) string {
	var values []string
	for _, l := range m.GetLabel() {
		values = append(values, l.GetValue())
	}
	return strings.Join(values, "/")
}

func (r *rig) questions(t *testing.T) map[string]float64 {
	return r.counters(t, "saguard_authorization_questions_total")
}

func guarded() *world {
	w := newWorld()
	w.guards = []v1alpha1.ServiceAccountGuard{labelGuard(v1alpha1.ModeEnforce, "role")}
	return w
}

// What cannot be judged is refused, with its own code and reason, recorded and counted.
func TestWhatCannotBeJudgedIsRefused(t *testing.T) {
	cases := map[string]struct {
		world   func(*world)
		options func(*webhook.Options)
		request func(*webhook.Request)
		code    int32
		reason  string
	}{
		"caches not synced": {world: func(w *world) { w.notSynced = "roles not read yet" }, code: 503, reason: webhook.ReasonNotSynced},
		"policies not read that a guard rests on": {world: func(w *world) {
			w.unreadPolicies = "policies not read yet"
			w.guards[0].Spec.Labels.FromPolicies = true
		}, code: 503, reason: webhook.ReasonNotSynced},
		"namespace not known": {world: func(w *world) {
			w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"a": "b"}
			w.unknown = errBroken
		}, code: 503, reason: webhook.ReasonNamespaceUnknown},
		"namespace absent": {world: func(w *world) {
			w.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"a": "b"}
			clear(w.namespaces)
		}, code: 503, reason: webhook.ReasonNamespaceUnknown},
		"authorizer broken": {options: func(o *webhook.Options) { o.Authorizer = brokenAuthorizer{} }, code: 500, reason: webhook.ReasonUnauthorizable},
		"panic in a check": {options: func(o *webhook.Options) {
			o.Checks = []webhook.Check{{ID: "x", Run: func(*webhook.Facts) ([]webhook.Finding, error) { panic("x") }}}
		}, code: 500, reason: webhook.ReasonPanic},
		"object that is not an object": {request: func(r *webhook.Request) { r.Object = []byte(`[]`) }, code: 400, reason: webhook.ReasonMalformed},
		"labels that are no labels":    {request: func(r *webhook.Request) { r.Object = []byte(`{"metadata":{"labels":{"role":7}}}`) }, code: 400, reason: webhook.ReasonMalformed},
		"create without object":        {request: func(r *webhook.Request) { r.Object = nil }, code: 400, reason: webhook.ReasonMalformed},
		"update without old object":    {request: func(r *webhook.Request) { r.Operation = admissionv1.Update }, code: 400, reason: webhook.ReasonMalformed},
		"delete without old object":    {request: func(r *webhook.Request) { r.Operation = admissionv1.Delete }, code: 400, reason: webhook.ReasonMalformed},
		"a finding without a permission": {options: func(o *webhook.Options) {
			o.Checks = []webhook.Check{{ID: "x", Run: func(*webhook.Facts) ([]webhook.Finding, error) {
				return []webhook.Finding{{Mode: v1alpha1.ModeEnforce, Attempt: "x", Rule: "never"}}, nil
			}}}
		}, code: 403, reason: webhook.ReasonForbidden},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := guarded()
			if tc.world != nil {
				tc.world(w)
			}
			var change []func(*webhook.Options)
			if tc.options != nil {
				change = append(change, tc.options)
			}
			rig := newRig(t, w, change...)
			req := request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "intern"), nil)
			if tc.request != nil {
				tc.request(req)
			}
			resp := rig.Validate(t.Context(), req)
			if resp.Allowed || resp.Result.Code != tc.code || resp.UID != "uid-1" {
				t.Fatalf("allowed %v, result %+v, uid %s", resp.Allowed, resp.Result, resp.UID)
			}
			rec := rig.records.last(t)
			if rec.Reason != tc.reason || rec.Decision == audit.Allowed {
				t.Errorf("recorded %s %s, want %s", rec.Decision, rec.Reason, tc.reason)
			}
			if strings.Contains(resp.Result.Message, "goroutine") || strings.Contains(resp.Result.Message, errBroken.Error()) {
				t.Errorf("the message tells internals: %s", resp.Result.Message)
			}
			want := fmt.Sprintf("%s/%s/%s/%s/serviceaccounts", rec.Decision, rec.Mode, req.Operation, tc.reason)
			if got := rig.counters(t, "saguard_admission_decisions_total"); got[want] != 1 {
				t.Errorf("counted %v, want %s once", got, want)
			}
		})
	}
}

// A decision of which no trace can be kept is not made.
func TestDecisionThatCannotBeRecordedIsRefused(t *testing.T) {
	w := guarded()
	w.grant("alice", "prod", "use", "serviceaccounts/labels", "role=intern")
	rig := newRig(t, w)
	rig.records.fail = errBroken
	resp := rig.Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "intern"), nil))
	if resp.Allowed || resp.Result.Code != 500 {
		t.Errorf("allowed %v %+v", resp.Allowed, resp.Result)
	}
}

func TestRecordsAndAnnotationsSayTheSame(t *testing.T) {
	w := guarded()
	w.grant("alice", "prod", "use", "serviceaccounts/labels", "role=intern")
	rig := newRig(t, w)
	req := request(t, admissionv1.Update, "alice", "serviceaccounts", account("web", "role", "trusted"), account("web", "role", "intern"))
	req.DryRun = true
	resp := rig.Validate(t.Context(), req)
	rec := rig.records.last(t)
	if !maps.Equal(resp.AuditAnnotations, rec.Annotations()) {
		t.Errorf("annotations %v differ from the record's %v", resp.AuditAnnotations, rec.Annotations())
	}
	if rec.Component != "webhook" || rec.User != "alice" || rec.Operation != "UPDATE" || !rec.DryRun || rec.Object.Name != "web" || rec.Object.Namespace != "prod" || rec.Revision != 7 || rec.Mode != "Enforce" {
		t.Errorf("record %+v", rec)
	}
	if c := rec.LabelDiff["role"]; c.Old == nil || *c.Old != "intern" || c.New == nil || *c.New != "trusted" {
		t.Errorf("label diff %+v", rec.LabelDiff)
	}
	if len(rec.Checks) != 2 || rec.Checks[0].Reason != "granted" || rec.Checks[1].Reason != "missing" ||
		!strings.Contains(rec.Checks[0].Tuples[0].GrantedBy, "RoleBinding prod/") {
		t.Errorf("checks %+v", rec.Checks)
	}
	again := rig.Validate(t.Context(), req)
	if !maps.Equal(resp.AuditAnnotations, again.AuditAnnotations) {
		t.Errorf("annotations differ when repeated: %v, %v", resp.AuditAnnotations, again.AuditAnnotations)
	}
	if len(resp.Result.Details.Causes) != 1 || resp.Result.Details.Causes[0].Field != "metadata.labels[role]" {
		t.Errorf("causes %+v", resp.Result.Details)
	}
}

func TestWarnModeWarnsBriefly(t *testing.T) {
	w := guarded()
	w.guards[0].Spec.Labels.Mode = v1alpha1.ModeWarn
	rig := newRig(t, w)
	long := strings.Repeat("v", 63)
	resp := rig.Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account(strings.Repeat("n", 200), "role", long), nil))
	if !resp.Allowed || len(resp.Warnings) == 0 {
		t.Fatalf("allowed %v, warnings %q", resp.Allowed, resp.Warnings)
	}
	for _, warning := range resp.Warnings {
		if len([]rune(warning)) > 120 {
			t.Errorf("warning of %d characters: %s", len([]rune(warning)), warning)
		}
	}
	if rec := rig.records.last(t); rec.Decision != audit.Allowed || rec.Reason != webhook.ReasonTolerated || rec.Mode != "Warn" {
		t.Errorf("recorded %s %s %s", rec.Decision, rec.Reason, rec.Mode)
	}
	w.guards[0].Spec.Labels.Mode = v1alpha1.ModeAudit
	if resp := rig.Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "x"), nil)); !resp.Allowed || len(resp.Warnings) > 0 {
		t.Errorf("mode Audit: allowed %v, warnings %q", resp.Allowed, resp.Warnings)
	}
}

func review(t *testing.T, change func(*admissionv1.AdmissionReview)) []byte {
	t.Helper()
	no := false
	r := &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "uid-2", Operation: admissionv1.Create, Namespace: "prod", DryRun: &no,
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"},
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"},
			UserInfo: authenticationv1.UserInfo{Username: "alice", Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}}},
			Object:   runtime.RawExtension{Raw: raw(t, account("web", "role", "intern"))},
		},
	}
	if change != nil {
		change(r)
	}
	return raw(t, r)
}

// post sends bytes as the API server would and returns the status and the answer.
func post(t *testing.T, h http.Handler, path, contentType string, body []byte) (int, *admissionv1.AdmissionResponse) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	if got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" || got.Response == nil {
		t.Fatalf("answer %s", w.Body)
	}
	return w.Code, got.Response
}

func TestHostileBodies(t *testing.T) {
	deep := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","object":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000) + `}}`
	cases := map[string]struct {
		contentType string
		body        []byte
		code        int
		reason      string
	}{
		"empty":                {body: nil, code: 400, reason: webhook.ReasonMalformed},
		"not JSON":             {body: []byte("hello"), code: 400, reason: webhook.ReasonMalformed},
		"truncated":            {body: review(t, nil)[:100], code: 400, reason: webhook.ReasonMalformed},
		"another content type": {contentType: "application/yaml", body: review(t, nil), code: 400, reason: webhook.ReasonMalformed},
		"no content type":      {contentType: " ", body: review(t, nil), code: 400, reason: webhook.ReasonMalformed},
		"over 7 MiB":           {body: bytes.Repeat([]byte(" "), 7<<20+1), code: 413, reason: webhook.ReasonTooLarge},
		"deeply nested":        {body: []byte(deep), code: 400, reason: webhook.ReasonMalformed},
		"v1beta1":              {body: review(t, func(r *admissionv1.AdmissionReview) { r.APIVersion = "admission.k8s.io/v1beta1" }), code: 400, reason: webhook.ReasonMalformed},
		"another kind":         {body: review(t, func(r *admissionv1.AdmissionReview) { r.Kind = "Pod" }), code: 400, reason: webhook.ReasonMalformed},
		"no request":           {body: review(t, func(r *admissionv1.AdmissionReview) { r.Request = nil }), code: 400, reason: webhook.ReasonMalformed},
		"no uid":               {body: review(t, func(r *admissionv1.AdmissionReview) { r.Request.UID = "" }), code: 400, reason: webhook.ReasonMalformed},
		"field names in another case are other fields": {body: bytes.Replace(review(t, nil), []byte(`"request"`), []byte(`"Request"`), 1), code: 400, reason: webhook.ReasonMalformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rig := newRig(t, guarded())
			for _, h := range []http.Handler{rig.ValidateHTTP(), rig.MutateHTTP()} {
				contentType := "application/json"
				if tc.contentType != "" {
					contentType = tc.contentType
				}
				code, resp := post(t, h, "/validate", contentType, tc.body)
				if code != tc.code || resp.Allowed || int(resp.Result.Code) != tc.code {
					t.Errorf("answered %d %+v", code, resp)
				}
				if rec := rig.records.last(t); rec.Reason != tc.reason || rec.Decision != audit.Failed {
					t.Errorf("recorded %s %s", rec.Decision, rec.Reason)
				}
			}
		})
	}
}

func TestReviewOverHTTP(t *testing.T) {
	rig := newRig(t, guarded())
	code, resp := post(t, rig.ValidateHTTP(), "/validate?timeout=5s", "application/json; charset=utf-8", review(t, nil))
	if code != 200 || resp.Allowed || resp.UID != "uid-2" || resp.Result.Code != 403 || resp.Result.Reason != metav1.StatusReasonForbidden {
		t.Errorf("answered %d %+v", code, resp)
	}
	if rec := rig.records.last(t); rec.User != "alice" {
		t.Errorf("recorded user %q", rec.User)
	}
	rig.world.grant("alice", "prod", "use", "serviceaccounts/labels", "role=intern")
	if code, resp = post(t, rig.ValidateHTTP(), "/validate", "application/json", review(t, nil)); code != 200 || !resp.Allowed {
		t.Errorf("answered %d %+v", code, resp)
	}
	// An object of the largest size that fits is judged, not refused.
	big := review(t, func(r *admissionv1.AdmissionReview) {
		a := account("web", "role", "intern")
		a.Annotations = map[string]string{"a": strings.Repeat("x", 6<<20)}
		r.Request.Object.Raw = raw(t, a)
	})
	if code, resp = post(t, rig.ValidateHTTP(), "/validate", "application/json", big); code != 200 || !resp.Allowed {
		t.Errorf("6 MiB: answered %d %+v", code, resp.Result)
	}
}

func TestDeadlineReachesTheAuthorizer(t *testing.T) {
	for query, limit := range map[string]float64{"?timeout=5s": 4.5, "": 27, "?timeout=1h": 27, "?timeout=-1s": 27, "?timeout=x": 27} {
		var left float64
		rig := newRig(t, guarded(), func(o *webhook.Options) {
			o.Checks = []webhook.Check{}
			o.Authorizer = brokenAuthorizer{}
			inner := o.World
			o.World = probing{World: inner, see: func(ctx context.Context) {
				d, ok := ctx.Deadline()
				if !ok {
					t.Error("no deadline")
				}
				left = d.Sub(o.Now()).Seconds()
			}}
		})
		rig.world.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "prod"}
		post(t, rig.ValidateHTTP(), "/validate"+query, "application/json", review(t, nil))
		if left <= 0 || left > limit {
			t.Errorf("%q leaves %v s, want at most %v", query, left, limit)
		}
	}
}

func FuzzReview(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":"prod","resource":{"group":"","version":"v1","resource":"serviceaccounts"},"object":{"metadata":{"name":"a","labels":{"role":"x"}}}}}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"DELETE","resource":{"group":"saguard.io","version":"v1alpha1","resource":"policybands"},"oldObject":{}}}`))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE","resource":{"group":"saguard.io","version":"v1alpha1","resource":"serviceaccountguards"},"object":{"spec":{"labels":{"keys":["a/*"]}}}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		rig := newRig(t, guarded())
		for _, h := range []http.Handler{rig.ValidateHTTP(), rig.MutateHTTP()} {
			code, resp := post(t, h, "/validate", "application/json", body)
			if resp.Result != nil && resp.Result.Code == 500 {
				t.Errorf("answered %d %s", code, resp.Result.Message)
			}
			if code != 200 && resp.Allowed {
				t.Errorf("allowed with status %d", code)
			}
		}
	})
}

// Policies that cannot be read hold up nothing but what rests on them.
func TestUnreadPoliciesHoldUpOnlyTheirGuards(t *testing.T) {
	w := guarded()
	w.unreadPolicies = "policies not read yet"
	w.grant("alice", "prod", "use", "serviceaccounts/labels", "role=intern")
	if resp := newRig(t, w).Validate(t.Context(), request(t, admissionv1.Create, "alice", "serviceaccounts", account("web", "role", "intern"), nil)); !resp.Allowed {
		t.Errorf("refused: %+v", resp.Result)
	}
}

// Beyond the bound requests are turned away at once, and when it is quiet again they are judged.
func TestTooManyRequestsAtOnceAreTurnedAway(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	rig := newRig(t, guarded(), func(o *webhook.Options) {
		inner := o.World
		o.World = probing{World: inner, see: func(context.Context) {
			entered <- struct{}{}
			<-leave
		}}
	})
	rig.world.guards[0].Spec.NamespaceSelector.MatchLabels = map[string]string{"env": "prod"}
	h := rig.ValidateHTTP()
	body := review(t, nil)
	send := func() int {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Code
	}
	const bound = 256
	codes := make(chan int, bound)
	for range bound {
		go func() { codes <- send() }()
		<-entered
	}
	if code := send(); code != http.StatusServiceUnavailable {
		t.Errorf("one more: status %d", code)
	}
	close(leave)
	for range bound {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("one of the first: status %d", code)
		}
	}
	go func() { <-entered }()
	if code := send(); code != http.StatusOK {
		t.Errorf("when it is quiet again: status %d", code)
	}
}
