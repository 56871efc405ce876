package admission_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
)

// Warn and Audit change nothing but say so: to the user and the log, or to the log alone.
func TestModesWarnAndAudit(t *testing.T) {
	for _, mode := range []string{"Warn", "Audit"} {
		t.Run(mode, func(t *testing.T) {
			tn := newTenant(t)
			kubeconfig, err := shared.CP.Kubeconfig(tn.user, "group-"+tn.namespace)
			if err != nil {
				t.Fatal(err)
			}
			tn.guard(fmt.Sprintf(`"labels":{"mode":%q,"keys":["role"]}`, mode))
			tn.existing("web")
			// Taking the label on and off again, until the webhook knows the guard.
			var stderr string
			tn.waitFor("the finding to be recorded", func(ctx context.Context) error {
				for _, label := range []string{"role=trusted", "role-"} {
					out, err := shared.Kubectl(ctx, kubeconfig, "label", "serviceaccount", "web", label, "-n", tn.namespace)
					if err != nil {
						t.Fatalf("mode %s refused: %v", mode, err)
					}
					stderr = out.Stderr
				}
				records, err := shared.Records()
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(records, func(r audit.Record) bool {
					return r.User == tn.user && r.Decision == audit.Allowed && r.Reason == "tolerated" && r.Mode == mode
				}) {
					return fmt.Errorf("no record")
				}
				return nil
			})
			if warned := strings.Contains(stderr, "Warning: label-use: you may not take label role=trusted off"); warned != (mode == "Warn") {
				t.Errorf("kubectl printed %q", stderr)
			}
			if _, err := shared.CP.WaitAudit(t.Context(), func(e *auditv1.Event) bool {
				return e.User.Username == tn.user && e.Annotations["serviceaccounts.validate.saguard.io/mode"] == mode &&
					strings.Contains(e.Annotations["serviceaccounts.validate.saguard.io/checks"], `"reason":"missing"`)
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStatusSaysWhatIsInForce(t *testing.T) {
	tn := newTenant(t)
	tn.guard(`"labels":{"keys":["role","net.example.com/*"]}`)
	tn.waitFor("the status", func(ctx context.Context) error {
		out, err := shared.Kubectl(ctx, shared.Admin, "get", "sag", tn.namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.guardedKeys} {.status.observedGeneration}`)
		if err != nil {
			return err
		}
		if want := `True ["net.example.com/*","role"] 1`; out.Stdout != want {
			return fmt.Errorf("status %q, want %q", out.Stdout, want)
		}
		return nil
	})
	out, err := shared.Kubectl(t.Context(), shared.Admin, "get", "sag", tn.namespace)
	if err != nil || !strings.Contains(out.Stdout, "READY") || !strings.Contains(out.Stdout, "Enforce") {
		t.Errorf("kubectl get prints %q, %v", out.Stdout, err)
	}
}
