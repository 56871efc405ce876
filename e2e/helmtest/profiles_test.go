package helmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/e2e/install"
)

// attempts are what a user does who holds Kubernetes' own permissions and none of saguard's, by the mode of what judges it.
var attempts = map[string][]string{
	"label":   {"label", "serviceaccount", "web", "-n", "profiles", "role=trusted", "--dry-run=server", "--overwrite"},
	"account": {"create", "deployment", "web", "-n", "profiles", "--image=example.com/web", "--dry-run=server"},
	"token":   {"create", "token", "web", "-n", "profiles"},
	"binding": {"create", "rolebinding", "web", "-n", "profiles", "--clusterrole=developer", "--serviceaccount=profiles:default", "--dry-run=server"},
}

// TestProfiles puts each profile's guard and registration in place of the one before, as an upgrade does.
func TestProfiles(t *testing.T) {
	w := shared
	w.must(t, "create", "namespace", "profiles")
	w.must(t, "create", "serviceaccount", "web", "-n", "profiles")
	w.must(t, "create", "clusterrole", "developer", "--verb=*", "--resource=serviceaccounts,serviceaccounts/token,deployments.apps,rolebindings.rbac.authorization.k8s.io,clusterroles.rbac.authorization.k8s.io")
	w.must(t, "create", "clusterrolebinding", "developer", "--clusterrole=developer", "--user=dev")
	// The verb * would hold use and bind, too.
	w.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "developer"},
		"rules": []any{
			map[string]any{"apiGroups": []any{"", "apps", "rbac.authorization.k8s.io"}, "resources": []any{"serviceaccounts", "serviceaccounts/token", "deployments", "rolebindings"}, "verbs": []any{"get", "list", "create", "update", "patch"}},
			map[string]any{"apiGroups": []any{"rbac.authorization.k8s.io"}, "resources": []any{"clusterroles"}, "verbs": []any{"get", "bind"}},
		},
	}})
	dev, err := w.CP.Kubeconfig("dev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.Kubectl(contextWithout(t), w.Admin, "delete", "serviceaccountguards", "--all"); err != nil {
			t.Error(err)
		}
	})

	tests := []struct {
		profile string
		refused map[string]bool // by attempt
		warned  map[string]bool // by attempt
		down    bool            // whether the attempts pass without the webhook
	}{
		{profile: "audit-only", refused: map[string]bool{}, warned: map[string]bool{}, down: true},
		{profile: "standard", refused: map[string]bool{"label": true, "account": true, "token": true}, warned: map[string]bool{"binding": true}},
		{profile: "strict", refused: map[string]bool{"label": true, "account": true, "token": true, "binding": true}, warned: map[string]bool{}},
	}
	for _, test := range tests {
		t.Run(test.profile, func(t *testing.T) {
			for _, object := range w.rendered(t, "-set", "profile="+test.profile, "-set", "guard.create=true", "-set", "guard.spec.labels.keys={role}") {
				if object.GetKind() == "ServiceAccountGuard" || strings.HasSuffix(object.GetKind(), "WebhookConfiguration") {
					w.apply(t, object)
				}
			}
			eventually(t, "the profile to be in force", func(ctx context.Context) error {
				for name, command := range attempts {
					out, err := w.CP.Kubectl(ctx, dev, command...)
					if err != nil {
						return err
					}
					refused := out.Code != 0 && strings.Contains(out.Stderr, "denied the request")
					warned := strings.Contains(out.Stderr, "Warning: ")
					if refused != test.refused[name] || (out.Code != 0) != refused || warned != test.warned[name] {
						return fmt.Errorf("%s: refused %v, warned %v, exit code %d: %s", name, refused, warned, out.Code, out.Stderr)
					}
				}
				return nil
			})
			records, err := w.Records()
			if err != nil {
				t.Fatal(err)
			}
			if test.profile == "audit-only" && !recordsWhatWouldBeRefused(records) {
				t.Error("nothing is recorded of what would be refused")
			}

			if err := w.StopWebhook(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, command := range attempts {
				_, err := w.Kubectl(t.Context(), dev, command...)
				if refused, ok := errors.AsType[*install.CommandError](err); err != nil && (!ok || !strings.Contains(refused.Output.Stderr, "failed calling webhook")) {
					t.Errorf("%s without the webhook: %v", name, err)
				}
				if (err == nil) != test.down {
					t.Errorf("%s without the webhook passes: %v, want %v", name, err == nil, test.down)
				}
			}
			if err := w.StartWebhook(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// recordsWhatWouldBeRefused looks for a request of dev that passed and lacked a permission.
func recordsWhatWouldBeRefused(records []audit.Record) bool {
	for i := range records {
		r := &records[i]
		if r.User == "dev" && string(r.Mode) == "Audit" && len(r.Checks) > 0 {
			for _, check := range r.Checks {
				for _, tuple := range check.Tuples {
					if !tuple.Allowed {
						return true
					}
				}
			}
		}
	}
	return false
}
