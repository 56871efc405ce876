package background

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/scan/report"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
)

// cluster has one guard, of every namespace.
type cluster struct {
	guards     []v1alpha1.ServiceAccountGuard
	notCurrent string
	panics     bool
}

func (c *cluster) WhyNotCurrent() string     { return c.notCurrent }
func (c *cluster) WhyPoliciesUnread() string { return "" }

func (c *cluster) Guards() *guard.Set {
	if c.panics {
		panic("no")
	}
	set, _ := guard.Compile(c.guards)
	return set
}
func (c *cluster) Bands() []v1alpha1.PolicyBand                 { return nil }
func (c *cluster) Revision() uint64                             { return 1 }
func (c *cluster) GuardObjects() []v1alpha1.ServiceAccountGuard { return c.guards }

func (c *cluster) Namespace(context.Context, string, bool) decision.Fact[guard.Namespace] {
	return decision.Known(guard.Namespace{})
}

func (c *cluster) PodAccount(context.Context, string, string) decision.Fact[identity.Pod] {
	return decision.Absent[identity.Pod]()
}

func (c *cluster) Others(string) decision.Fact[shadow.Others] {
	return decision.Unknown[shadow.Others]("")
}

func (c *cluster) AnyAccount(string, reference.Grant) decision.Fact[bool] {
	return decision.Unknown[bool]("")
}

// rig is a scanner of a fake API server and a clock that stands.
type rig struct {
	*Scanner
	cluster *cluster
	api     client.WithWatch
	now     time.Time
	lists   int
	writes  []string
	// fail, if given, is asked before every call.
	fail func(verb string, o runtime.Object) error
	// reports says that the CRDs of OpenReports are there.
	reports bool
}

func strictGuard() v1alpha1.ServiceAccountGuard {
	return v1alpha1.ServiceAccountGuard{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion().String(), Kind: "ServiceAccountGuard"},
		ObjectMeta: metav1.ObjectMeta{Name: "strict", Generation: 1},
		Spec:       v1alpha1.ServiceAccountGuardSpec{Workloads: &v1alpha1.WorkloadGuard{Mode: v1alpha1.ModeEnforce}},
		Status: v1alpha1.ServiceAccountGuardStatus{
			ObservedGeneration: 7, Violations: &v1alpha1.ViolationCount{Total: 9, ByCheck: map[string]int64{"policy-hygiene": 9, "of-another-version": 1}},
		},
	}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}, Spec: corev1.PodSpec{ServiceAccountName: "web"}}
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	g := strictGuard()
	r := &rig{cluster: &cluster{guards: []v1alpha1.ServiceAccountGuard{g}}, now: time.Unix(1_000_000, 0), reports: true}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, v1alpha1.AddToScheme, openreports.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for gvk := range scheme.AllKnownTypes() {
		scope := meta.RESTScopeNamespace
		if slices.Contains([]string{"Namespace", "ClusterRole", "ClusterRoleBinding", "ServiceAccountGuard", "PolicyBand", "ClusterReport"}, gvk.Kind) {
			scope = meta.RESTScopeRoot
		}
		mapper.Add(gvk, scope)
	}
	check := func(verb string, o runtime.Object) error {
		if !r.reports && isReport(o) {
			return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "openreports.io"}}
		}
		if r.fail != nil {
			return r.fail(verb, o)
		}
		return nil
	}
	note := func(verb string, o client.Object) {
		r.writes = append(r.writes, verb+" "+client.ObjectKeyFromObject(o).String())
	}
	r.api = fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper).WithObjects(append(objects, &g)...).WithStatusSubresource(&g).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			r.lists++
			if err := check("list", list); err != nil {
				return err
			}
			if u, ok := list.(*unstructured.UnstructuredList); ok && strings.Contains(u.GetAPIVersion(), "projectcalico.org") {
				return &meta.NoKindMatchError{}
			}
			return c.List(ctx, list, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := check("create", o); err != nil {
				return err
			}
			note("create", o)
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			note("update", o)
			return c.Update(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			note("delete", o)
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := check("patch", o); err != nil {
				return err
			}
			note("patch", o)
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		},
	}).Build()
	index := rbac.NewStore()
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: index.Snapshot})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	r.Scanner = &Scanner{
		Cluster: r.cluster, Index: index.Snapshot, Authorizer: authorizer, Client: r.api, Excluded: []string{"kube-system"}, Interval: time.Hour,
		Metrics: metrics, Log: logr.Discard(), Now: func() time.Time { return r.now },
	}
	return r
}

