package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// parse reads one object.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	list, err := readManifests([]string{"-"}, strings.NewReader(text))
	if err != nil || len(list) != 1 {
		t.Fatalf("read %q: %d objects, %v", text, len(list), err)
	}
	return list[0].Unstructured
}

// judged answers every request the same, and remembers the last.
type judged struct {
	decision webhook.Decision
	last     *webhook.Request
}

func (j *judged) Review(_ context.Context, r *webhook.Request) webhook.Decision {
	j.last = r
	return j.decision
}

func TestDecisionsBecomeResults(t *testing.T) {
	need := rbac.Ask(rbac.UseAccount("prod", "web"))
	finding := func(mode v1alpha1.Mode, err error) []webhook.Judged {
		return []webhook.Judged{{Finding: webhook.Finding{Mode: mode, Attempt: "run", Need: &need}, Check: "account-use", Err: err,
			Outcome: rbac.Outcome{Missing: need.Questions()}}}
	}
	cases := map[string]struct {
		decision webhook.Decision
		live     error
		want     string
		findings int
		fails    bool
	}{
		"allowed": {decision: webhook.Decision{Verdict: decision.Allow, Reason: webhook.ReasonGranted}, want: decisionAllowed},
		"allowed with a warning": {
			decision: webhook.Decision{Verdict: decision.Allow, Reason: webhook.ReasonTolerated, Judged: finding(v1alpha1.ModeWarn, nil)}, want: decisionAllowed, findings: 1,
		},
		"denied": {
			decision: webhook.Decision{Outcome: audit.Denied, Reason: webhook.ReasonForbidden, Judged: finding(v1alpha1.ModeEnforce, nil)}, want: decisionDenied, findings: 1,
		},
		"refused as malformed":           {decision: webhook.Decision{Outcome: audit.Failed, Reason: webhook.ReasonMalformed, Message: "no"}, want: decisionDenied, findings: 1},
		"the zero decision":              {want: decisionError, fails: true},
		"a panic":                        {decision: webhook.Decision{Outcome: audit.Failed, Reason: webhook.ReasonPanic}, want: decisionError, fails: true},
		"a namespace nobody knows":       {decision: webhook.Decision{Outcome: audit.Failed, Reason: webhook.ReasonNamespaceUnknown}, want: decisionError, fails: true},
		"RBAC that cannot be asked":      {decision: webhook.Decision{Outcome: audit.Failed, Reason: webhook.ReasonUnauthorizable, Judged: finding(v1alpha1.ModeEnforce, errors.New("down"))}, want: decisionError, findings: 1, fails: true},
		"the same in a mode that warns":  {decision: webhook.Decision{Verdict: decision.Allow, Reason: webhook.ReasonTolerated, Judged: finding(v1alpha1.ModeWarn, errors.New("down"))}, want: decisionError, findings: 1, fails: true},
		"one answer and none":            {decision: webhook.Decision{Verdict: decision.Allow, Reason: webhook.ReasonTolerated, Judged: append(finding(v1alpha1.ModeWarn, errors.New("down")), finding(v1alpha1.ModeWarn, nil)...)}, want: decisionError, findings: 2, fails: true},
		"a cluster that cannot be asked": {live: errors.New("down"), want: decisionError, fails: true},
	}
	object := parse(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"prod"}}`)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			items := []checkItem{{manifest: manifest{Unstructured: object, source: "f"}, resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, namespaced: true}}
			live := func(context.Context, *checkItem) (*unstructured.Unstructured, error) { return nil, tc.live }
			r, err := checkAll(t.Context(), items, identity.Subject{User: "alice"}, live, &judged{decision: tc.decision})
			if (err != nil) != tc.fails {
				t.Errorf("error %v, want %v", err, tc.fails)
			}
			if o := r.Objects[0]; o.Decision != tc.want || len(o.Findings) != tc.findings || (o.Error != "") != tc.fails {
				t.Errorf("got %+v, want %s with %d findings", o, tc.want, tc.findings)
			}
			if rows := len(r.table().Rows); (rows == 0) != (tc.want == decisionAllowed && tc.findings == 0) {
				t.Errorf("%d rows", rows)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	subject := request.Subject("alice", nil)
	cases := map[string]struct {
		object string
		old    string
		want   webhook.Request
	}{
		"a new object": {
			object: `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"prod"}}`,
			want:   webhook.Request{Operation: admissionv1.Create, Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Kind: "Deployment", Namespace: "prod", Name: "web"},
		},
		"one without a namespace goes to the default one": {
			object: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web"}}`,
			want:   webhook.Request{Operation: admissionv1.Create, Resource: schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, Kind: "ServiceAccount", Namespace: "team", Name: "web"},
		},
		"a generated name": {
			object: `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-"}}`,
			want:   webhook.Request{Operation: admissionv1.Create, Resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: "Pod", Namespace: "team"},
		},
		"a namespace has its own name for a namespace": {
			object: `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"prod"}}`,
			want:   webhook.Request{Operation: admissionv1.Create, Resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, Kind: "Namespace", Namespace: "prod", Name: "prod"},
		},
		"a cluster-scoped object loses its namespace": {
			object: `{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"p","namespace":"prod"}}`,
			want:   webhook.Request{Operation: admissionv1.Create, Resource: schema.GroupVersionResource{Group: "projectcalico.org", Version: "v3", Resource: "globalnetworkpolicies"}, Kind: "GlobalNetworkPolicy", Name: "p"},
		},
		"an object that is there": {
			object: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","namespace":"prod","labels":{"a":"b"}}}`,
			old:    `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","namespace":"prod","uid":"1"}}`,
			want:   webhook.Request{Operation: admissionv1.Update, Resource: schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, Kind: "ServiceAccount", Namespace: "prod", Name: "web"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			item, err := newItem(manifest{Unstructured: parse(t, tc.object), source: "f"}, request.Guessed, "team")
			if err != nil {
				t.Fatal(err)
			}
			live := noLive
			if tc.old != "" {
				live = func(context.Context, *checkItem) (*unstructured.Unstructured, error) { return parse(t, tc.old), nil }
			}
			j := &judged{decision: webhook.Decision{Verdict: decision.Allow}}
			if _, err := check(t.Context(), &item, subject, live, j); err != nil {
				t.Fatal(err)
			}
			got := *j.last
			if len(got.Object) == 0 || (len(got.OldObject) > 0) != (tc.old != "") || !got.DryRun || got.UID == "" {
				t.Errorf("got %+v", got)
			}
			if got.Operation != tc.want.Operation || got.Resource != tc.want.Resource || got.Kind != tc.want.Kind || got.Namespace != tc.want.Namespace || got.Name != tc.want.Name {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			var object unstructured.Unstructured
			if err := object.UnmarshalJSON(got.Object); err != nil {
				t.Fatal(err)
			}
			if ns := object.GetNamespace(); got.Kind != "Namespace" && ns != got.Namespace {
				t.Errorf("the object is in %q, the request in %q", ns, got.Namespace)
			}
		})
	}
}

