package scan_test

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// world is a cluster of a few guards and namespaces.
type world struct {
	set        *guard.Set
	bands      []v1alpha1.PolicyBand
	namespaces map[string]map[string]string
	notCurrent string
}

func (w *world) WhyNotCurrent() string        { return w.notCurrent }
func (w *world) WhyPoliciesUnread() string    { return "" }
func (w *world) Guards() *guard.Set           { return w.set }
func (w *world) Bands() []v1alpha1.PolicyBand { return w.bands }
func (w *world) Revision() uint64             { return 1 }

func (w *world) Namespace(_ context.Context, name string, _ bool) decision.Fact[guard.Namespace] {
	if labels, ok := w.namespaces[name]; ok {
		return decision.Known(guard.Namespace{Labels: labels})
	}
	return decision.Unknown[guard.Namespace]("not there")
}

func (w *world) PodAccount(context.Context, string, string) decision.Fact[identity.Pod] {
	return decision.Absent[identity.Pod]()
}

func (w *world) Others(string) decision.Fact[shadow.Others] {
	return decision.Unknown[shadow.Others]("not asked")
}

func (w *world) AnyAccount(string, reference.Grant) decision.Fact[bool] {
	return decision.Unknown[bool]("not asked")
}

// rig is a scanner of testdata-like worlds.
type rig struct {
	*scan.Scanner
	world  *world
	owners map[string]*unstructured.Unstructured
	// lost are owners that cannot be looked up.
	lost bool
}

// deaf is an authorizer that cannot be asked.
type deaf struct{}

func (deaf) Evaluate(context.Context, identity.Subject, rbac.Need) (rbac.Outcome, error) {
	return rbac.Outcome{}, errors.New("away")
}

func guards(t *testing.T, text string) *guard.Set {
	t.Helper()
	var list []v1alpha1.ServiceAccountGuard
	for _, o := range objects(t, text) {
		var g v1alpha1.ServiceAccountGuard
		raw, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(raw, &g); err != nil {
			t.Fatal(err)
		}
		list = append(list, g)
	}
	set, problems := guard.Compile(list)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

const strict = `{metadata: {name: strict}, spec: {labels: {keys: [role]}, workloads: {}, policies: {}}}`

func newRig(t *testing.T, guardText, rbacText string, change ...func(*scan.Options, *rig)) *rig {
	t.Helper()
	r := &rig{world: &world{set: guards(t, guardText), namespaces: map[string]map[string]string{"prod": {"env": "prod"}, "dev": {}}}, owners: map[string]*unstructured.Unstructured{}}
	index := rbactest.MustParse(t, rbacText).Store().Snapshot()
	known, err := rbac.NewAuthorizer(rbac.Options{Index: func() *rbac.Index { return index }})
	if err != nil {
		t.Fatal(err)
	}
	o := scan.Options{
		World: r.world, Index: index, Authorizer: known, Excluded: []string{"kube-system"},
		Owner: func(_ context.Context, namespace string, owner scan.Owner) decision.Fact[*unstructured.Unstructured] {
			if r.lost {
				return decision.Unknown[*unstructured.Unstructured]("away")
			}
			if o, ok := r.owners[namespace+"/"+owner.Name]; ok {
				return decision.Known(o)
			}
			return decision.Absent[*unstructured.Unstructured]()
		},
	}
	for _, c := range change {
		c(&o, r)
	}
	if r.Scanner, err = scan.New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

// objects reads YAML documents.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range splitDocuments(text) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if o.GetAPIVersion() == "" {
			o.SetAPIVersion("v1")
		}
		out = append(out, o)
	}
	return out
}

// look scans the objects in turn.
func (r *rig) look(t *testing.T, text string) (all scan.Verdict) {
	t.Helper()
	for _, o := range objects(t, text) {
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace("prod")
		}
		resource, _, err := request.Guessed(o.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		v := r.Object(t.Context(), resource, o, "")
		all.Violations, all.Unjudged = append(all.Violations, v.Violations...), append(all.Unjudged, v.Unjudged...)
	}
	return all
}
