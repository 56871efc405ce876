package hollow

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

func objectsOfWorld(w rbactest.World) *Objects {
	return &Objects{Roles: w.Roles, RoleBindings: w.RoleBindings, ClusterRoles: w.ClusterRoles, ClusterRoleBindings: w.ClusterRoleBindings}
}

// For each power: what has it, and what nearly has.
func TestPowersAreFound(t *testing.T) {
	cases := map[string]struct {
		pass, fail []string // rules "VERBS RESOURCES [NAMES]"
	}{
		Impersonate: {
			pass: []string{"impersonate serviceaccounts", "impersonate users alice", "impersonate groups", "* users", "impersonate *", "impersonate:user-info authentication.k8s.io:users", "impersonate:serviceaccount authentication.k8s.io:serviceaccounts", "impersonate:arbitrary-node authentication.k8s.io:nodes"},
			fail: []string{"get,create serviceaccounts", "impersonate pods", "impersonate apps:users", "impersonate serviceaccounts/token", "impersonate:user-info users"},
		},
		NodesProxy: {
			pass: []string{"get nodes/proxy", "create nodes/proxy n1", "get */proxy", "get *"},
			fail: []string{"get nodes", "list nodes/proxy", "get pods/proxy", "get nodes/*"},
		},
		Escalate: {
			pass: []string{"bind rbac.authorization.k8s.io:roles", "escalate rbac.authorization.k8s.io:clusterroles", "bind rbac.authorization.k8s.io:clusterroles edit"},
			fail: []string{"create,update rbac.authorization.k8s.io:roles", "bind roles", "bind serviceaccounts"},
		},
		Sign: {
			pass: []string{"approve certificates.k8s.io:signers", "sign certificates.k8s.io:signers example.com/x"},
			fail: []string{"get certificates.k8s.io:signers", "approve certificates.k8s.io:certificatesigningrequests"},
		},
		GuardOff: {
			pass: []string{"patch admissionregistration.k8s.io:validatingwebhookconfigurations", "delete saguard.io:serviceaccountguards", "update saguard.io:policybands"},
			fail: []string{"get,list,watch admissionregistration.k8s.io:validatingwebhookconfigurations", "create saguard.io:serviceaccountguards", "use saguard.io:policybands developer"},
		},
		SecretsRead:  {pass: []string{"get secrets", "list secrets a", "watch secrets"}, fail: []string{"create secrets", "get configmaps"}},
		SecretsWrite: {pass: []string{"create secrets", "patch secrets a"}, fail: []string{"get,list,delete secrets", "create configmaps"}},
		Token:        {pass: []string{"create serviceaccounts/token", "create serviceaccounts/token web", "create */token"}, fail: []string{"create serviceaccounts", "get serviceaccounts/token"}},
		Exec: {
			pass: []string{"create pods/exec", "get pods/attach", "create pods/portforward", "patch pods/ephemeralcontainers", "update pods/ephemeralcontainers p"},
			fail: []string{"create pods", "get pods/log", "list pods/exec", "get pods/ephemeralcontainers"},
		},
		Wildcard: {
			pass: []string{"* *", "* serviceaccounts", "get,* serviceaccounts web"},
			fail: []string{"get,list,watch,create,update,patch,delete,deletecollection serviceaccounts", "* pods", "* apps:serviceaccounts"},
		},
	}
	for _, p := range Powers() {
		if _, ok := cases[p.ID]; !ok {
			t.Errorf("power %s has no case", p.ID)
		}
	}
	for id, tc := range cases {
		for want, rules := range map[bool][]string{true: tc.pass, false: tc.fail} {
			for _, rule := range rules {
				w := rbactest.MustParse(t, "clusterrole r "+rule+"\nbind prod/b clusterrole:r user:alice")
				result := Find(Input{RBAC: objectsOfWorld(w), Only: []string{id}})
				if got := len(result.Findings) == 1; got != want || len(result.Findings) > 1 {
					t.Errorf("%s by %q: found %v, want %v", id, rule, got, want)
				}
			}
		}
	}
}

