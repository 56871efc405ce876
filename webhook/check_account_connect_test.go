package webhook_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/webhook"
)

// connect is a request for a subresource of pod prod/NAME.
func connect(t *testing.T, user, subresource, pod string) *webhook.Request {
	t.Helper()
	r := request(t, admissionv1.Connect, user, "pods", `{"kind":"PodExecOptions","apiVersion":"v1","command":["sh"]}`, nil)
	r.Subresource, r.Name, r.Kind = subresource, pod, "PodExecOptions"
	return r
}

func TestAccountConnect(t *testing.T) {
	canI := "kubectl auth can-i use serviceaccounts/web -n prod"
	cases := map[string]struct {
		pod     string
		grants  []string
		change  func(*world)
		denied  []string
		asked   bool
		lookups int
	}{
		"getting into a pod takes use of its account": {pod: "web-0", asked: true, lookups: 1, denied: []string{"pod prod/web-0, which runs as service account prod/web", canI}},
		"with use of its account":                     {pod: "web-0", grants: []string{"web"}, asked: true, lookups: 1},
		"use of another account does not serve":       {pod: "web-0", grants: []string{"default", "web-0"}, asked: true, lookups: 1, denied: []string{canI}},
		"a pod without an account counts as default":  {pod: "static", grants: []string{"default"}, asked: true, lookups: 1},
		"a pod that is not there":                     {pod: "gone", grants: []string{"web"}, lookups: 1, denied: []string{"there is no pod of that name"}},
		"an exempt user": {pod: "web-0", change: func(w *world) {
			w.guards[0].Spec.Exempt.Users = []string{"alice"}
		}},
		"a mode that is off looks nothing up": {pod: "mystery", change: func(w *world) { w.guards[0].Spec.Workloads.Connect = v1alpha1.ModeOff }},
		"the mode of workloads does not matter": {
			pod: "web-0", asked: true, lookups: 1, denied: []string{canI},
			change: func(w *world) { w.guards[0].Spec.Workloads.Mode = v1alpha1.ModeOff },
		},
	}
	for name, tc := range cases {
		for _, subresource := range webhook.JudgedPodSubresources() {
			if subresource == "ephemeralcontainers" {
				continue // an UPDATE, which has the pod in it
			}
			t.Run(name+"/"+subresource, func(t *testing.T) {
				w := identityWorld()
				if tc.change != nil {
					tc.change(w)
				}
				if len(tc.grants) > 0 {
					w.grant("alice", "prod", "use", "serviceaccounts", tc.grants...)
				}
				newRig(t, w).expect(t, connect(t, "alice", subresource, tc.pod), tc.denied, tc.asked)
				if w.lookups != tc.lookups {
					t.Errorf("%d lookups of pods, want %d", w.lookups, tc.lookups)
				}
			})
		}
	}
}

// A pod of which the account cannot be known is no pod that may be entered, whoever asks; but a guard that only warns does
// not stand in the way.
func TestAccountConnectToAnUnknownPod(t *testing.T) {
	for mode, code := range map[v1alpha1.Mode]int32{v1alpha1.ModeEnforce: 503, v1alpha1.ModeWarn: 0, v1alpha1.ModeAudit: 0, v1alpha1.ModeOff: 0} {
		w := identityWorld()
		w.guards = []v1alpha1.ServiceAccountGuard{identityGuard(mode)}
		w.grant("alice", "prod", "use", "serviceaccounts")
		rig := newRig(t, w)
		resp := rig.Validate(t.Context(), connect(t, "alice", "exec", "mystery"))
		if mode == v1alpha1.ModeOff {
			if !resp.Allowed || w.lookups > 0 {
				t.Errorf("%s: %+v, %d lookups", mode, resp, w.lookups)
			}
			continue
		}
		if code == 0 {
			if !resp.Allowed || rig.records.last(t).Reason != webhook.ReasonTolerated {
				t.Errorf("%s: %+v, recorded %s", mode, resp, rig.records.last(t).Reason)
			}
			if warns := len(resp.Warnings) == 1 && strings.Contains(resp.Warnings[0], "run a command in pod prod/mystery"); warns != (mode == v1alpha1.ModeWarn) {
				t.Errorf("%s: warnings %q", mode, resp.Warnings)
			}
			continue
		}
		if resp.Allowed || resp.Result.Code != code || !strings.Contains(resp.Result.Message, "try again") || resp.Result.Details.RetryAfterSeconds == 0 {
			t.Errorf("%s: %+v", mode, resp.Result)
		}
		if rec := rig.records.last(t); rec.Reason != webhook.ReasonPodUnknown {
			t.Errorf("%s: recorded %s", mode, rec.Reason)
		}
	}
}