func isReport(o runtime.Object) bool {
	switch o.(type) {
	case *openreports.Report, *openreports.ReportList, *openreports.ClusterReport, *openreports.ClusterReportList:
		return true
	default:
		return false
	}
}

func (r *rig) status(t *testing.T) v1alpha1.ServiceAccountGuardStatus {
	t.Helper()
	var g v1alpha1.ServiceAccountGuard
	if err := r.api.Get(t.Context(), client.ObjectKey{Name: "strict"}, &g); err != nil {
		t.Fatal(err)
	}
	return g.Status
}

// reportOf is the summary of prod's report; false if there is none.
func (r *rig) reportOf(t *testing.T, namespace string) (openreports.ReportSummary, bool) {
	t.Helper()
	var o openreports.Report
	err := r.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: report.Name}, &o)
	if apierrors.IsNotFound(err) {
		return openreports.ReportSummary{}, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return o.Summary, true
}

func TestResultsAreWrittenOnce(t *testing.T) {
	r := newRig(t, pod("a"), pod("b"))
	r.tick(t.Context())
	s := r.status(t)
	want := map[string]int64{"account-use": 2}
	if s.Violations.Total != 2 || !maps.Equal(s.Violations.ByCheck, want) || s.Violations.LastScan.Unix() != r.now.Unix() || s.Violations.Unjudged != 0 {
		t.Errorf("status %+v", s.Violations)
	}
	if s.ObservedGeneration != 7 {
		t.Error("the rest of the status was written too")
	}
	if got, ok := r.reportOf(t, "prod"); !ok || got.Fail != 2 {
		t.Errorf("report %+v", got)
	}
	// The next scan finds the same: the status says when it was, and the report is as it was.
	r.writes = nil
	r.now = r.now.Add(time.Hour)
	r.tick(t.Context())
	if !slices.Equal(r.writes, []string{"patch /strict"}) {
		t.Errorf("writes %q", r.writes)
	}
	if err := r.api.Delete(t.Context(), pod("a")); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Hour)
	r.tick(t.Context())
	if got, _ := r.reportOf(t, "prod"); got.Fail != 1 {
		t.Errorf("report %+v", got)
	}
	if err := r.api.Delete(t.Context(), pod("b")); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Hour)
	r.tick(t.Context())
	if _, ok := r.reportOf(t, "prod"); ok || r.status(t).Violations.Total != 0 || len(r.status(t).Violations.ByCheck) != 0 {
		t.Errorf("left: %+v", r.status(t).Violations)
	}
}

// What the server counts and memory does not know of, because it is behind, goes too.
func TestCountsThatMemoryDoesNotKnow(t *testing.T) {
	r := newRig(t)
	r.cluster.guards[0].Status.Violations = nil
	r.tick(t.Context())
	if v := r.status(t).Violations; v.Total != 0 || v.ByCheck["policy-hygiene"] != 0 {
		t.Errorf("%+v", v)
	}
}

func TestWhenItIsTime(t *testing.T) {
	r := newRig(t)
	scans := func(what string, want bool) {
		t.Helper()
		before := r.lists
		r.tick(t.Context())
		if got := r.lists > before; got != want {
			t.Errorf("%s: scanned %v", what, got)
		}
	}
	r.cluster.notCurrent = "starting"
	scans("the picture is not whole", false)
	r.cluster.notCurrent = ""
	scans("at first", true)
	scans("again at once", false)
	r.now = r.now.Add(time.Hour - time.Second)
	scans("before the interval is over", false)
	r.now = r.now.Add(time.Second)
	scans("after the interval", true)
	r.cluster.guards[0].Generation++
	scans("the guards have changed a moment after a scan", false)
	r.now = r.now.Add(soonest)
	scans("the guards have changed", true)
	scans("and not again", false)
}