// ruleAllows agrees with the engine that agrees with the API server, on random rules and every permission that lint asks about.
func TestRuleAllowsAgreesWithTheEngine(t *testing.T) {
	var asked []Triple
	for _, p := range append(Powers(), GuardScopePower()) {
		asked = append(asked, p.grants...)
	}
	asked = append(asked, Triple{verb: "*", resource: "serviceaccounts"}, Triple{verb: "create", group: "apps", resource: "deployments"})
	r := rbactest.NewRand(7)
	pick := func(list []string) []string {
		out := []string{}
		for range 1 + r.IntN(2) {
			out = append(out, list[r.IntN(len(list))])
		}
		return out
	}
	var verbs, groups, resources []string
	for _, a := range asked {
		verbs, groups, resources = append(verbs, a.verb), append(groups, a.group), append(resources, a.resource)
	}
	resources = append(resources, "*", "*/exec", "*/proxy", "pods/*", "secrets/*")
	groups = append(groups, "*")
	allowed := 0
	for range 3000 {
		rule := rbacv1.PolicyRule{Verbs: pick(verbs), APIGroups: pick(groups), Resources: pick(resources)}
		s := rbac.NewStore()
		s.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Rules: []rbacv1.PolicyRule{rule}})
		s.SetClusterRoleBinding(&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "b"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "a"}},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "r"},
		})
		for _, a := range asked {
			resource, sub, _ := cut(a.resource)
			_, want := s.Snapshot().Authorize(identity.Subject{User: "a"}, rbac.Question{Verb: a.verb, Group: a.group, Resource: resource, Subresource: sub})
			if got := ruleAllows(&rule, a); got != want {
				t.Fatalf("%+v of %+v: got %v, the engine says %v", a, rule, got, want)
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < 1000 {
		t.Errorf("only %d allowances: the rules do not meet the questions", allowed)
	}
}

func cut(resource string) (string, string, bool) {
	for i := range resource {
		if resource[i] == '/' {
			return resource[:i], resource[i+1:], true
		}
	}
	return resource, "", false
}

func TestAppliesEverything(t *testing.T) {
	cases := map[string]struct {
		text string
		want bool
	}{
		"writes accounts and workloads everywhere": {text: "clusterrole r create serviceaccounts\nclusterrole r patch apps:deployments\nclusterbind b clusterrole:r sa:flux/apply", want: true},
		"only in one namespace":                    {text: "clusterrole r create serviceaccounts\nclusterrole r patch apps:deployments\nbind prod/b clusterrole:r sa:flux/apply"},
		"reads only":                               {text: "clusterrole r get,list serviceaccounts\nclusterrole r get apps:deployments\nclusterbind b clusterrole:r sa:flux/apply"},
		"accounts but no workloads":                {text: "clusterrole r create serviceaccounts\nclusterbind b clusterrole:r sa:flux/apply"},
		"workloads but one account":                {text: "clusterrole r update serviceaccounts web\nclusterrole r create apps:deployments\nclusterbind b clusterrole:r sa:flux/apply"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			result := Find(Input{RBAC: objectsOfWorld(rbactest.MustParse(t, tc.text)), Only: []string{AppliesEverything}})
			if got := len(result.Findings) == 1; got != tc.want {
				t.Errorf("found %+v, want %v", result.Findings, tc.want)
			}
		})
	}
}

// The control plane's own subjects are left out; who merely looks like them is not.
func TestControlPlaneSubjects(t *testing.T) {
	cases := map[string]struct {
		text string
		out  bool
	}{
		"a controller by its own binding":    {text: "clusterrole system:controller:x create secrets\nclusterbind system:controller:x clusterrole:system:controller:x sa:kube-system/x", out: true},
		"the scheduler":                      {text: "clusterrole r create secrets\nclusterbind b clusterrole:r user:system:kube-scheduler", out: true},
		"a controller by another binding":    {text: "clusterrole r create secrets\nclusterbind b clusterrole:r sa:kube-system/x"},
		"another account of kube-system":     {text: "clusterrole system:controller:x create secrets\nclusterbind system:controller:x clusterrole:system:controller:x sa:kube-system/tiller"},
		"an account of that name elsewhere":  {text: "clusterrole system:controller:x create secrets\nclusterbind system:controller:x clusterrole:system:controller:x sa:prod/x"},
		"a user who begins with system":      {text: "clusterrole r create secrets\nclusterbind b clusterrole:r user:system:kube-scheduler2"},
		"a group of all accounts":            {text: "clusterrole r create secrets\nclusterbind b clusterrole:r group:system:serviceaccounts"},
		"a user named as a service account ": {text: "clusterrole r create secrets\nclusterbind b clusterrole:r user:system:serviceaccount:kube-system:x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{RBAC: objectsOfWorld(rbactest.MustParse(t, tc.text))}
			result := Find(in)
			if got := len(result.Findings) == 0 && result.Builtin == 1; got != tc.out {
				t.Errorf("left out %v, want %v: %+v", got, tc.out, result)
			}
			in.All = true
			if result := Find(in); len(result.Findings) == 0 || result.Builtin != 0 {
				t.Errorf("with all: %+v", result)
			}
		})
	}
}

