package rbactest_test

import (
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func TestGenerateIsRepeatable(t *testing.T) {
	o := rbactest.Options{NamePrefix: "w1-", Roles: 30}
	if !reflect.DeepEqual(rbactest.Generate(7, o), rbactest.Generate(7, o)) {
		t.Error("one seed gave two worlds")
	}
	if reflect.DeepEqual(rbactest.Generate(7, o), rbactest.Generate(8, o)) {
		t.Error("two seeds gave one world")
	}
}

// What the API server validates of RBAC objects (k8s.io/kubernetes/pkg/apis/rbac/validation).
func TestGeneratedObjectsAreValid(t *testing.T) {
	for seed := range uint64(200) {
		w := rbactest.Generate(seed, rbactest.Options{NamePrefix: "w1-"})
		seen := map[string]bool{}
		object := func(kind, namespace, name string) {
			if msgs := content.IsPathSegmentName(name); len(msgs) > 0 || !strings.HasPrefix(name, "w1-") || seen[kind+namespace+"/"+name] {
				t.Fatalf("seed %d: %s %q: %v", seed, kind, name, msgs)
			}
			seen[kind+namespace+"/"+name] = true
			if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
				t.Fatalf("seed %d: namespace %q", seed, namespace)
			}
		}
		rules := func(rules []rbacv1.PolicyRule) {
			for _, r := range rules {
				resource := len(r.APIGroups) > 0 && len(r.Resources) > 0 && len(r.NonResourceURLs) == 0
				url := len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) == 0 && len(r.NonResourceURLs) > 0
				if len(r.Verbs) == 0 || !resource && !url {
					t.Fatalf("seed %d: rule %v", seed, r)
				}
			}
		}
		binding := func(namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
			if ref.APIGroup != rbacv1.GroupName || ref.Name == "" || ref.Kind != "ClusterRole" && (ref.Kind != "Role" || namespace == "") {
				t.Fatalf("seed %d: role reference %v", seed, ref)
			}
			for _, s := range subjects {
				switch s.Kind {
				case "User", "Group":
					if s.Name == "" || s.Namespace != "" || s.APIGroup != rbacv1.GroupName {
						t.Fatalf("seed %d: subject %v", seed, s)
					}
				case "ServiceAccount":
					if len(validation.IsDNS1123Subdomain(s.Name)) > 0 || s.APIGroup != "" || namespace == "" && s.Namespace == "" {
						t.Fatalf("seed %d: subject %v", seed, s)
					}
				default:
					t.Fatalf("seed %d: subject %v", seed, s)
				}
			}
		}
		for _, r := range w.Roles {
			object("Role", r.Namespace, r.Name)
			rules(r.Rules)
		}
		for _, r := range w.ClusterRoles {
			object("ClusterRole", "", r.Name)
			rules(r.Rules)
			if r.AggregationRule != nil && (len(r.Rules) > 0 || len(r.AggregationRule.ClusterRoleSelectors) == 0) {
				t.Fatalf("seed %d: aggregated %v", seed, r)
			}
			for k := range r.Labels {
				if msgs := content.IsLabelKey(k); len(msgs) > 0 {
					t.Fatalf("seed %d: label key %q: %v", seed, k, msgs)
				}
			}
		}
		for _, b := range w.RoleBindings {
			object("RoleBinding", b.Namespace, b.Name)
			binding(b.Namespace, b.RoleRef, b.Subjects)
		}
		for _, b := range w.ClusterRoleBindings {
			object("ClusterRoleBinding", "", b.Name)
			binding("", b.RoleRef, b.Subjects)
		}
	}
}

func TestParse(t *testing.T) {
	w := rbactest.MustParse(t, `
		# who may label
		role prod/r use,bind serviceaccounts/labels role=intern,role=*
		role prod/r use saguard.io:policybands
		bind prod/b role:r user:alice group:system:authenticated sa:ci sa:dev/ci`)
	want := []rbacv1.PolicyRule{
		{Verbs: []string{"use", "bind"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: []string{"role=intern", "role=*"}},
		{Verbs: []string{"use"}, APIGroups: []string{"saguard.io"}, Resources: []string{"policybands"}},
	}
	if len(w.Roles) != 1 || !reflect.DeepEqual(w.Roles[0].Rules, want) || w.Namespaces[0] != "prod" {
		t.Errorf("got %+v", w)
	}
	for _, s := range []identity.Subject{
		{User: "alice"}, {User: "x", Groups: []string{"system:authenticated"}},
		{User: "system:serviceaccount:prod:ci"}, {User: "system:serviceaccount:dev:ci"},
	} {
		if _, ok := w.Store().Snapshot().Authorize(s, rbac.UseBand("prod", "x")); !ok {
			t.Errorf("%v is not bound", s)
		}
	}
}

func TestParseNamesTheBadLine(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown word":          "roll prod/r use pods",
		"a role without namespace": "role r use pods",
		"a rule without resource":  "clusterrole r use",
		"an unknown role kind":     "clusterbind b group:x user:a",
		"a binding without role":   "bind prod/b",
		"an unknown subject":       "clusterbind b clusterrole:x robot:a",
		"a subject without name":   "clusterbind b clusterrole:x user:",
	} {
		if _, err := rbactest.Parse("# one\n" + text); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