// What goes wrong is said, counted and tried again; it ends nothing.
func TestWhatGoesWrong(t *testing.T) {
	denied := func(verb string, is func(runtime.Object) bool) func(string, runtime.Object) error {
		return func(v string, o runtime.Object) error {
			if v == verb && is(o) {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
			}
			return nil
		}
	}
	isList := func(kind string) func(runtime.Object) bool {
		return func(o runtime.Object) bool {
			u, ok := o.(*unstructured.UnstructuredList)
			return ok && u.GetKind() == kind
		}
	}
	any := func(runtime.Object) bool { return true }
	cases := map[string]struct {
		fail     func(string, runtime.Object) error
		panics   bool
		failures uint64
		total    int64
		unjudged int64
	}{
		"nothing": {total: 1},
		"a resource that may not be listed is not clean": {fail: denied("list", isList("PodList")), unjudged: 1},
		"nothing may be listed":                          {fail: denied("list", func(o runtime.Object) bool { return !isReport(o) }), unjudged: int64(16)},
		"reports may not be listed":                      {fail: denied("list", isReport), failures: 1, total: 1},
		"reports may not be created":                     {fail: denied("create", any), failures: 1, total: 1},
		"the status may not be written":                  {fail: denied("patch", any), failures: 1, total: 9},
		"a panic":                                        {panics: true, failures: 1, total: 9},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pod("a"))
			r.fail, r.cluster.panics = tc.fail, tc.panics
			r.tick(t.Context())
			if got := r.Metrics.failures.Load(); got != tc.failures {
				t.Errorf("%d failures, want %d", got, tc.failures)
			}
			if v := r.status(t).Violations; v.Total != tc.total || tc.unjudged > 0 && v.Unjudged < tc.unjudged {
				t.Errorf("status %+v, want %d and %d not judged", v, tc.total, tc.unjudged)
			}
			r.fail, r.cluster.panics = nil, false
			r.now = r.now.Add(retryAfter)
			r.tick(t.Context())
			if v := r.status(t).Violations; (v.Total == 1 && v.Unjudged == 0) != (tc.failures > 0 || name == "nothing") {
				t.Errorf("a minute later: %+v", v)
			}
		})
	}
}

func TestReportsComeAndGoWithTheirCRDs(t *testing.T) {
	r := newRig(t, pod("a"))
	r.reports = false
	r.tick(t.Context())
	if r.Metrics.failures.Load() != 0 || r.status(t).Violations.Total != 1 {
		t.Fatal("a cluster without OpenReports is an error")
	}
	r.reports = true
	if _, ok := r.reportOf(t, "prod"); ok {
		t.Fatal("a report without its CRD")
	}
	r.now = r.now.Add(time.Hour)
	r.tick(t.Context())
	if _, ok := r.reportOf(t, "prod"); !ok {
		t.Error("no report though its CRD is there now")
	}
}

// Reports of others stay, whatever their labels.
func TestReportsOfOthers(t *testing.T) {
	mine := map[string]string{report.LabelManagedBy: report.ManagedBy}
	stale := &openreports.Report{ObjectMeta: metav1.ObjectMeta{Namespace: "old", Name: report.Name, Labels: mine}}
	others := &openreports.Report{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "kyverno", Labels: mine}}
	unlabelled := &openreports.Report{ObjectMeta: metav1.ObjectMeta{Namespace: "dev", Name: report.Name}}
	cluster := &openreports.ClusterReport{ObjectMeta: metav1.ObjectMeta{Name: report.Name, Labels: mine}}
	r := newRig(t, stale, others, unlabelled, cluster)
	r.tick(t.Context())
	if !slices.Equal(r.writes, []string{"patch /strict", "delete old/" + report.Name, "delete /" + report.Name}) {
		t.Errorf("writes %q", r.writes)
	}
}

// A cluster of many pages: all are looked at, and a list that expires is begun again.
func TestPagesThatExpire(t *testing.T) {
	var objects []client.Object
	for i := range 3 {
		objects = append(objects, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: fmt.Sprint("d", i)}, Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{ServiceAccountName: "web"}}},
		})
	}
	for name, tc := range map[string]struct {
		expiries int
		want     int64
		unjudged int64
	}{"once": {expiries: 1, want: 3}, "again and again": {expiries: 100, unjudged: 1}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, objects...)
			left := tc.expiries
			r.fail = func(verb string, o runtime.Object) error {
				if u, ok := o.(*unstructured.UnstructuredList); ok && verb == "list" && u.GetKind() == "DeploymentList" && left > 0 {
					left--
					return apierrors.NewResourceExpired("too old")
				}
				return nil
			}
			r.tick(t.Context())
			if v := r.status(t).Violations; v.Total != tc.want || v.Unjudged != tc.unjudged {
				t.Errorf("%+v", v)
			}
		})
	}
}

// When the lease is lost the figures go, and the process does not.
func TestLosingTheLease(t *testing.T) {
	r := newRig(t, pod("a"))
	ticks := make(chan time.Time)
	r.Ticks = ticks
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Metrics)
	families := func() []string {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range all {
			names = append(names, f.GetName())
		}
		return names
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	ticks <- r.now
	ticks <- r.now // the first has been dealt with
	if !slices.Contains(families(), "saguard_scan_violations") {
		t.Errorf("while it leads: %q", families())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := families(); !slices.Equal(got, []string{"saguard_scan_failures_total"}) {
		t.Errorf("afterwards: %q", got)
	}
}