// A finding that a check judges is open unless the check is enforced wherever the permission holds.
func TestGuardsCloseWhatTheyJudge(t *testing.T) {
	enforcing := func(name string, selector map[string]string) v1alpha1.ServiceAccountGuard {
		return v1alpha1.ServiceAccountGuard{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.ServiceAccountGuardSpec{
				NamespaceSelector: metav1.LabelSelector{MatchLabels: selector},
				Workloads:         &v1alpha1.WorkloadGuard{Mode: v1alpha1.ModeEnforce, Connect: v1alpha1.ModeWarn, Tokens: v1alpha1.ModeEnforce},
			},
		}
	}
	except := func(key, value string) v1alpha1.ServiceAccountGuard {
		g := enforcing("a", nil)
		g.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: []string{value}}}
		return g
	}
	everywhere := "clusterrole r create serviceaccounts/token\nclusterbind b clusterrole:r user:alice"
	inProd := "clusterrole r create serviceaccounts/token\nbind prod/b clusterrole:r user:alice"
	cases := map[string]struct {
		text   string
		guards []v1alpha1.ServiceAccountGuard
		open   bool
	}{
		"no guard": {text: inProd, open: true},
		"a guard of every namespace, for one namespace":                 {text: inProd, guards: []v1alpha1.ServiceAccountGuard{enforcing("a", nil)}},
		"a guard of every namespace, for everywhere":                    {text: everywhere, guards: []v1alpha1.ServiceAccountGuard{enforcing("a", nil)}},
		"a guard of that namespace":                                     {text: inProd, guards: []v1alpha1.ServiceAccountGuard{enforcing("a", map[string]string{"env": "prod"})}},
		"a guard of another namespace":                                  {text: inProd, guards: []v1alpha1.ServiceAccountGuard{enforcing("a", map[string]string{"env": "dev"})}, open: true},
		"a guard of some namespaces, for everywhere":                    {text: everywhere, guards: []v1alpha1.ServiceAccountGuard{enforcing("a", map[string]string{"env": "prod"})}, open: true},
		"a guard by labels and a namespace that is not known":           {text: "clusterrole r create serviceaccounts/token\nbind new/b clusterrole:r user:alice", guards: []v1alpha1.ServiceAccountGuard{enforcing("a", map[string]string{"env": "prod"})}, open: true},
		"a guard of all namespaces but some, for one that is not known": {text: "clusterrole r create serviceaccounts/token\nbind new/b clusterrole:r user:alice", guards: []v1alpha1.ServiceAccountGuard{except("env", "dev")}, open: true},
		"a guard of all namespaces but kube-system, for everywhere":     {text: everywhere, guards: []v1alpha1.ServiceAccountGuard{except("system", "yes")}},
		"a guard of all namespaces but another, for everywhere":         {text: everywhere, guards: []v1alpha1.ServiceAccountGuard{except("env", "dev")}, open: true},
		"kube-system, which no guard holds":                             {text: "clusterrole r create serviceaccounts/token\nbind kube-system/b clusterrole:r user:alice", guards: []v1alpha1.ServiceAccountGuard{enforcing("a", nil)}, open: true},
		"a check that only warns":                                       {text: "clusterrole r create pods/exec\nbind prod/b clusterrole:r user:alice", guards: []v1alpha1.ServiceAccountGuard{enforcing("a", nil)}, open: true},
		"what admission never sees stays open under any guard":          {text: "clusterrole r impersonate users\nclusterbind b clusterrole:r user:alice", guards: []v1alpha1.ServiceAccountGuard{enforcing("a", nil)}, open: true},
	}
	namespaces := map[string]map[string]string{"prod": {"env": "prod"}, "dev": {"env": "dev"}, "kube-system": {"system": "yes"}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{RBAC: objectsOfWorld(rbactest.MustParse(t, tc.text)), Guards: decision.Known(NewGuardModes(tc.guards, namespaces))}
			result := Find(in)
			if len(result.Findings) != 1 || result.Findings[0].Open != tc.open {
				t.Errorf("open is not %v: %+v", tc.open, result.Findings)
			}
			in.Guards = decision.Unknown[GuardModes]("not asked")
			if result := Find(in); !result.Findings[0].Open {
				t.Error("not open though the guards are not known")
			}
		})
	}
	relabels := Input{RBAC: objectsOfWorld(rbactest.MustParse(t, "clusterrole r patch namespaces\nclusterbind b clusterrole:r user:alice"))}
	for selective, guards := range map[bool][]v1alpha1.ServiceAccountGuard{true: {enforcing("a", map[string]string{"env": "prod"})}, false: {enforcing("a", nil)}} {
		relabels.Guards = decision.Known(NewGuardModes(guards, namespaces))
		if got := len(Find(relabels).Findings) == 1; got != selective {
			t.Errorf("guards that select by labels %v: found %v", selective, got)
		}
	}
}