func TestAccountConnectEphemeralContainers(t *testing.T) {
	debugger := at([]any{object{"name": "d", "image": "busybox"}}, "spec", "ephemeralContainers")
	cases := map[string]struct {
		now, old object
		grants   []string
		denied   []string
		asked    bool
	}{
		"adding one takes use of the pod's account": {old: podOf("web", "i"), now: podOf("web", "i", debugger), asked: true, denied: []string{"add a container to pod prod/p, which runs as service account prod/web"}},
		"adding one with use of the account":        {old: podOf("web", "i"), now: podOf("web", "i", debugger), grants: []string{"web"}, asked: true},
		"the account is that of the pod as it is":   {old: podOf("web", "i"), now: podOf("default", "i", debugger), grants: []string{"default"}, asked: true, denied: []string{"serviceaccounts/web"}},
		"a change of one that is there":             {old: podOf("web", "i", debugger), now: podOf("web", "i", at([]any{object{"name": "d", "image": "evil"}}, "spec", "ephemeralContainers")), asked: true, denied: []string{"prod/web"}},
		"an update that adds none":                  {old: podOf("web", "i"), now: podOf("web", "i", at([]any{}, "spec", "ephemeralContainers"))},
		"an update that leaves them as they are":    {old: podOf("web", "i", debugger), now: podOf("web", "i", debugger)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			if len(tc.grants) > 0 {
				w.grant("alice", "prod", "use", "serviceaccounts", tc.grants...)
			}
			req := request(t, admissionv1.Update, "alice", "pods", tc.now, tc.old)
			req.Subresource, req.Name, req.Kind = "ephemeralcontainers", "p", "Pod"
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
			if w.lookups != 0 {
				t.Error("looked up a pod that is in the request")
			}
		})
	}
}

func TestEveryPodSubresourceIsNamedOnceOrRefused(t *testing.T) {
	for _, s := range webhook.JudgedPodSubresources() {
		if slices.Contains(webhook.IgnoredPodSubresources(), s) {
			t.Errorf("%s is both judged and ignored", s)
		}
	}
	for _, op := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Connect} {
		for _, s := range webhook.IgnoredPodSubresources() {
			req := connect(t, "alice", s, "web-0")
			req.Operation, req.Object, req.OldObject = op, raw(t, podOf("web", "i:2")), raw(t, podOf("web", "i:1"))
			newRig(t, identityWorld()).expect(t, req, nil, false)
		}
		req := connect(t, "alice", "teleport", "web-0")
		req.Operation, req.Object, req.OldObject = op, []byte(`{}`), []byte(`{}`)
		w := identityWorld()
		w.grant("alice", "", "*", "*")
		newRig(t, w).expect(t, req, []string{"use teleport of pod prod/web-0", "does not know"}, false)
	}
}

// The pod is looked up within the time that the request has.
func TestPodLookupIsBoundToTheRequest(t *testing.T) {
	w := identityWorld()
	var seen context.Context
	rig := newRig(t, w, func(o *webhook.Options) {
		o.World = podProbe{World: o.World, see: func(ctx context.Context) { seen = ctx }}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rig.Validate(ctx, connect(t, "alice", "exec", "web-0"))
	if seen == nil || seen.Err() == nil {
		t.Error("the lookup does not end with the request")
	}
}

type podProbe struct {
	webhook.World
	see func(context.Context)
}

func (p podProbe) PodAccount(ctx context.Context, namespace, name string) decision.Fact[identity.Pod] {
	p.see(ctx)
	return p.World.PodAccount(ctx, namespace, name)
}
