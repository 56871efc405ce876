package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/rest"

	"github.com/saguard/saguard/audit"
)

// The subjects that a grant may name; each is judged by its own.
func TestEveryKindOfSubject(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	tn.existing("robot")
	tn.role("label", useLabels("role=a"))
	robot := "system:serviceaccount:" + tn.namespace + ":robot"
	subjects := map[string]struct {
		user    string
		groups  []string
		subject rbacv1.Subject
	}{
		"user":                            {user: "u-" + tn.namespace, subject: rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "u-" + tn.namespace}},
		"group":                           {user: "g", groups: []string{"labellers-" + tn.namespace}, subject: rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "labellers-" + tn.namespace}},
		"service account":                 {user: robot, subject: rbacv1.Subject{Kind: "ServiceAccount", Namespace: tn.namespace, Name: "robot"}},
		"service account as user":         {user: robot, subject: rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: robot}},
		"group of a namespace's accounts": {user: robot, groups: []string{"system:serviceaccounts:" + tn.namespace}, subject: rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + tn.namespace}},
	}
	for name, tc := range subjects {
		for _, clusterWide := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cluster-wide %v", name, clusterWide), func(t *testing.T) {
				ctx := t.Context()
				c := client(t, userConfig(t, tc.user, append(slices.Clone(tc.groups), "group-"+tn.namespace)...))
				create := func(ctx context.Context) error {
					_, err := c.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, account("x", "role", "a"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
					return err
				}
				denied(t, create(ctx), "role=a")
				meta := metav1.ObjectMeta{Name: fmt.Sprintf("s%d", serial.Add(1))}
				if clusterWide {
					rbac := tn.admin.RbacV1()
					if _, err := rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{useLabels("role=a")}}, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
					if _, err := rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: []rbacv1.Subject{tc.subject}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
				} else {
					tn.bind(meta.Name, "label", tc.subject)
				}
				tn.waitFor("the grant", create)
				// Revoking is seen within a second of the API server's answer.
				var err error
				if clusterWide {
					err = tn.admin.RbacV1().ClusterRoleBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{})
				} else {
					err = tn.admin.RbacV1().RoleBindings(tn.namespace).Delete(ctx, meta.Name, metav1.DeleteOptions{})
				}
				if err != nil {
					t.Fatal(err)
				}
				within, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				for create(ctx) == nil {
					if within.Err() != nil {
						t.Fatal("still allowed a second after the binding was deleted")
					}
				}
			})
		}
	}
}

