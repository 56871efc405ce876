package rbac_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

// clusterRole writes rules as verbs, labels as "to=edit" and selectors as "from=edit".
func clusterRole(name string, words ...string) rbacv1.ClusterRole {
	r := rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, w := range words {
		if to, ok := strings.CutPrefix(w, "to="); ok {
			r.Labels["to-"+to] = "true"
		} else if from, ok := strings.CutPrefix(w, "from="); ok {
			if r.AggregationRule == nil {
				r.AggregationRule = &rbacv1.AggregationRule{}
			}
			r.AggregationRule.ClusterRoleSelectors = append(r.AggregationRule.ClusterRoleSelectors,
				metav1.LabelSelector{MatchLabels: map[string]string{"to-" + from: "true"}})
		} else {
			r.Rules = append(r.Rules, rbacv1.PolicyRule{Verbs: []string{w}, APIGroups: []string{""}, Resources: []string{"pods"}})
		}
	}
	return r
}

func verbsOf(r rbacv1.ClusterRole) string {
	var verbs []string
	for _, rule := range r.Rules {
		verbs = append(verbs, rule.Verbs...)
	}
	return strings.Join(verbs, ",")
}

func TestAggregate(t *testing.T) {
	cases := map[string]struct {
		roles []rbacv1.ClusterRole
		want  map[string]string
	}{
		"rules come in order of the roles' names, each once": {
			roles: []rbacv1.ClusterRole{clusterRole("z", "get", "list", "to=x"), clusterRole("b", "use", "get", "to=x"), clusterRole("a", "from=x")},
			want:  map[string]string{"a": "use,get,list"},
		},
		"selectors come in their order": {
			roles: []rbacv1.ClusterRole{clusterRole("b", "get", "to=x"), clusterRole("c", "use", "to=y"), clusterRole("a", "from=y", "from=x")},
			want:  map[string]string{"a": "use,get"},
		},
		"rules it came with are dropped": {
			roles: []rbacv1.ClusterRole{clusterRole("a", "impersonate", "from=x"), clusterRole("b", "get", "to=x")},
			want:  map[string]string{"a": "get"},
		},
		"a role does not take its own": {
			roles: []rbacv1.ClusterRole{clusterRole("a", "impersonate", "from=x", "to=x"), clusterRole("b", "get", "to=x")},
			want:  map[string]string{"a": "get"},
		},
		"through an aggregated role, whichever comes first": {
			roles: []rbacv1.ClusterRole{clusterRole("a", "from=edit"), clusterRole("m", "from=view", "to=edit"), clusterRole("b", "get", "to=view")},
			want:  map[string]string{"a": "get", "m": "get"},
		},
		"in a circle, and nothing that only the circle holds": {
			roles: []rbacv1.ClusterRole{
				clusterRole("a", "impersonate", "from=b", "to=a"), clusterRole("b", "escalate", "from=a", "to=b"), clusterRole("c", "get", "to=a"),
			},
			want: map[string]string{"a": "get", "b": "get"},
		},
		"a selector that nothing matches": {
			roles: []rbacv1.ClusterRole{clusterRole("a", "impersonate", "from=x")}, want: map[string]string{"a": ""},
		},
		"a role without aggregationRule is left alone": {
			roles: []rbacv1.ClusterRole{clusterRole("a", "get", "get"), clusterRole("b", "from=x")}, want: map[string]string{"a": "get,get", "b": ""},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprint(tc.roles)
			got, err := rbac.Aggregate(tc.roles)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(tc.roles) != before {
				t.Error("the caller's roles were changed")
			}
			for i, r := range got {
				if r.Name != tc.roles[i].Name {
					t.Errorf("role %d is %s, want %s", i, r.Name, tc.roles[i].Name)
				}
				if want, ok := tc.want[r.Name]; ok && verbsOf(r) != want {
					t.Errorf("%s has %q, want %q", r.Name, verbsOf(r), want)
				}
			}
		})
	}
}

func TestAggregateNamesABadSelector(t *testing.T) {
	bad := clusterRole("bad", "impersonate", "from=x")
	bad.AggregationRule.ClusterRoleSelectors = append(bad.AggregationRule.ClusterRoleSelectors, metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: "Near"}},
	})
	got, err := rbac.Aggregate([]rbacv1.ClusterRole{bad, clusterRole("good", "from=x"), clusterRole("b", "get", "to=x")})
	if err == nil || !strings.Contains(err.Error(), "roles[bad].aggregationRule.clusterRoleSelectors[1]") {
		t.Errorf("error %v", err)
	}
	if verbsOf(got[0]) != "" || verbsOf(got[1]) != "get" {
		t.Errorf("bad has %q, good has %q; want nothing and get", verbsOf(got[0]), verbsOf(got[1]))
	}
}

// The controller's own condition: every aggregated role has exactly the rules of the roles it selects.
func TestAggregateIsAFixedPoint(t *testing.T) {
	filled := 0
	for seed := range uint64(worlds) {
		w := rbactest.Generate(seed, rbactest.Options{ClusterRoles: 20})
		once, err := rbac.Aggregate(w.ClusterRoles)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range once {
			if r.AggregationRule == nil {
				continue
			}
			want := map[string]bool{}
			for _, selector := range r.AggregationRule.ClusterRoleSelectors {
				s, err := metav1.LabelSelectorAsSelector(&selector)
				if err != nil {
					t.Fatal(err)
				}
				for _, other := range once {
					if other.Name != r.Name && s.Matches(labelSet(other.Labels)) {
						for _, rule := range other.Rules {
							want[rule.String()] = true
						}
					}
				}
			}
			got := map[string]bool{}
			for _, rule := range r.Rules {
				got[rule.String()] = true
			}
			if len(got) != len(r.Rules) || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: %s has %d rules, %d distinct, want %d", seed, r.Name, len(r.Rules), len(got), len(want))
			}
			filled += len(got)
		}
		reversed := slices.Clone(w.ClusterRoles)
		slices.Reverse(reversed)
		other, err := rbac.Aggregate(reversed)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(other)
		if !reflect.DeepEqual(once, other) {
			t.Fatalf("seed %d: the result depends on the order of the roles", seed)
		}
	}
	if filled < worlds {
		t.Errorf("only %d rules aggregated in all worlds", filled)
	}
}

type labelSet map[string]string

func (l labelSet) Has(key string) bool              { _, ok := l[key]; return ok }
func (l labelSet) Get(key string) string            { return l[key] }
func (l labelSet) Lookup(key string) (string, bool) { v, ok := l[key]; return v, ok }
