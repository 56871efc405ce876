package review_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// While no replica answers and the chart's failurePolicy is Ignore, every guarded write passes, and each is a bypass that the
// log proves; once the webhook is back, there is none.
func TestWritesWhileTheWebhookIsDownAreBypasses(t *testing.T) {
	ctx, fresh := t.Context(), clusters.fresh
	actors, err := newActors(fresh)
	if err != nil {
		t.Fatal(err)
	}
	const namespace = "shop"
	for _, a := range actors {
		a.namespace = namespace
	}
	admin := actors["admin"]
	world := `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"guarded":"strict"}}}`
	if _, err := fresh.KubectlStdin(ctx, fresh.Admin, strings.NewReader(world), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func(context.Context, *actor) error{account("", "payments", "team", "pay"), account("", "leaving", "team", "pay"), runPod("pay-1", "payments")} {
		if err := do(ctx, admin); err != nil {
			t.Fatal(err)
		}
	}
	// what is written is another each time: what changes nothing is not guarded
	writes := func(round string) []step {
		return []step{
			{name: "a new account", as: "mallory", do: account("", round, "team", "db")},
			{name: "a merge patch", as: "mallory", do: relabel(types.MergePatchType, "payments", `{"metadata":{"labels":{"team":"`+round+`"}}}`)},
			{name: "a pod", as: "mallory", do: runPod(round, "payments")},
			{name: "a deployment", as: "mallory", do: deploy(round, "payments")},
			{name: "a token", as: "mallory", do: token("payments")},
			{name: "a Secret for a token", as: "mallory", do: secret(round, "payments", corev1.SecretTypeServiceAccountToken)},
			{name: "a debugger", as: "mallory", do: debug("pay-1", round)},
			{name: "a Calico policy", as: "peter", do: policy("projectcalico.org/v3", round, 5, `{"serviceAccounts":{"names":["payments"]}}`)},
			{name: "a Calico policy in its store", as: "peter", do: policy("crd.projectcalico.org/v1", "default."+round, 5, `{"serviceAccounts":{"names":["payments"]}}`)},
			{name: "an account goes", as: "mallory", do: remove("leaving")},
		}
	}
	run := func(round string, denied bool, first int) *played {
		t.Helper()
		p := &played{Installation: fresh, since: time.Now()}
		for n, s := range writes(round) {
			s.denied = denied
			if err := s.check(s.do(withID(ctx, stepID(first+n)), actors[s.as])); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		p.until = time.Now()
		return p
	}
	review := func(p *played) (certain map[string]bool, rows []string) {
		t.Helper()
		r := reviewed(t, saguard(t, fresh, append([]string{"review", fresh.CP.AuditLog(), "-o", "json"}, p.window()...)...))
		certain = map[string]bool{}
		list, _ := r["bypasses"].([]any)
		for _, row := range list {
			b, _ := row.(map[string]any)
			if kind := b["kind"]; kind == "failed-open" || kind == "no-decision" {
				id, _ := b["auditID"].(string)
				certain[id] = certain[id] || b["certain"] == true
				rows = append(rows, fmt.Sprint(kind, " ", b["certain"], " ", b["user"], " ", b["verb"], " ", b["object"]))
			}
		}
		return certain, rows
	}
	failOn := func(p *played) int {
		t.Helper()
		out, err := clusters.metadata.Saguard(ctx, fresh.Admin, append([]string{"review", fresh.CP.AuditLog(), "--fail-on", "bypass"}, p.window()...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out.Code
	}

	before := run("before", true, 100)
	if _, rows := review(before); len(rows) > 0 || failOn(before) != 0 {
		t.Errorf("before: %q, exit code %d; want none, 0", rows, failOn(before))
	}
	if err := fresh.StopWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	down := run("down", false, 200)
	certain, rows := review(down)
	want := writes("down")
	for n, s := range want {
		if !certain[stepID(200+n)] {
			t.Errorf("%s is no certain bypass: %q", s.name, rows)
		}
	}
	if len(certain) != len(want) || failOn(down) != 3 {
		t.Errorf("bypasses of %d requests, exit code %d; want %d, 3: %q", len(certain), failOn(down), len(want), rows)
	}
	if err := fresh.StartWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	err = eventually(ctx, "the API server to call the webhook", func(ctx context.Context) error {
		body := []byte(`{"metadata":{"labels":{"team":"probe"}}}`)
		_, err := actors["mallory"].CoreV1().ServiceAccounts(namespace).Patch(ctx, "payments", types.MergePatchType, body, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if !isDenial(err) {
			return fmt.Errorf("a dry run passes: %w", orAllowed(err))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := account("", "leaving", "team", "pay")(ctx, admin); err != nil {
		t.Fatal(err)
	}
	after := run("after", true, 300)
	if _, rows := review(after); len(rows) > 0 || failOn(after) != 0 {
		t.Errorf("after: %q, exit code %d; want none, 0", rows, failOn(after))
	}
}