func TestImpersonatorIsJudgedAsTheImpersonated(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	boss := "boss-" + tn.namespace
	rule := rbacv1.PolicyRule{Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"users", "groups"}}
	meta := metav1.ObjectMeta{Name: boss}
	rbac := tn.admin.RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule, useLabels()}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: boss}}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: boss}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	as := func(user string, groups ...string) func(context.Context) error {
		cfg := userConfig(t, boss, "group-"+tn.namespace)
		if user != "" {
			cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		}
		c := client(t, cfg)
		return func(ctx context.Context) error {
			_, err := c.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, account("x", "role", "a"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
	}
	tn.waitFor("boss's own grant", as(""))
	denied(t, as(tn.user, "group-"+tn.namespace)(t.Context()), "role=a")
	tn.grantLabels("role=a")
	tn.waitFor("the impersonated user's grant", as(tn.user, "group-"+tn.namespace))
}

// What leaves labels alone never reaches the webhook: no decision, no mutation, no question.
func TestUpdatesThatLeaveLabelsAloneAreNotJudged(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	tn.existing("web", "role", "intern")
	tn.existing("bare")
	accounts := tn.client.CoreV1().ServiceAccounts(tn.namespace)
	totals := func() [3]float64 {
		return [3]float64{
			counter(t, "saguard_admission_decisions_total", nil), counter(t, "saguard_admission_mutations_total", nil),
			counter(t, "saguard_authorization_questions_total", nil),
		}
	}
	before := totals()
	for _, name := range []string{"web", "bare"} {
		for _, text := range []string{
			`{"metadata":{"annotations":{"a":"b"}}}`, `{"metadata":{"annotations":null}}`, `{"metadata":{"finalizers":["example.com/x"]}}`,
			`{"metadata":{"finalizers":null}}`, `{"secrets":[{"name":"s"}]}`, `{"imagePullSecrets":[{"name":"s"}]}`,
		} {
			if name == "web" && text == `{"metadata":{"annotations":null}}` {
				continue // web carries labelled-by, which this takes off: that is judged
			}
			if _, err := accounts.Patch(t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	if after := totals(); after != before {
		t.Errorf("decisions, mutations and questions went from %v to %v", before, after)
	}
	// The mirror: the same counters do move.
	if _, err := accounts.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"role":null}}}`), metav1.PatchOptions{}); err == nil {
		t.Error("taking the label off was not refused")
	}
	if after := totals(); after[0] != before[0]+1 || after[1] != before[1]+1 || after[2] <= before[2] {
		t.Errorf("after a judged update the counters are %v, before %v", after, before)
	}
}

// What kubectl shows a person who is denied must get them further: the line it names prints no now, and yes once the grant
// that `kubectl saguard grant` prints is applied.
func TestDenialLeadsToTheGrant(t *testing.T) {
	if err := shared.BuildCLI(t.Context()); err != nil {
		t.Fatal(err)
	}
	tn := newTenant(t)
	tn.guardLabels("role", "net.example.com/*")
	tn.existing("web")
	kubeconfig, err := shared.CP.Kubeconfig(tn.user, "group-"+tn.namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"role=trusted", "net.example.com/zone=blue"} {
		t.Run(label, func(t *testing.T) {
			out, err := shared.CP.Kubectl(t.Context(), kubeconfig, "label", "serviceaccount", "web", label, "-n", tn.namespace)
			if err != nil || out.Code == 0 {
				t.Fatalf("kubectl label: %+v, %v", out, err)
			}
			for _, text := range []string{"Forbidden", label, tn.namespace} {
				if !strings.Contains(out.Stderr, text) {
					t.Errorf("%q does not name %q", out.Stderr, text)
				}
			}
			line := canILine(t, out.Stderr)
			ask := func() string {
				// A person pastes the line into a shell.
				cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
				cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "PATH=" + kubectlDir(t), "HOME=" + t.TempDir()}
				text, _ := cmd.CombinedOutput() // can-i exits with 1 for no
				return strings.TrimSpace(string(text))
			}
			if got := ask(); got != "no" {
				t.Fatalf("%s prints %q, want no", line, got)
			}
			granted, err := shared.Saguard(t.Context(), shared.Admin, "grant", "use", "label", label, "-n", tn.namespace, "--user", tn.user)
			if err != nil || granted.Code != 0 {
				t.Fatalf("grant: %+v, %v", granted, err)
			}
			if _, err := shared.KubectlStdin(t.Context(), shared.Admin, strings.NewReader(granted.Stdout), "apply", "-f", "-"); err != nil {
				t.Fatal(err)
			}
			tn.waitFor("can-i to print yes", func(context.Context) error {
				if got := ask(); got != "yes" {
					return fmt.Errorf("%s prints %q", line, got)
				}
				return nil
			})
			tn.waitFor("the label", func(ctx context.Context) error {
				_, err := shared.Kubectl(ctx, kubeconfig, "label", "serviceaccount", "web", label, "-n", tn.namespace)
				return err
			})
			who, err := shared.Saguard(t.Context(), shared.Admin, "who-can", "use", "label", label, "-n", tn.namespace)
			if err != nil || who.Code != 0 || !strings.Contains(who.Stdout, tn.user) {
				t.Errorf("who-can: %+v, %v", who, err)
			}
		})
	}
}

func canILine(t *testing.T, text string) string {
	t.Helper()
	_, line, ok := strings.Cut(text, "check: ")
	if !ok || !strings.HasPrefix(line, "kubectl auth can-i ") {
		t.Fatalf("%q has no can-i line", text)
	}
	line, _, _ = strings.Cut(line, "\n")
	line, _, _ = strings.Cut(line, ";")
	return strings.TrimSpace(line)
}

func kubectlDir(t *testing.T) string {
	t.Helper()
	path := shared.CP.Paths().Kubectl
	return path[:strings.LastIndex(path, "/")]
}

// The audit log at Metadata level says what was decided and why, the same at every repetition.
func TestAuditLogCarriesTheDecision(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	tn.grantLabels("role=intern")
	tn.waitFor("the grant", func(ctx context.Context) error { return tn.dryCreate(ctx, "web", [2]string{"role", "intern"}) })
	attempt := func(value string) map[string]string {
		agent := fmt.Sprintf("attempt-%d", serial.Add(1))
		cfg := userConfig(t, tn.user, "group-"+tn.namespace)
		cfg.UserAgent = agent
		_, err := client(t, cfg).CoreV1().ServiceAccounts(tn.namespace).Create(t.Context(), account("web", "role", value), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if (err == nil) != (value == "intern") {
			t.Fatalf("create with role=%s: %v", value, err)
		}
		event, err := shared.CP.WaitAudit(t.Context(), func(e *auditv1.Event) bool { return e.UserAgent == agent && e.Stage == auditv1.StageResponseComplete })
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for k, v := range event.Annotations {
			if name, ok := strings.CutPrefix(k, "serviceaccounts.validate.saguard.io/"); ok {
				out[name] = v
			}
		}
		return out
	}
	for value, decision := range map[string]string{"intern": "Allow", "trusted": "Deny"} {
		first := attempt(value)
		if first[audit.AnnotationDecision] != decision || first[audit.AnnotationSchema] != audit.Schema {
			t.Errorf("role=%s: annotations %v", value, first)
		}
		var tuples []audit.Tuple
		if err := json.Unmarshal([]byte(first[audit.AnnotationTuples]), &tuples); err != nil || len(tuples) != 1 ||
			tuples[0].Name != "role="+value || tuples[0].Namespace != tn.namespace || tuples[0].Allowed != (decision == "Allow") {
			t.Errorf("role=%s: tuples %s", value, first[audit.AnnotationTuples])
		}
		if again := attempt(value); !maps.Equal(first, again) {
			t.Errorf("role=%s: annotations differ at repetition:\n%v\n%v", value, first, again)
		}
	}
	records, err := shared.Records()
	if err != nil {
		t.Fatal(err)
	}
	ours := slices.DeleteFunc(records, func(r audit.Record) bool { return r.User != tn.user || r.Object.Name != "web" })
	if len(ours) < 4 {
		t.Errorf("%d records of this user, want at least 4", len(ours))
	}
}