func TestItemsThatCannotBe(t *testing.T) {
	for name, object := range map[string]map[string]any{
		"no kind": {"apiVersion": "v1", "metadata": map[string]any{"name": "a"}},
		"no name": {"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{}},
	} {
		if _, err := newItem(manifest{Unstructured: &unstructured.Unstructured{Object: object}, source: "f"}, request.Guessed, "team"); err == nil || !strings.Contains(err.Error(), "f: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestSubjects(t *testing.T) {
	for user, want := range map[string][]string{
		"alice":                              {"dev", "system:authenticated"},
		"system:serviceaccount:prod:web":     {"dev", "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:prod"},
		"system:serviceaccount:prod:not a a": {"dev", "system:authenticated"},
	} {
		if got := request.Subject(user, []string{"dev"}); !slices.Equal(got.Groups, want) || got.User != user {
			t.Errorf("%s: got %+v, want %v", user, got, want)
		}
	}
}

// What `kubectl apply` would make of a live object.
func TestApplied(t *testing.T) {
	cases := map[string]struct {
		manifest, live string
		want           map[string]any // by path
		absent         []string
	}{
		"labels that others put stay": {
			manifest: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","labels":{"x":"1"}}}`,
			live:     `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","labels":{"role":"trusted"}}}`,
			want:     map[string]any{"metadata.labels.x": "1", "metadata.labels.role": "trusted"},
		},
		"labels of the last apply that are not in this one go": {
			manifest: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a"}}`,
			live:     `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","labels":{"role":"trusted"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"metadata\":{\"labels\":{\"role\":\"trusted\"}}}"}}}`,
			absent:   []string{"metadata.labels.role"},
		},
		"defaults of a container stay": {
			manifest: `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`,
			live:     `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,"template":{"spec":{"serviceAccountName":"web","containers":[{"name":"a","image":"b","imagePullPolicy":"Always"}]}}}}`,
			want:     map[string]any{"spec.replicas": int64(3), "spec.template.spec.serviceAccountName": "web", "spec.template.spec.containers": []any{map[string]any{"name": "a", "image": "b", "imagePullPolicy": "Always"}}},
		},
		"lists of other kinds are replaced": {
			manifest: `{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"d"},"spec":{"list":[{"name":"a"}],"set":1}}`,
			live:     `{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"d"},"spec":{"list":[{"name":"a","more":true},{"name":"b"}],"kept":true}}`,
			want:     map[string]any{"spec.list": []any{map[string]any{"name": "a"}}, "spec.kept": true, "spec.set": int64(1)},
		},
		"what the server sets does not conflict": {
			manifest: `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","uid":"old","resourceVersion":"1","creationTimestamp":null}}`,
			live:     `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","uid":"new","resourceVersion":"2"}}`,
			want:     map[string]any{"metadata.uid": "new", "metadata.resourceVersion": "2"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := applied(parse(t, tc.manifest), parse(t, tc.live))
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range tc.want {
				v, _, err := unstructured.NestedFieldNoCopy(got.Object, strings.Split(path, ".")...)
				if err != nil || !equalJSON(t, v, want) {
					t.Errorf("%s is %v (%v), want %v", path, v, err, want)
				}
			}
			for _, path := range tc.absent {
				if v, ok, err := unstructured.NestedFieldNoCopy(got.Object, strings.Split(path, ".")...); ok || err != nil {
					t.Errorf("%s is %v (%v), want it gone", path, v, err)
				}
			}
		})
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	left, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	right, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(left) == string(right)
}
