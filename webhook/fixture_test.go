package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// world is a cluster in memory. Its RBAC is answered by the real engine.
type world struct {
	guards     []v1alpha1.ServiceAccountGuard
	bands      []v1alpha1.PolicyBand
	policyKeys guard.PolicyKeys
	namespaces map[string]guard.Namespace
	notSynced  string
	// unreadPolicies says which policies have not been read.
	unreadPolicies string
	unknown        error // of namespaces
	rbac           *rbac.Store
	pods           map[string]decision.Fact[identity.Pod] // by namespace/name; Absent where there is none
	lookups        int                                    // of pods
	others         decision.Fact[shadow.Others]
	// accounts are those that are known, by namespace and name, with their labels; nil = unknown.
	accounts map[string]map[string]string
}

func newWorld() *world {
	return &world{rbac: rbac.NewStore(), namespaces: map[string]guard.Namespace{"prod": {Labels: map[string]string{"env": "prod"}}, "dev": {}}}
}

func (w *world) WhyNotCurrent() string { return w.notSynced }

func (w *world) WhyPoliciesUnread() string { return w.unreadPolicies }

func (w *world) Guards() *guard.Set {
	set, _ := guard.Compile(w.guards, w.policyKeys)
	return set
}

func (w *world) Bands() []v1alpha1.PolicyBand { return w.bands }
func (w *world) Revision() uint64             { return 7 }

func (w *world) Namespace(_ context.Context, name string, _ bool) decision.Fact[guard.Namespace] {
	if w.unknown != nil {
		return decision.Unknown[guard.Namespace](w.unknown.Error())
	}
	ns, ok := w.namespaces[name]
	if !ok {
		return decision.Absent[guard.Namespace]()
	}
	return decision.Known(ns)
}

func (w *world) PodAccount(_ context.Context, namespace, name string) decision.Fact[identity.Pod] {
	w.lookups++
	if p, ok := w.pods[namespace+"/"+name]; ok {
		return p
	}
	return decision.Absent[identity.Pod]()
}

func (w *world) Others(string) decision.Fact[shadow.Others] { return w.others }

func (w *world) AnyAccount(namespace string, g reference.Grant) decision.Fact[bool] {
	if w.accounts == nil {
		return decision.Unknown[bool]("not read")
	}
	for name, labels := range w.accounts {
		ns, name, _ := strings.Cut(name, "/")
		value, has := labels[g.Key]
		if (namespace == "" || namespace == ns) &&
			(g.Kind == reference.Account && name == g.Value || g.Kind == reference.Label && has && value == g.Value || g.Kind == reference.AnyValue && has) {
			return decision.Known(true)
		}
	}
	return decision.Known(false)
}

// grant lets user do verb on resource[/subresource] names in namespace; namespace "" grants cluster-wide.
func (w *world) grant(user, namespace, verb, resource string, names ...string) {
	group := ""
	if resource == "policybands" {
		group = v1alpha1.GroupName
	}
	rules := []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names}}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	meta := metav1.ObjectMeta{Name: "g-" + user + "-" + verb + "-" + resource + "-" + namespace, Namespace: namespace}
	for _, n := range names {
		meta.Name += "-" + n
	}
	if namespace == "" {
		w.rbac.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
		w.rbac.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}})
		return
	}
	w.rbac.SetRole(&rbacv1.Role{ObjectMeta: meta, Rules: rules})
	w.rbac.SetRoleBinding(&rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}})
}

// records keeps what was recorded, and refuses what the real writer refuses.
type records struct {
	mu   sync.Mutex
	all  []audit.Record
	fail error
}

func (r *records) Write(rec *audit.Record) error {
	if err := rec.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.all = append(r.all, *rec)
	return nil
}

func (r *records) last(t *testing.T) audit.Record {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		t.Fatal("nothing was recorded")
	}
	return r.all[len(r.all)-1]
}

// rig is a handler on a world.
type rig struct {
	*webhook.Handler
	world    *world
	records  *records
	registry *prometheus.Registry
}

func newRig(t *testing.T, w *world, change ...func(*webhook.Options)) *rig {
	t.Helper()
	r := &rig{world: w, records: &records{}, registry: prometheus.NewRegistry()}
	metrics, err := webhook.NewMetrics(r.registry)
	if err != nil {
		t.Fatal(err)
	}
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: w.rbac.Snapshot, Observe: metrics.Asked})
	if err != nil {
		t.Fatal(err)
	}
	o := webhook.Options{
		World: w, Authorizer: authorizer, Recorder: r.records, Metrics: metrics, Log: testr.New(t),
		Now: time.Now, ExcludedNamespaces: []string{"kube-system", "saguard-system"},
	}
	for _, c := range change {
		c(&o)
	}
	if r.Handler, err = webhook.New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

func raw(t *testing.T, v any) []byte {
	t.Helper()
	if v == nil {
		return nil
	}
	if text, ok := v.(string); ok {
		return []byte(text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// request is for a core/v1 resource in namespace prod; change it as needed.
func request(t *testing.T, op admissionv1.Operation, user, resource string, object, old any) *webhook.Request {
	t.Helper()
	return &webhook.Request{
		UID: "uid-1", Operation: op, Resource: schema.GroupVersionResource{Version: "v1", Resource: resource},
		Namespace: "prod", Subject: identity.Subject{User: user, Groups: []string{"system:authenticated"}},
		Object: raw(t, object), OldObject: raw(t, old),
	}
}

var errBroken = errors.New("broken")

// brokenAuthorizer answers nothing.
type brokenAuthorizer struct{}

func (brokenAuthorizer) Evaluate(context.Context, identity.Subject, rbac.Need) (rbac.Outcome, error) {
	return rbac.Outcome{}, errBroken
}

// probing shows the context that a lookup is made with.
type probing struct {
	webhook.World
	see func(context.Context)
}

func (p probing) Namespace(ctx context.Context, name string, fresh bool) decision.Fact[guard.Namespace] {
	p.see(ctx)
	return p.World.Namespace(ctx, name, fresh)
}
