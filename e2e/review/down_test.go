package review_test

import (
	"context"
	"fmt"
	"testing"
	"time"

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
	writes := []step{
		{name: "a new account", as: "mallory", do: account("prod", "down", "team", "db")},
		{name: "a merge patch", as: "mallory", do: relabel(types.MergePatchType, "payments", `{"metadata":{"labels":{"team":"evil"}}}`)},
		{name: "a pod", as: "mallory", do: runPod("down", "payments")},
		{name: "a deployment", as: "mallory", do: deploy("down", "payments")},
		{name: "a token", as: "mallory", do: token("payments")},
		{name: "a debugger", as: "mallory", do: debug("pay-1")},
		{name: "a Calico policy", as: "peter", do: policy("projectcalico.org/v3", "down", 5, `{"serviceAccounts":{"names":["payments"]}}`)},
		{name: "a Calico policy in its store", as: "peter", do: policy("crd.projectcalico.org/v1", "default.down", 5, `{"serviceAccounts":{"names":["payments"]}}`)},
		{name: "an account goes", as: "mallory", do: remove("down")},
	}
	run := func(denied bool, first int) *played {
		t.Helper()
		p := &played{Installation: fresh, since: time.Now()}
		for n, s := range writes {
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

	before := run(true, 100)
	if _, rows := review(before); len(rows) > 0 || failOn(before) != 0 {
		t.Errorf("before: %q, exit code %d; want none, 0", rows, failOn(before))
	}
	if err := fresh.StopWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	down := run(false, 200)
	certain, rows := review(down)
	for n, s := range writes {
		if !certain[stepID(200+n)] {
			t.Errorf("%s is no certain bypass: %q", s.name, rows)
		}
	}
	if len(certain) != len(writes) || failOn(down) != 3 {
		t.Errorf("bypasses of %d requests, exit code %d; want %d, 3: %q", len(certain), failOn(down), len(writes), rows)
	}
	if err := fresh.StartWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	err = eventually(ctx, "the API server to call the webhook", func(ctx context.Context) error {
		body := []byte(`{"metadata":{"labels":{"team":"probe"}}}`)
		_, err := actors["mallory"].CoreV1().ServiceAccounts("prod").Patch(ctx, "payments", types.MergePatchType, body, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if !isDenial(err) {
			return fmt.Errorf("a dry run passes: %w", orAllowed(err))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := account("prod", "again", "note", "x")(ctx, actors["admin"]); err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		if writes[i].name == "an account goes" {
			writes[i].do = remove("web")
		}
	}
	after := run(true, 300)
	if _, rows := review(after); len(rows) > 0 || failOn(after) != 0 {
		t.Errorf("after: %q, exit code %d; want none, 0", rows, failOn(after))
	}
}
