package admission_test

import (
	"context"
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/saguard/saguard/webhook"
)

// Every operation by which a label can be put on, changed or taken off, with the grant and without.
func TestEveryOperation(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role", "net.example.com/*")
	accounts := tn.client.CoreV1().ServiceAccounts(tn.namespace)
	patch := func(kind types.PatchType, text string) func(context.Context, string, []string) error {
		return func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Patch(ctx, name, kind, []byte(text), metav1.PatchOptions{DryRun: dry})
			return err
		}
	}
	operations := []struct {
		name string
		// before are the labels of the account that exists; nil means that there is none.
		before []string
		needs  []string
		do     func(ctx context.Context, name string, dryRun []string) error
	}{
		{name: "create", needs: []string{"role=trusted"}, do: func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Create(ctx, account(name, "role", "trusted"), metav1.CreateOptions{DryRun: dry})
			return err
		}},
		{name: "create with generateName", needs: []string{"role=trusted"}, do: func(ctx context.Context, name string, dry []string) error {
			a := account("", "role", "trusted")
			a.GenerateName = name + "-"
			_, err := accounts.Create(ctx, a, metav1.CreateOptions{DryRun: dry})
			return err
		}},
		{name: "create by apply", needs: []string{"role=trusted"}, do: func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Apply(ctx, corev1ac.ServiceAccount(name, tn.namespace).WithLabels(map[string]string{"role": "trusted"}), metav1.ApplyOptions{FieldManager: "test", Force: true, DryRun: dry})
			return err
		}},
		{name: "apply over what exists", before: []string{"role", "intern"}, needs: []string{"role=intern", "role=trusted"}, do: func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Apply(ctx, corev1ac.ServiceAccount(name, tn.namespace).WithLabels(map[string]string{"role": "trusted"}), metav1.ApplyOptions{FieldManager: "test", Force: true, DryRun: dry})
			return err
		}},
		{name: "update", before: []string{"role", "intern"}, needs: []string{"role=intern", "role=trusted"}, do: func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Update(ctx, account(name, "role", "trusted"), metav1.UpdateOptions{DryRun: dry})
			return err
		}},
		{name: "update that forgets the label", before: []string{"role", "intern"}, needs: []string{"role=intern"}, do: func(ctx context.Context, name string, dry []string) error {
			_, err := accounts.Update(ctx, account(name), metav1.UpdateOptions{DryRun: dry})
			return err
		}},
		{name: "merge patch", before: []string{"role", "intern"}, needs: []string{"role=intern", "role=trusted"}, do: patch(types.MergePatchType, `{"metadata":{"labels":{"role":"trusted"}}}`)},
		{name: "merge patch that removes", before: []string{"role", "intern"}, needs: []string{"role=intern"}, do: patch(types.MergePatchType, `{"metadata":{"labels":{"role":null}}}`)},
		{name: "merge patch that removes all labels", before: []string{"role", "intern", "app", "x"}, needs: []string{"role=intern"}, do: patch(types.MergePatchType, `{"metadata":{"labels":null}}`)},
		{name: "strategic merge patch", before: []string{"app", "x"}, needs: []string{"role=trusted"}, do: patch(types.StrategicMergePatchType, `{"metadata":{"labels":{"role":"trusted"}}}`)},
		{name: "strategic merge patch that replaces", before: []string{"role", "intern"}, needs: []string{"role=intern"}, do: patch(types.StrategicMergePatchType, `{"metadata":{"labels":{"$patch":"replace","app":"y"}}}`)},
		{name: "JSON patch that moves", before: []string{"role", "a"}, needs: []string{"role=a", "net.example.com/zone=a"}, do: patch(types.JSONPatchType, `[{"op":"move","from":"/metadata/labels/role","path":"/metadata/labels/net.example.com~1zone"}]`)},
		{name: "JSON patch that removes", before: []string{"net.example.com/zone", "a"}, needs: []string{"net.example.com/zone=a"}, do: patch(types.JSONPatchType, `[{"op":"remove","path":"/metadata/labels/net.example.com~1zone"}]`)},
		{name: "delete", before: []string{"role", "intern"}, needs: []string{"role=intern"}, do: func(ctx context.Context, name string, dry []string) error {
			return accounts.Delete(ctx, name, metav1.DeleteOptions{DryRun: dry})
		}},
	}
	granted := newGrants(t, tn)
	for i, op := range operations {
		for _, dry := range [][]string{nil, {metav1.DryRunAll}} {
			t.Run(fmt.Sprintf("%s, dry run %v", op.name, dry != nil), func(t *testing.T) {
				name := fmt.Sprintf("op%d-%v", i, dry != nil)
				if op.before != nil {
					tn.existing(name, op.before...)
				}
				granted.only()
				texts := append([]string{"kubectl auth can-i use serviceaccounts/"}, op.needs...)
				denied(t, op.do(t.Context(), name, dry), texts...)
				// One of several permissions is not enough.
				for _, need := range op.needs[1:] {
					granted.only(need)
					denied(t, op.do(t.Context(), name, dry), op.needs[0])
				}
				granted.only(op.needs...)
				if err := op.do(t.Context(), name, dry); err != nil {
					t.Errorf("with %v: %v", op.needs, err)
				}
			})
		}
	}
}

// grants is one Role of the user that is rewritten; only waits until the webhook knows.
type grants struct {
	t    *testing.T
	tn   *tenant
	role *rbacv1.Role
}

func newGrants(t *testing.T, tn *tenant) *grants {
	t.Helper()
	tn.role("labels", useLabels("marker=0"))
	tn.bind("labels", "labels", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: tn.user})
	role, err := tn.admin.RbacV1().Roles(tn.namespace).Get(t.Context(), "labels", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A key that is guarded for this purpose alone tells which version of the role the webhook holds.
	tn.applyGuard(tn.namespace+"-marker", fmt.Sprintf(`{"namespaceSelector":{"matchLabels":{"guarded":%q}},"labels":{"keys":["marker"]}}`, tn.namespace))
	t.Cleanup(func() {
		if _, err := shared.Kubectl(context.WithoutCancel(t.Context()), shared.Admin, "delete", "serviceaccountguard", tn.namespace+"-marker"); err != nil {
			t.Error(err)
		}
	})
	return &grants{t: t, tn: tn, role: role}
}

func (g *grants) only(names ...string) {
	g.t.Helper()
	marker := fmt.Sprint(serial.Add(1))
	g.role.Rules = []rbacv1.PolicyRule{useLabels(append([]string{"marker=" + marker}, names...)...)}
	role, err := g.tn.admin.RbacV1().Roles(g.tn.namespace).Update(g.t.Context(), g.role, metav1.UpdateOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.role = role
	g.tn.waitFor("the webhook to know the role", func(ctx context.Context) error {
		_, err := g.tn.client.CoreV1().ServiceAccounts(g.tn.namespace).Create(ctx, account("marker", "marker", marker), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// Every form of resourceNames, and every way to be bound.
func TestEveryFormOfGrant(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role", "net.example.com/*")
	cases := map[string]struct {
		name  string // resourceName; "" = none
		label [2]string
		want  bool
	}{
		"key=value":                               {name: "role=a", label: [2]string{"role", "a"}, want: true},
		"key=value, another value":                {name: "role=a", label: [2]string{"role", "b"}},
		"key=*":                                   {name: "role=*", label: [2]string{"role", "b"}, want: true},
		"key=*, another key":                      {name: "role=*", label: [2]string{"net.example.com/role", "b"}},
		"prefix/*":                                {name: "net.example.com/*", label: [2]string{"net.example.com/zone", "x"}, want: true},
		"prefix/*, another prefix":                {name: "net.example/*", label: [2]string{"net.example.com/zone", "x"}},
		"prefix key=value":                        {name: "net.example.com/zone=x", label: [2]string{"net.example.com/zone", "x"}, want: true},
		"account:key=value":                       {name: "web:role=a", label: [2]string{"role", "a"}, want: true},
		"account:key=value, another account":      {name: "db:role=a", label: [2]string{"role", "a"}},
		"account:key=*":                           {name: "web:role=*", label: [2]string{"role", "z"}, want: true},
		"account:*":                               {name: "web:*", label: [2]string{"net.example.com/zone", "x"}, want: true},
		"no resourceNames":                        {label: [2]string{"role", "anything"}, want: true},
		"a literal star is not a wildcard":        {name: "*", label: [2]string{"role", "a"}},
		"a key without value is not a grant":      {name: "role", label: [2]string{"role", "a"}},
		"a prefix without the star is not either": {name: "net.example.com/", label: [2]string{"net.example.com/zone", "x"}},
	}
	granted := newGrants(t, tn)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.name == "" {
				tn.role("any", useLabels())
				tn.bind("any", "any", rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: tn.user})
				t.Cleanup(func() {
					if err := tn.admin.RbacV1().RoleBindings(tn.namespace).Delete(context.WithoutCancel(t.Context()), "any", metav1.DeleteOptions{}); err != nil {
						t.Error(err)
					}
				})
				tn.waitFor("the grant", func(ctx context.Context) error { return tn.dryCreate(ctx, "web", tc.label) })
				return
			}
			granted.only(tc.name)
			err := tn.dryCreate(t.Context(), "web", tc.label)
			if tc.want && err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			if !tc.want {
				denied(t, err, tc.label[0]+"="+tc.label[1])
			}
		})
	}
}

func (tn *tenant) dryCreate(ctx context.Context, name string, label [2]string) error {
	_, err := tn.client.CoreV1().ServiceAccounts(tn.namespace).Create(ctx, account(name, label[0], label[1]), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func TestLabelledByIsKeptByTheWebhookAlone(t *testing.T) {
	tn := newTenant(t)
	tn.guardLabels("role")
	tn.grantLabels("role=intern")
	accounts := tn.client.CoreV1().ServiceAccounts(tn.namespace)
	tn.waitFor("the grant", func(ctx context.Context) error { return tn.dryCreate(ctx, "web", [2]string{"role", "intern"}) })
	a := account("web", "role", "intern")
	a.Annotations = map[string]string{webhook.AnnotationLabelledBy: `{"role":"somebody-else"}`}
	if _, err := accounts.Create(t.Context(), a, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"role":%q}`, tn.user)
	if got := tn.get("web").Annotations[webhook.AnnotationLabelledBy]; got != want {
		t.Errorf("annotation %q, want %q", got, want)
	}
	for _, text := range []string{`{"metadata":{"annotations":{"saguard.io/labelled-by":"{}"}}}`, `{"metadata":{"annotations":null}}`} {
		if _, err := accounts.Patch(t.Context(), "web", types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := tn.get("web").Annotations[webhook.AnnotationLabelledBy]; got != want {
			t.Errorf("after %s annotation %q, want %q", text, got, want)
		}
	}
}

func TestDefaultAccountsDoNotMountTheirToken(t *testing.T) {
	tn := newTenant(t)
	tn.guard(`"defaultAccount":{"disableTokenMount":true}`)
	tn.existing("marker")
	// The default account that was there before is changed by its next update; until the guard is known, nothing happens.
	tn.waitFor("the default account", func(ctx context.Context) error {
		a, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Patch(ctx, "default", types.MergePatchType, []byte(fmt.Sprintf(`{"metadata":{"annotations":{"touched":"%d"}}}`, serial.Add(1))), metav1.PatchOptions{})
		if err != nil {
			return err
		}
		if a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
			return fmt.Errorf("automountServiceAccountToken is not false")
		}
		return nil
	})
	if a := tn.get("marker"); a.AutomountServiceAccountToken != nil {
		t.Error("another account was changed")
	}
}
